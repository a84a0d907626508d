"""Two ends of a conversation over a medium that does as it likes, in virtual time.

What is never to happen, whatever the medium does: a frame is delivered that was not sent, or twice, or
anything but the two stated errors is raised. What is to happen as soon as one broker is honest: within
`RECOVERY_S` both hear each other, and from then on every frame arrives.
"""

import heapq
from collections.abc import Callable
from itertools import count
from random import Random

import pytest

from crypto.digest import ChainId
from crypto.keys import Signer, SigningKey
from crypto.roster import MemberId
from crypto.sealed import MAX_EXCHANGE_BYTES, Ends, SealError, deny
from network.errors import MalformedFrame
from network.mqtt import conversation as module
from network.mqtt.conversation import (
    ANSWER,
    CHECKS_PER_S,
    DENIAL,
    OFFER,
    REKEY_S,
    SEALED,
    Conversation,
    Party,
    Rhythm,
)
from network.mqtt.names import between_members
from network.mqtt.segments import SEGMENT_BYTES
from network.queue import FrameQueue

STEP_S = 0.05
TICK_S = 0.25
RECOVERY_S = 10.0
"""From the last fault on: silence is noticed (5 s), keys are exchanged, brokers are found out (3 beats)."""

KEYS = [SigningKey(bytes([number + 1]) * 32) for number in range(3)]
ENDS = between_members(ChainId(b"c" * 32), MemberId(0), MemberId(1))
RHYTHM = Rhythm()
FRAME_BYTES = 8 * SEGMENT_BYTES

Fate = Callable[["Medium", int, int, bytes], list[float]]
"""What a broker does with a message: given the medium, the broker, whom it is for and the message, after how
long it is delivered, as often as there are delays."""


def honest(medium: "Medium", broker: int, receiver: int, message: bytes) -> list[float]:
    return [0.02 + 0.03 * broker]


def dead(*_: object) -> list[float]:
    return []


def one_way(medium: "Medium", broker: int, receiver: int, message: bytes) -> list[float]:
    return honest(medium, broker, receiver, message) if receiver else []


def other_way(medium: "Medium", broker: int, receiver: int, message: bytes) -> list[float]:
    return [] if receiver else honest(medium, broker, receiver, message)


def signs_of_life_only(medium: "Medium", broker: int, receiver: int, message: bytes) -> list[float]:
    short = len(message) <= 60 or message[:1] != SEALED
    return honest(medium, broker, receiver, message) if short else []


def one_in_ten_lost(medium: "Medium", broker: int, receiver: int, message: bytes) -> list[float]:
    return [] if medium.chance.random() < 0.1 else honest(medium, broker, receiver, message)


def slow(*_: object) -> list[float]:
    return [2.5]


def stale(medium: "Medium", broker: int, receiver: int, message: bytes) -> list[float]:
    """What praises the broker is held back, and let out when it no longer holds."""
    return [medium.chance.uniform(3, 30)] if medium.chance.random() < 0.7 else [0.01]


def old_offers(medium: "Medium", broker: int, receiver: int, message: bytes) -> list[float]:
    """Every offer and answer there ever was comes again, quicker than anything else."""
    for to, kind in ((1, OFFER), (0, ANSWER), (0, DENIAL)):
        known = [old for old in medium.seen[to] if old[:1] == kind]
        for old in medium.chance.sample(known, min(len(known), 3)):
            medium.post(to, broker, old, 0.001)
    return [0.001] if message[:1] != SEALED else []


def to_another(medium: "Medium", broker: int, receiver: int, message: bytes) -> list[float]:
    """Drops frames, and brings what else is given to it by another broker, where it has an account: as if it
    were that one by which something is missing."""
    if len(message) <= 60 or message[:1] != SEALED:
        medium.post(receiver, (broker + 1) % len(medium.fates), message, 0.01)
    return []


def chaos(medium: "Medium", broker: int, receiver: int, message: bytes) -> list[float]:
    """Drops, repeats, reorders, delays, reflects and forges."""
    chance = medium.chance
    if chance.random() < 0.2:
        old = chance.choice(medium.seen[chance.randrange(2)] or [message])
        medium.post(chance.randrange(2), broker, old, chance.uniform(0, 3))
    if chance.random() < 0.1:
        forged = bytearray(message)
        forged[chance.randrange(len(forged))] ^= 1 << chance.randrange(8)
        medium.post(receiver, broker, bytes(forged), chance.uniform(0, 1))
    if chance.random() < 0.05:
        kind = chance.choice((OFFER, ANSWER, SEALED, DENIAL, b"", b"\x09"))
        medium.post(chance.randrange(2), broker, kind + chance.randbytes(chance.randrange(200)), 0.0)
    return [chance.choice((0.01, 0.2, 1.0, 8.0)) for _ in range(chance.choice((0, 0, 1, 1, 1, 2)))]


LIES: list[Fate] = [
    dead,
    one_way,
    other_way,
    signs_of_life_only,
    one_in_ten_lost,
    slow,
    stale,
    old_offers,
    chaos,
]


class Medium:
    """Both ends, and brokers with a fate for each message. End 0 opens."""

    def __init__(self, fates: list[Fate], seed: int = 1, rhythm: Rhythm = RHYTHM) -> None:
        self.chance = Random(seed)
        self.fates = fates
        self.rhythm = rhythm
        self.now = 100.0
        self.seen: list[list[bytes]] = [[], []]
        """What was sent to each end, ever."""
        self.up = [True] * len(fates)
        self.sent: list[dict[bytes, float]] = [{}, {}]
        """What each end sent, and when."""
        self.got: list[dict[bytes, float]] = [{}, {}]
        """What came to each end, and when."""
        self.reasons: list[str] = []
        self.frames = count()
        self.ends = [self.end(0), self.end(1)]
        self._way: list[tuple[float, int, int, int, bytes]] = []
        self._order = count()
        self._ticked_at = self.now

    def end(self, side: int, epoch: int | None = None, key: SigningKey | None = None) -> Conversation:
        party = Party(ENDS, side == 0, key or KEYS[side], KEYS[1 - side].public_key)
        queue = FrameQueue(4 * FRAME_BYTES, 4_096)
        epoch = int(self.now * 1_000) if epoch is None else epoch
        return Conversation(party, queue, FRAME_BYTES, len(self.fates), self.rhythm, epoch, self.now)

    def restart(self, side: int) -> None:
        self.ends[side] = self.end(side)

    def send(self, side: int, size: int = 0) -> bytes:
        payload = b"%d from %d " % (next(self.frames), side) + bytes(size)
        self.sent[side][payload] = self.now
        self.ends[side].queue.push(payload)
        return payload

    def post(self, receiver: int, broker: int, message: bytes, delay: float) -> None:
        heapq.heappush(self._way, (self.now + delay, next(self._order), receiver, broker, message))

    def hand_over(self, receiver: int, broker: int, message: bytes) -> None:
        try:
            frames = self.ends[receiver].receive(broker, message, self.now)
        except SealError as error:
            self.reasons.append(error.fault)
            return
        except MalformedFrame as error:
            self.reasons.append(error.reason)
            return
        for payload in frames:
            assert payload in self.sent[1 - receiver], "a frame that was not sent"
            assert payload not in self.got[receiver], "a frame that comes twice"
            self.got[receiver][payload] = self.now

    def step(self) -> None:
        if self.now - self._ticked_at >= TICK_S:
            self._ticked_at = self.now
            for end in self.ends:
                end.tick(self.now)
        for side, end in enumerate(self.ends):
            for broker, fate in enumerate(self.fates):
                while self.up[broker] and (message := end.next_message(broker, self.up, self.now)):
                    self.seen[1 - side].append(message)
                    for delay in fate(self, broker, 1 - side, message):
                        self.post(1 - side, broker, message, delay)
        self.now += STEP_S
        while self._way and self._way[0][0] <= self.now:
            _, _, receiver, broker, message = heapq.heappop(self._way)
            self.hand_over(receiver, broker, message)

    def run(self, seconds: float, *, talking: bool = False) -> None:
        for number in range(round(seconds / STEP_S)):
            if talking and number % 4 == 0:
                self.send(0)
                self.send(1)
            self.step()

    def lost(self, since: float) -> list[bytes]:
        """What was sent at `since` or later and did not come."""
        pairs = ((0, 1), (1, 0))
        return [
            payload
            for sender, receiver in pairs
            for payload, at in self.sent[sender].items()
            if at >= since and payload not in self.got[receiver]
        ]

    @property
    def both_alive(self) -> bool:
        return all(end.alive for end in self.ends)


def recovers(medium: Medium) -> None:
    """Assert that, from `RECOVERY_S` after now on, nothing is lost any more, large frames included."""
    medium.run(RECOVERY_S, talking=True)
    assert medium.both_alive
    begin = medium.now
    large = [medium.send(side, 3 * SEGMENT_BYTES) for side in (0, 1)]
    medium.run(8.0, talking=True)
    medium.run(1.0)
    assert medium.lost(begin) == []
    assert all(payload in medium.got[1 - side] for side, payload in enumerate(large))
    assert medium.both_alive


# All is well.


def test_two_ends_hear_each_other_within_one_exchange() -> None:
    medium = Medium([honest])
    medium.run(TICK_S + 6 * STEP_S)
    assert medium.both_alive


def test_every_frame_arrives_in_order_over_an_honest_broker() -> None:
    medium = Medium([honest])
    medium.run(1.0)
    for size in (0, 10, 3 * SEGMENT_BYTES, 5, SEGMENT_BYTES):
        medium.send(0, size)
        medium.send(1, size)
    medium.run(1.0)
    for sender in (0, 1):
        assert list(medium.got[1 - sender]) == list(medium.sent[sender])


def test_what_is_sent_before_anybody_is_there_waits() -> None:
    medium = Medium([honest])
    early = medium.send(0)
    medium.run(1.0)
    assert early in medium.got[1]


def test_an_idle_conversation_says_one_thing_per_beat_and_broker() -> None:
    medium = Medium([honest, honest])
    medium.run(2.0)
    before = len(medium.seen[1])
    medium.run(20.0)
    assert 2 * 19 <= len(medium.seen[1]) - before <= 2 * 21
    assert medium.both_alive


def test_keys_are_made_anew_after_their_time_and_nothing_is_lost_by_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REKEY_S", 10.0)
    medium = Medium([honest])
    medium.run(1.0)
    begin = medium.now
    medium.run(60.0, talking=True)
    medium.run(1.0)
    assert len({message[1:9] for message in medium.seen[1] if message[:1] == SEALED}) >= 6
    assert medium.lost(begin) == []
    assert REKEY_S >= 60


def test_a_session_that_was_followed_by_another_is_forgotten_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REKEY_S", 10.0)
    medium = Medium([honest])
    medium.run(10.0)
    old = [message for message in medium.seen[1] if message[:1] == SEALED][-1]
    medium.fates = [dead]
    medium.send(0)
    medium.step()
    late = medium.seen[1][-1]
    assert old[1:9] == late[1:9]
    medium.fates = [honest]
    medium.run(RHYTHM.silent_s + 2.0)
    medium.hand_over(1, 0, late)
    assert medium.reasons[-1] == "sealed_for_no_session"


# Silence, coming and going.


@pytest.mark.parametrize("side", [0, 1])
def test_an_end_that_restarts_is_met_again_within_seconds(side: int) -> None:
    medium = Medium([honest])
    medium.run(3.0)
    medium.restart(side)
    medium.run(2.0)
    assert medium.both_alive
    begin = medium.now
    medium.run(2.0, talking=True)
    medium.run(0.5)
    assert medium.lost(begin) == []


def test_an_opener_hears_at_once_that_the_other_end_has_lost_the_session() -> None:
    medium = Medium([honest])
    medium.run(3.0)
    medium.restart(1)
    seen = False
    for _ in range(round((RHYTHM.beat_s + 0.5) / STEP_S)):
        medium.step()
        seen = seen or medium.ends[0].outdated
    assert seen
    assert not medium.ends[0].outdated


def test_silence_is_noticed_and_ended_by_the_first_word() -> None:
    medium = Medium([honest])
    medium.run(2.0)
    medium.fates = [dead]
    medium.run(RHYTHM.silent_s + TICK_S + RHYTHM.beat_s)
    assert [end.alive for end in medium.ends] == [False, False]
    medium.fates = [honest]
    medium.run(3.0)
    assert medium.both_alive


def test_a_goodbye_comes_after_all_that_was_queued_and_is_said_once() -> None:
    medium = Medium([honest])
    medium.run(1.0)
    last = medium.send(0)
    medium.ends[0].leave()
    medium.run(0.5)
    assert last in medium.got[1]
    assert (medium.ends[1].left, medium.ends[1].alive) == (True, False)
    before = len(medium.seen[1])
    medium.run(4.0)
    assert len(medium.seen[1]) == before


def test_a_goodbye_of_an_earlier_process_that_comes_late_means_nothing() -> None:
    medium = Medium([honest])
    medium.run(1.0)
    medium.fates = [dead]
    medium.ends[0].leave()
    medium.step()
    goodbye = medium.seen[1][-1]
    medium.fates = [honest]
    medium.restart(0)
    medium.run(1.0)
    medium.hand_over(1, 0, goodbye)
    assert (medium.ends[1].left, medium.ends[1].alive) == (False, True)


def test_what_comes_late_of_an_earlier_process_spoils_no_large_frame() -> None:
    medium = Medium([honest])
    medium.run(1.0)
    for _ in range(30):
        medium.send(0)
        medium.step()
    medium.fates = [dead]
    medium.send(0)
    medium.step()
    late = medium.seen[1][-1]
    medium.fates = [honest]
    medium.restart(0)
    medium.run(1.0)
    medium.hand_over(1, 0, late)
    large = medium.send(0, 3 * SEGMENT_BYTES)
    medium.run(0.5)
    assert large in medium.got[1]


def test_the_rest_of_a_frame_that_the_other_end_cannot_join_is_not_sent() -> None:
    medium = Medium([honest])
    medium.run(1.0)
    medium.send(0, 3 * SEGMENT_BYTES)
    first = medium.ends[0].next_message(0, [True], medium.now)
    assert first is not None
    medium.restart(1)
    medium.hand_over(0, 0, DENIAL + deny(ENDS, first[1:9], KEYS[1]))
    before = len(medium.seen[1])
    medium.run(1.0)
    assert medium.both_alive
    assert all(len(message) < SEGMENT_BYTES for message in medium.seen[1][before:])


def test_that_something_is_missing_is_said_at_once() -> None:
    medium = Medium([honest, honest])
    medium.run(2.05)
    medium.fates[0] = dead
    medium.send(0)
    medium.step()
    medium.fates[0] = honest
    later = medium.send(0)
    while later not in medium.got[1]:
        medium.step()
    said_before = len(medium.seen[0])
    medium.step()
    assert len(medium.seen[0]) - said_before == 2


# Forgery.


def test_nothing_that_is_not_signed_or_sealed_changes_anything() -> None:
    medium = Medium([honest])
    medium.run(2.0)
    session = [message for message in medium.seen[1] if message[:1] == SEALED][-1][1:9]
    stranger = deny(ENDS, session, KEYS[2])
    for _ in range(100):
        medium.hand_over(0, 0, DENIAL + session)
        medium.hand_over(0, 0, DENIAL + stranger)
        medium.step()
        assert (medium.ends[0].alive, medium.ends[0].outdated) == (True, False)
    assert not [message for message in medium.seen[1] if message[:1] == OFFER][1:]


def test_a_denial_of_an_earlier_session_changes_nothing() -> None:
    medium = Medium([honest])
    medium.run(2.0)
    medium.restart(1)
    medium.run(3.0)
    (denial,) = {message for message in medium.seen[0] if message[:1] == DENIAL}
    medium.run(1.0)
    medium.hand_over(0, 0, denial)
    assert medium.reasons[-1] == "sealed_denial_of_another_session"
    assert medium.both_alive


def test_nobody_takes_over_a_conversation_by_offering_keys_under_anothers_name() -> None:
    medium = Medium([honest])
    medium.run(2.0)
    thief = medium.end(0, epoch=10**9, key=KEYS[2])
    thief.tick(medium.now)
    offer = thief.next_message(0, [True], medium.now)
    assert offer is not None
    medium.hand_over(1, 0, offer)
    assert medium.reasons[-1] == "sealed_signature_wrong"
    medium.run(1.0)
    assert thief.next_message(0, [True], medium.now) is None


@pytest.mark.parametrize("opens", [True, False])
def test_a_message_that_only_the_other_role_may_send_is_refused(opens: bool) -> None:
    medium = Medium([honest])
    side = 0 if opens else 1
    for kind in (OFFER,) if opens else (ANSWER, DENIAL):
        medium.hand_over(side, 0, kind + bytes(129))
        assert medium.reasons[-1] == "message_of_no_kind"


@pytest.mark.parametrize("side", [0, 1])
def test_junk_is_refused_by_name(side: int) -> None:
    medium = Medium([honest])
    for kind in (OFFER, ANSWER, DENIAL, b"\x00", b"\x05"):
        medium.hand_over(side, 0, kind + bytes(MAX_EXCHANGE_BYTES + 1))
        assert medium.reasons[-1] == "exchange_too_long"
    for message in (b"", b"\x00", b"\x05abc"):
        medium.hand_over(side, 0, message)
        assert medium.reasons[-1] == "message_of_no_kind"


def test_signatures_of_a_flood_are_checked_at_a_bounded_rate_and_for_each_broker_apart() -> None:
    medium = Medium([honest, honest])
    medium.run(2.0)
    for number in range(10 * CHECKS_PER_S):
        forged = medium.end(0, epoch=10**9 + number, key=KEYS[2])
        forged.tick(medium.now)
        offer = forged.next_message(0, [True], medium.now)
        assert offer is not None
        medium.hand_over(1, 0, offer)
    assert medium.reasons.count("sealed_signature_wrong") == CHECKS_PER_S
    assert medium.reasons.count("exchange_paced") == 9 * CHECKS_PER_S
    genuine = medium.end(0, epoch=10**9)
    genuine.tick(medium.now)
    offer = genuine.next_message(0, [True], medium.now)
    assert offer is not None
    before = len(medium.reasons)
    medium.hand_over(1, 1, offer)
    assert medium.reasons[before:] == []


def test_a_flood_leaves_a_bounded_number_of_answers_behind() -> None:
    medium = Medium([honest])
    medium.run(2.0)
    offer = next(message for message in medium.seen[1] if message[:1] == OFFER)
    for _ in range(1_000):
        medium.hand_over(1, 0, offer)
        medium.hand_over(1, 0, SEALED + bytes(200))
    waiting = 0
    while medium.ends[1].next_message(0, [True], medium.now):
        waiting += 1
    assert waiting <= 3


def test_denials_are_signed_at_a_bounded_rate_and_for_each_broker_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed: list[bytes] = []

    def counted(ends: Ends, session_id: bytes, signer: Signer) -> bytes:
        signed.append(session_id)
        return deny(ends, session_id, signer)

    monkeypatch.setattr(module, "deny", counted)
    medium = Medium([honest, honest])
    for number in range(100):
        medium.hand_over(1, 0, SEALED + number.to_bytes(8, "big") + bytes(60))
    medium.hand_over(1, 1, SEALED + b"another." + bytes(60))
    assert signed == [bytes(8), b"another."]


def test_an_old_offer_takes_the_place_of_no_newer_one() -> None:
    medium = Medium([honest])
    medium.run(1.0)
    old = next(message for message in medium.seen[1] if message[:1] == OFFER)
    medium.restart(0)
    medium.run(1.0)
    medium.hand_over(1, 0, old)
    assert medium.reasons[-1] == "offer_is_old"


def test_an_opener_whose_clock_was_set_back_is_met_again_when_the_old_one_has_been_silent() -> None:
    medium = Medium([honest])
    medium.run(1.0)
    medium.ends[0] = medium.end(0, epoch=5)
    medium.run(RHYTHM.silent_s + 3.0)
    assert medium.both_alive


# The medium does as it likes.


@pytest.mark.parametrize("seed", range(12))
def test_after_any_disorder_and_any_restarts_an_honest_broker_is_enough(seed: int) -> None:
    medium = Medium([chaos], seed)
    for _ in range(6):
        medium.run(medium.chance.uniform(0.1, 6.0), talking=True)
        medium.restart(medium.chance.randrange(2))
        if medium.chance.random() < 0.5:
            medium.send(medium.chance.randrange(2), 3 * SEGMENT_BYTES)
    medium.run(3.0, talking=True)
    medium.fates = [honest]
    recovers(medium)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
@pytest.mark.parametrize(("lying", "brokers"), [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)])
def test_a_conversation_goes_on_while_one_broker_of_several_lies(lie: Fate, lying: int, brokers: int) -> None:
    medium = Medium([lie if broker == lying else honest for broker in range(brokers)], seed=lying)
    recovers(medium)
    for side in (0, 1):
        medium.restart(side)
        recovers(medium)


@pytest.mark.parametrize("seed", range(10))
def test_a_conversation_goes_on_while_all_brokers_but_one_lie(seed: int) -> None:
    chance = Random(seed)
    fates = [chance.choice(LIES), chance.choice(LIES), honest]
    chance.shuffle(fates)
    medium = Medium(fates, seed)
    medium.run(chance.uniform(0, 5), talking=True)
    medium.restart(chance.randrange(2))
    recovers(medium)


def test_a_broker_that_cannot_be_used_is_left_at_once() -> None:
    medium = Medium([honest, honest])
    medium.run(3.0)
    begin = medium.now
    medium.up[0] = False
    medium.run(2.0, talking=True)
    medium.run(0.5)
    assert medium.lost(begin) == []


def test_what_was_given_to_one_broker_is_not_held_against_another_by_which_it_comes() -> None:
    medium = Medium([honest, honest])
    medium.run(3.0, talking=True)
    medium.fates[0] = to_another
    before = len(medium.reasons)
    medium.run(2.0)
    assert medium.reasons[before:] == []
    assert [end._arrivals.serving(medium.now) >> 1 for end in medium.ends] == [1, 1]


def test_clients_rhythm_is_enough_for_a_lying_broker_too() -> None:
    medium = Medium([signs_of_life_only, honest], rhythm=Rhythm(beat_s=5.0, silent_s=20.0))
    medium.run(2.0)
    assert medium.both_alive
    medium.run(12.0, talking=True)
    begin = medium.now
    medium.run(20.0, talking=True)
    medium.run(1.0)
    assert medium.lost(begin) == []


def test_a_number_of_brokers_that_cannot_be_said_is_refused() -> None:
    for number in (0, 9):
        with pytest.raises(ValueError, match="there can be 1 to 8"):
            Medium([honest] * number)
