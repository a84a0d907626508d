"""How much of one member's engine messages waits, and how much of it is opened and verified in one turn."""

from typing import Any

from crypto.attestation import Height
from crypto.digest import Digest
from crypto.keys import Check, InlineChecker, Signature
from crypto.roster import MemberId
from crypto.signed import Envelope, Signed
from pbft.messages import Prepare, View, ViewChange, kinds
from tests.tetrarch.node.support import KEYS, make_genesis
from tetrarch.node.effects import Counters
from tetrarch.node.inbox import Inbox, weight
from tetrarch.node.limits import NodeLimits
from tetrarch.node.verified import VerifiedSignatures
from tetrarch.wire import EngineMessage, pack

ROSTER = make_genesis(4).roster()
DIGEST = Digest(bytes(32))
LIAR, OTHER = MemberId(1), MemberId(2)
HEAVY = Envelope("pbft/view-change", ROSTER.epoch, LIAR, bytes(128 * 99), Signature(bytes(64)))


class OpenDoor:
    """Lets everything in and counts the bytes that were opened; what is no vote has a bad signature."""

    def __init__(self) -> None:
        self.opened: list[MemberId] = []

    def open(self, envelope: Envelope) -> tuple[Signed[Any], list[Check]]:
        self.opened.append(envelope.signer)
        signed = ROSTER.signing_bytes(envelope.kind, envelope.body)
        return Signed(None, envelope), [Check(ROSTER.key(envelope.signer), signed, envelope.signature)]


def flooded(limits: NodeLimits) -> tuple[Inbox, OpenDoor]:
    """An inbox to which the liar sent 50 heavy messages, and the other member as many votes."""
    door = OpenDoor()
    inbox = Inbox(door, VerifiedSignatures(InlineChecker(), 100), 4, limits, Counters())
    for sequence in range(1, 51):
        inbox.receive(LIAR, pack(EngineMessage(HEAVY)))
        vote = Prepare(View(0), Height(sequence), DIGEST)
        inbox.receive(OTHER, pack(EngineMessage(kinds.seal(ROSTER, OTHER, KEYS[OTHER], vote).envelope)))
    return inbox, door


def take(inbox: Inbox) -> list[MemberId]:
    return [signed.signer for signed in inbox.take(lambda message: False)]


def test_a_vote_weighs_as_much_as_its_one_signature() -> None:
    vote = kinds.seal(ROSTER, LIAR, KEYS[1], Prepare(View(2**50), Height(2**50), DIGEST))
    change = kinds.seal(ROSTER, LIAR, KEYS[1], ViewChange(View(1), Height(0), None, ()))
    assert weight(vote.envelope) == weight(change.envelope) == 1


def test_heavy_messages_are_opened_few_at_a_time_and_delay_nobody_elses() -> None:
    inbox, door = flooded(NodeLimits(message_work_per_turn=250))
    assert take(inbox) == [OTHER] * 50
    assert door.opened == [LIAR] * 3 + [OTHER] * 50


def test_one_message_heavier_than_a_turns_share_is_taken_alone() -> None:
    inbox, door = flooded(NodeLimits(message_work_per_turn=50))
    for _ in range(3):
        take(inbox)
    assert door.opened.count(LIAR) == 3


def test_what_waits_of_one_member_is_bounded_in_weight() -> None:
    inbox, _ = flooded(NodeLimits(message_work_per_member=450))
    assert inbox.waiting == 5 + 50
