"""Attacks of hostile clients, each staged in a simulated world with its stated outcome."""

import pytest

from byzantine.attacks import clients
from byzantine.attacks.catalogue import ATTACKS, find_attack
from byzantine.runners.simulated import observe, simulate
from byzantine.simulation.world import World
from ledger.transaction import parse_transaction

NAMES = sorted(name for name, attack in ATTACKS.items() if attack.group == clients.GROUP)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("name", NAMES)
def test_attack_has_its_stated_outcome(name: str, n: int, seed: int) -> None:
    assert simulate(find_attack(name).scenario(n, seed)).failed == ()


def test_both_payloads_of_one_nonce_are_executed() -> None:
    world = World(find_attack("same-nonce").scenario(4, 1))
    world.play()
    chain = observe(world).chains[0]
    nonces: dict[bytes, int] = {}
    for height in range(1, chain.height + 1):
        for raw in chain.block(height).transactions:
            parsed = parse_transaction(raw, world.genesis.chain_id, len(raw))
            if parsed.id in world.sent_by_liars:
                nonce = parsed.transaction.nonce
                nonces[nonce] = nonces.get(nonce, 0) + 1
    assert len(nonces) > 10
    assert set(nonces.values()) == {2}
