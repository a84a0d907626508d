"""Every attack of backups comes to its stated outcome, and their lies are what they claim to be."""

from typing import Any

import pytest

from byzantine.attacks.catalogue import ATTACKS, find_attack
from byzantine.liars.backup import invented
from byzantine.liars.liar import Outgoing
from byzantine.runners.simulated import simulate
from byzantine.simulation.world import World
from crypto.attestation import Height
from crypto.digest import ZERO_DIGEST
from crypto.errors import CryptoError
from crypto.signed import Envelope
from ledger.keyvalue import Family
from pbft.messages import Commit, Prepare, View, kinds
from tetrarch.wire import EngineMessage

NAMES = [name for name, each in ATTACKS.items() if each.group == "backup"]
VOTE = Prepare(View(3), Height(5), ZERO_DIGEST)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_comes_to_its_stated_outcome(name: str, n: int, seed: int) -> None:
    assert simulate(find_attack(name).scenario(n, seed)).failed == ()


def test_the_group_covers_its_entries_of_the_catalogue() -> None:
    assert {find_attack(name).number for name in NAMES} == set(range(17, 27))


def said(name: str, vote: Any = VOTE) -> tuple[World, list[Envelope]]:
    """Return what the liar of an attack sends to member 0 instead of a vote of its engine's."""
    world = World(find_attack(name).scenario(4, 0))
    [hand] = world.hands
    envelope = hand.sign(vote)
    found: list[Envelope] = []
    for out in hand.behaviours[0].on_message(0, envelope, vote) or (Outgoing(0, EngineMessage(envelope)),):
        assert isinstance(out.frame, EngineMessage)
        found.append(out.frame.envelope)
    return world, found


def verify(world: World, envelope: Envelope) -> bool:
    """Return whether an honest member's door and signatures let it in."""
    try:
        _, checks = world.parts.door.open(envelope)
    except CryptoError:
        return False
    return all(world.signatures.check(checks))


@pytest.mark.parametrize(
    ("name", "vote"), [("two-prepares", VOTE), ("two-commits", Commit(View(3), Height(5), ZERO_DIGEST))]
)
def test_both_of_two_votes_are_signed_and_contradict_each_other(name: str, vote: Any) -> None:
    world, envelopes = said(name, vote)
    assert [verify(world, each) for each in envelopes] == [True, True]
    assert {kinds.decode(each) for each in envelopes} == {vote, invented(vote)}


def test_repeats_are_the_same_bytes() -> None:
    _, envelopes = said("repeat-votes")
    assert len(envelopes) > 2
    assert len(set(envelopes)) == 1


def test_a_bad_signature_comes_beside_a_good_one() -> None:
    world, envelopes = said("bad-signature")
    assert sorted(verify(world, each) for each in envelopes) == [False, True]


def test_statements_in_the_name_of_others_verify_under_no_key() -> None:
    world, envelopes = said("another-id")
    member = world.hands[0].member
    assert {each.signer for each in envelopes} == set(range(4))
    assert [each.signer for each in envelopes if verify(world, each)] == [member]


def test_votes_of_another_epoch_are_refused_at_the_door() -> None:
    world, envelopes = said("other-epoch-votes")
    assert [verify(world, each) for each in envelopes] == [False, False, True]


def test_a_vote_off_by_one_is_signed_and_for_the_same_batch() -> None:
    for name, view, sequence in (("sequence-off-by-one", 3, 6), ("view-off-by-one", 4, 5)):
        world, envelopes = said(name)
        assert verify(world, envelopes[0])
        assert kinds.decode(envelopes[0]) == Prepare(View(view), Height(sequence), VOTE.digest)


def test_a_liar_that_forgets_its_votes_comes_back_without_them_and_is_not_warned() -> None:
    world = World(find_attack("forget-votes").scenario(4, 0))
    [hand] = world.hands
    replica = world.replicas[hand.member]
    votes: list[int] = []
    forget = replica.disk.forget_votes

    def forget_and_count(tally_key: bytes) -> None:
        votes.append(len(list(replica.disk.scan(Family.VOTES))))
        forget(tally_key)
        votes.append(len(list(replica.disk.scan(Family.VOTES))))

    replica.disk.forget_votes = forget_and_count  # type: ignore[method-assign]
    world.play()
    before, after = votes
    assert before > after == 0
    assert replica.heart is not None
    assert not replica.heart.engine.status().marked
