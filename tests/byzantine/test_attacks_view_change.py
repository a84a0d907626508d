"""The attacks on view changes: each happens, and comes to what it states; what is sent is what it claims."""

from typing import Any

import pytest

from byzantine.attacks import view_change
from byzantine.attacks.catalogue import ATTACKS, find_attack
from byzantine.runners.simulated import LedgerChain, simulate
from byzantine.scenario import Contradiction, Expect, Scenario, require_consistent
from byzantine.simulation.world import World
from crypto.errors import CryptoError
from crypto.roster import MemberId
from crypto.signed import Envelope
from pbft.messages import NewView, ViewChange, kinds
from pbft.new_view import decode_pre_prepare, decode_view_change
from tetrarch.decoding import FrameDecoder
from tetrarch.wire import BETWEEN_MEMBERS, MAX_FRAME_BYTES, EngineMessage

NAMES = [attack.name for attack in ATTACKS.values() if attack.group == view_change.GROUP]

frames = FrameDecoder(BETWEEN_MEMBERS, MAX_FRAME_BYTES)


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_the_attack_happens_and_has_its_stated_outcome(name: str, seed: int, n: int) -> None:
    result = simulate(find_attack(name).scenario(n, seed))
    assert result.failed == ()
    assert sum(result.fired.values()) > 0


class Overheard:
    """One run of an attack at n = 4, and what its liar told others of one kind."""

    def __init__(self, name: str, kind: type) -> None:
        self.world = World(find_attack(name).scenario(4, 0))
        self.said: dict[int, list[Envelope]] = {}
        self.kind = kind
        (hand,) = self.world.hands
        self.liar, send = hand.member, hand.world.send_member

        def overhear(member: MemberId, frame: bytes) -> None:
            decoded = frames.decode(frame)
            if isinstance(decoded, EngineMessage):
                self.note(int(member), decoded.envelope)
            send(member, frame)

        hand.world.send_member = overhear  # type: ignore[method-assign]
        self.world.play()

    def note(self, member: int, envelope: Envelope) -> None:
        if envelope.signer == self.liar and isinstance(kinds.decode(envelope), self.kind):
            self.said.setdefault(member, []).append(envelope)

    def first(self) -> Any:
        return next(iter(self.said.values()))[0]

    def opens(self, envelope: Envelope) -> bool:
        _, checks = self.world.parts.door.open(envelope)
        return all(self.world.signatures.check(checks))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("short-proof", "1 distinct members, 2 are needed"),
        ("unvoted-proof", "0 distinct members, 2 are needed"),
        ("repeated-signer", "signers repeated or out of order"),
        ("reencoded-proof", "not in canonical form"),
    ],
)
def test_a_wrong_certificate_is_refused_for_the_one_thing_that_is_wrong_with_it(name: str, why: str) -> None:
    overheard = Overheard(name, ViewChange)
    with pytest.raises(CryptoError, match=why):
        overheard.opens(overheard.first())


def test_a_mixed_certificate_is_well_formed_and_its_signatures_do_not_verify() -> None:
    overheard = Overheard("mixed-proof", ViewChange)
    assert not overheard.opens(overheard.first())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("new-view-omits", "proposes other sequences"),
        ("new-view-nulls", "changes what sequence"),
        ("new-view-changes", "changes what sequence"),
        ("few-changes", "2 distinct members, 3 are needed"),
        ("repeated-change", "repeated or out of order"),
        ("stranger-change", "2 distinct members, 3 are needed"),
        ("outdated-change", "for another view"),
    ],
)
def test_a_wrong_new_view_is_refused_for_the_one_thing_that_is_wrong_with_it(name: str, why: str) -> None:
    overheard = Overheard(name, NewView)
    with pytest.raises(CryptoError, match=why):
        overheard.opens(overheard.first())


@pytest.mark.parametrize("name", ["altered-change", "unsigned-proposals"])
def test_a_new_view_of_altered_parts_is_well_formed_and_its_signatures_do_not_verify(name: str) -> None:
    overheard = Overheard(name, NewView)
    assert not overheard.opens(overheard.first())


def test_an_outdated_certificate_is_valid_and_the_new_view_decides_for_the_later_one() -> None:
    overheard = Overheard("outdated-proof", ViewChange)
    (change,) = {each for said in overheard.said.values() for each in said if _view(each) == 2}
    assert overheard.opens(change)
    shown = {p.sequence: p for p in map(_proposal, decode_view_change(change).prepared)}
    assert shown
    for sequence, proposal in shown.items():
        assert proposal.view == 0
        assert _chain(overheard.world, 2).block(sequence).header.batch != proposal.digest


def test_hidden_certificates_were_those_of_blocks_that_one_honest_member_alone_had() -> None:
    scenario = find_attack("hide-prepared").scenario(4, 0)
    world = World(scenario)
    heights: dict[str, int] = {}
    world.scheduler.at(391_000, lambda: heights.update(_heights(world)))
    world.play()
    assert heights["0"] > max(heights["1"], heights["2"])


def test_the_next_primary_is_told_another_valid_view_change_than_everybody_else() -> None:
    overheard = Overheard("equivocate-view-change", ViewChange)
    told = {
        member: {each.body for each in said if _view(each) == 1} for member, said in overheard.said.items()
    }
    assert told[1].isdisjoint(told[2])
    assert all(overheard.opens(said[0]) for said in overheard.said.values())


def test_both_new_views_are_valid() -> None:
    overheard = Overheard("two-new-views", NewView)
    bodies = {said[0].body for said in overheard.said.values()}
    assert len(bodies) == 2
    assert all(overheard.opens(said[0]) for said in overheard.said.values())


def test_views_in_the_wrong_order_contradict_themselves() -> None:
    with pytest.raises(Contradiction, match=r"expect\.views: 2 is above 1"):
        require_consistent(Scenario(name="views", expect=Expect(views=(2, 1))))


def test_a_highest_view_outside_what_was_stated_fails() -> None:
    scenario = Scenario(name="views", heal_at_ms=100, expect=Expect(views=(1, 2)))
    (finding,) = simulate(scenario).failed
    assert finding.why == "the highest view was 0, and was to lie between 1 and 2"


def _view(envelope: Envelope) -> int:
    return decode_view_change(envelope).view


def _proposal(proof: Any) -> Any:
    return decode_pre_prepare(proof.pre_prepare)


def _heights(world: World) -> dict[str, int]:
    return {str(member): _chain(world, member).height for member in range(world.n)}


def _chain(world: World, member: int) -> LedgerChain:
    heart = world.replicas[member].heart
    assert heart is not None
    return LedgerChain(heart.ledger)
