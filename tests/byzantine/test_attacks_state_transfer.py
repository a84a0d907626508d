"""Every attack on checkpoints and state transfer comes to its stated outcome, and the lies are what they
claim to be."""

from itertools import pairwise

import pytest

from byzantine.attacks.catalogue import ATTACKS, find_attack
from byzantine.runners.simulated import simulate
from byzantine.simulation.replica import block_hash_at
from byzantine.simulation.world import World
from crypto.attestation import Height
from crypto.errors import CryptoError
from crypto.merkle import root
from crypto.roster import MemberId
from crypto.signed import Certificate, certificates
from ledger.block import Block, block_hash, result_leaf
from ledger.errors import BlockError
from ledger.transaction import transaction_id
from network.simulated import MILLISECOND
from pbft.messages import Stable
from tetrarch.node.certified import BlockJudge
from tetrarch.wire import Range

NAMES = [name for name, each in ATTACKS.items() if each.group == "state-transfer"]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_comes_to_its_stated_outcome(name: str, n: int, seed: int) -> None:
    assert simulate(find_attack(name).scenario(n, seed)).failed == ()


def test_the_group_covers_its_entries_of_the_catalogue() -> None:
    assert {find_attack(name).number for name in NAMES} == set(range(39, 49))


def played(name: str, n: int = 4, seed: int = 0) -> World:
    world = World(find_attack(name).scenario(n, seed))
    world.play()
    return world


def honest_blocks(world: World) -> tuple[Block, ...]:
    heart = world.honest[0].heart
    assert heart is not None
    return tuple(heart.ledger.blocks_from(Height(1), heart.ledger.height, 2**30))


def served(world: World, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Return what the liar serves in place of these blocks."""
    changed = world.hands[0].behaviours[0].on_other(0, Range(Height(1), blocks))
    assert changed is not None
    [out] = changed
    assert isinstance(out.frame, Range)
    return out.frame.blocks


def believed(world: World, block: Block) -> bool:
    """Return whether a laggard would learn a block."""
    genesis = world.genesis
    judge = BlockJudge(
        genesis.chain_id, genesis.max_transaction_bytes, genesis.max_batch_transactions, world.parts.verifier
    )
    try:
        candidate = judge.judge(block, MemberId(1))
    except BlockError:
        return False
    checks = [*candidate.certificate_checks, *(each.check for each in candidate.parsed)]
    return all(world.signatures.check(checks))


@pytest.mark.parametrize("name", ["bad-blocks", "mixed-commits", "rewritten-chain"])
def test_what_is_served_spoilt_is_never_believed_and_the_rest_is(name: str) -> None:
    world = played(name)
    right = honest_blocks(world)
    for first in range(len(right) - 2):
        part = right[first : first + 3]
        answer = served(world, part)
        assert all(believed(world, block) for block in part)
        changed = [block for block in answer if block not in part]
        assert changed
        for place, block in enumerate(answer):
            kept = block in part or block.header.height != part[place].header.height
            assert kept or not believed(world, block)


def test_a_rewritten_chain_is_consistent_in_itself() -> None:
    world = played("rewritten-chain")
    chain = served(world, honest_blocks(world))
    for below, block in pairwise(chain):
        assert block.header.parent == block_hash(below.header)
        ids = [transaction_id(raw) for raw in block.transactions]
        assert block.header.transaction_root == root(ids)
        leaves = [result_leaf(tx_id, result) for tx_id, result in zip(ids, block.results, strict=True)]
        assert block.header.result_root == root(leaves)
        signers = [vote.signer for vote in certificates.decode(block.certificate).votes]
        assert len(signers) >= world.hands[0].quorums.quorum


def test_a_certificate_that_mixes_checkpoints_has_a_quorum_of_signers_and_does_not_verify() -> None:
    world = played("mixed-checkpoint")
    certificates_: list[Certificate] = []
    hand = world.hands[0]
    sign = hand.sign

    def keep(message: object, beside: bytes = b"") -> object:
        if isinstance(message, Stable):
            certificates_.append(message.checkpoint)
        return sign(message, beside)

    hand.sign = keep  # type: ignore[method-assign,assignment]
    hand.behaviours[0].speak()
    mixed, other = certificates_
    for certificate in (mixed, other):
        assert len({vote.signer for vote in certificate.votes}) >= hand.quorums.quorum
    checks = world.parts.door.open(sign(Stable(mixed)))[1]
    assert not all(world.signatures.check(checks))
    with pytest.raises(CryptoError, match="epoch"):
        world.parts.door.open(sign(Stable(other)))


@pytest.mark.parametrize("n", [4, 7])
def test_a_diverged_member_says_which_block_is_wrong(n: int) -> None:
    world = played("diverged", n)
    assert set(world.observed.halted_liars) == set(world.scenario.lying_members)
    for reason in world.observed.halted_liars.values():
        assert reason == "block 8 differs here from the one that a quorum attests"


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("seed", range(3))
def test_what_was_decided_where_nobody_sees_it_is_what_is_decided_later(n: int, seed: int) -> None:
    """The liars' own chains hold decisions of which no honest member knew when they vanished."""
    world = World(find_attack("vanished-certificate").scenario(n, seed))
    heights: dict[int, int] = {}

    def note() -> None:
        for replica in world.replicas:
            assert replica.heart is not None
            heights[replica.member] = replica.heart.ledger.height

    world.scheduler.at(500 * MILLISECOND, note)
    world.play()
    lying = world.scenario.lying_members
    seen = max(height for member, height in heights.items() if member not in lying)
    assert all(heights[member] > seen for member in lying)
    honest = world.honest[0].heart
    assert honest is not None
    for member in lying:
        heart = world.replicas[member].heart
        assert heart is not None
        assert heart.ledger.height <= honest.ledger.height
        for height in range(1, heart.ledger.height + 1):
            assert block_hash_at(heart.ledger, height) == block_hash_at(honest.ledger, height)


@pytest.mark.parametrize("n", [4, 7])
def test_who_always_claims_to_need_blocks_gets_few(n: int) -> None:
    usual = simulate(find_attack("wrong-hash").scenario(n, 0)).blocks
    window = World(find_attack("claims-need").scenario(n, 0)).genesis.window
    assert simulate(find_attack("claims-need").scenario(n, 0)).blocks <= usual + 4 * window
