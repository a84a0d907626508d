"""One end of a conversation with one other party, over brokers that may do as they like with messages.

What lives here: exchanging keys and doing so again where the other end has lost them, sealing, who is alive.
Sans-IO: time is an argument (s, monotonic), messages come out of `next_message`. What must not be known here:
topics, connections, what frames mean.

| first byte | message |
|---|---|
| 1 | an offer (`crypto.sealed`) |
| 2 | an answer |
| 3 | sealed: a segment of frames, a sign of life, a goodbye (`network.mqtt.segments`) |
| 4 | a denial: "I do not have this session" |

Of two members the lower id opens; a client always does. The rules:

- Nothing counts that is not signed or sealed by the other end: who can only forge can but take time from us,
  and of that `CHECKS_PER_S` allows little, for each broker apart.
- The session that works goes on until the other end has proven that it has the keys of another one, or has
  signed that it does not have this one any more.
- Offers count upwards. An old one, repeated, is answered only where nothing was heard of the opener for long:
  an opener whose clock was set back is not shut out for ever.
- By whether the other end lives, whether it leaves, and by which broker it hears us only the current session
  says something; and by the latter two only its newest message, or a broker could undo them with older ones.
- Each session has a reader of its own: what comes late in an old one spoils nothing in the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crypto.keys import PublicKey, Signer
from crypto.sealed import (
    MAX_EXCHANGE_BYTES,
    Ends,
    Offer,
    SealedSession,
    answer_offer,
    check_denial,
    deny,
    offer_number,
    session_id_of,
)
from network.errors import MalformedFrame
from network.mqtt.allowance import Allowance
from network.mqtt.broker import MAX_BROKERS
from network.mqtt.segments import Parcel, SegmentReader, SegmentWriter, Slip, sign_of_life
from network.mqtt.ways import STALE_BEATS, Arrivals, Choice
from network.queue import FrameQueue

OFFER: Final = b"\x01"
ANSWER: Final = b"\x02"
SEALED: Final = b"\x03"
DENIAL: Final = b"\x04"

FIRST_RESEND_S: Final = 0.25
LONGEST_RESEND_S: Final = 2.0
"""An offer is sent again after so long without an answer; doubled each time."""

EXCHANGE_EVERY_S: Final = 0.5
"""Not more often than this a new offer is made, and a session denied to what came by one broker."""

CHECKS_PER_S: Final = 20
"""Signatures that are checked of what came by one broker in a second, an answer included: half a hundredth of
a core. An honest opener needs one or two."""

REKEY_S: Final = 3_600.0
"""After so long the opener makes new keys: what was said before can be read by nobody any more."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When the other end counts as gone. Durations in s."""

    beat_s: float = 1.0
    """Whoever has sent nothing for so long sends a sign of life."""
    silent_s: float = 5.0
    """Another end that sent nothing for so long is gone."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who speaks with whom."""

    ends: Ends
    opens: bool
    signer: Signer
    key: PublicKey
    """Of the other end."""


class _Keyed:
    """A session, and what belongs to it."""

    __slots__ = ("passages", "reader", "session")

    def __init__(self, session: SealedSession, frame_bytes: int, brokers: int) -> None:
        self.session = session
        self.reader = SegmentReader(frame_bytes)
        self.passages = [0] * brokers
        """How many messages were given to each broker."""


class Conversation:
    """One end. `queue` holds the frames that are to be sent; `brokers`: how many there are.

    `epoch`: above that of every earlier conversation of the same two ends by more than the time between them
    in s; the wall clock in ms serves.
    """

    def __init__(
        self,
        party: Party,
        queue: FrameQueue,
        frame_bytes: int,
        brokers: int,
        rhythm: Rhythm,
        epoch: int,
        now: float,
    ) -> None:
        if not 0 < brokers <= MAX_BROKERS:
            raise ValueError(f"{brokers} brokers: there can be 1 to {MAX_BROKERS}")
        self.queue = queue
        self.alive = False
        """Whether the other end has been heard lately, under keys that both have."""
        self.left = False
        """Whether it said goodbye."""
        self.outdated = False
        """Whether it has signed that it does not have our session, and was not heard since."""
        self._party = party
        self._rhythm = rhythm
        self._frame_bytes = frame_bytes
        self._writer = SegmentWriter(queue)
        self._current: _Keyed | None = None
        self._next: _Keyed | None = None
        """Answered, but nothing sealed with it has come yet."""
        self._previous: _Keyed | None = None
        self._offer: Offer | None = None
        self._number = epoch
        self._answered: tuple[bytes, bytes] | None = None
        """The last offer, and its answer."""
        self._answered_number = -1
        self._answered_at = now
        self._control: list[dict[bytes, bytes]] = [{} for _ in range(brokers)]
        """For each broker, messages of an exchange that wait to leave, by kind: the last one supersedes."""
        self._resend_at = now
        self._resend_after = FIRST_RESEND_S
        self._exchanged_at = now - EXCHANGE_EVERY_S
        self._denied_at = [now - EXCHANGE_EVERY_S] * brokers
        self._checks = [Allowance(CHECKS_PER_S, now) for _ in range(brokers)]
        self._keyed_at = now
        self._heard_at = now
        self._arrivals = Arrivals(brokers, rhythm.beat_s, now)
        self._choice = Choice(STALE_BEATS * rhythm.beat_s, now)
        self._serving = 0
        """By which brokers the other end hears us well, as it last said."""
        self._sent_at = [now - rhythm.beat_s] * brokers
        self._leaving = False
        self._said_goodbye = False

    @property
    def buffered(self) -> int:
        """Bytes kept of frames that are not complete."""
        return sum(keyed.reader.buffered for keyed in (self._current, self._previous) if keyed is not None)

    def forget(self) -> None:
        """Drop what is kept of unfinished frames."""
        for keyed in (self._current, self._previous):
            if keyed is not None:
                keyed.reader.forget()

    # In.

    def receive(self, broker: int, message: bytes, now: float) -> list[bytes]:
        """Take a message and return the frames in it.

        Raises `SealError` and `MalformedFrame`: it was dropped, and nothing is known of who made it.
        """
        kind, body = message[:1], message[1:]
        if kind == SEALED:
            return self._on_sealed(broker, body, now)
        if len(body) > MAX_EXCHANGE_BYTES:
            raise MalformedFrame("exchange_too_long")
        if kind == OFFER and not self._party.opens:
            self._on_offer(broker, body, now)
        elif kind == ANSWER and self._party.opens:
            self._on_answer(broker, body, now)
        elif kind == DENIAL and self._party.opens:
            self._on_denial(broker, body, now)
        else:
            raise MalformedFrame("message_of_no_kind")
        return []

    def _on_sealed(self, broker: int, body: bytes, now: float) -> list[bytes]:
        session_id = session_id_of(body)
        keyed = self._keyed(session_id)
        if keyed is None:
            self._deny(broker, session_id, now)
            raise MalformedFrame("sealed_for_no_session")
        counter, plaintext = keyed.session.open(body)
        if keyed is self._next:
            self._adopt(keyed, now)
        parcel = keyed.reader.read(plaintext)
        if keyed is self._current:
            self._heard(broker, parcel, counter, keyed.session.highest, now)
        return parcel.frames

    def _heard(self, broker: int, parcel: Parcel, counter: int, highest: int, now: float) -> None:
        self._heard_at = now
        slip = parcel.slip
        if slip.broker == broker and self._arrivals.note(broker, slip.passage, counter, highest, now):
            # Told at once, or what is lost meanwhile is a beat's worth more.
            self._beat_now(now)
        if counter == highest:
            self._serving = slip.heard
            self.left = parcel.goodbye
        self.alive = not self.left
        self.outdated = False

    def _on_offer(self, broker: int, offer: bytes, now: float) -> None:
        if self._answered is not None and self._answered[0] == offer:
            self._control[broker][ANSWER] = self._answered[1]
            return
        number = offer_number(offer)
        if number <= self._answered_number and (
            self.alive or now - self._answered_at < self._rhythm.silent_s
        ):
            raise MalformedFrame("offer_is_old")
        self._check(broker, now)
        party = self._party
        answer, session = answer_offer(party.ends, offer, party.key, party.signer)
        self._next = self._with(session)
        self._answered = offer, answer
        self._answered_number = number
        self._answered_at = now
        self._control[broker][ANSWER] = answer

    def _on_answer(self, broker: int, answer: bytes, now: float) -> None:
        if self._offer is None:
            raise MalformedFrame("answer_to_nothing")
        self._check(broker, now)
        session = self._offer.accept(answer, self._party.key)
        self._offer = None
        self._exchanged_at = now
        for control in self._control:
            control.pop(OFFER, None)
        self._adopt(self._with(session), now)

    def _on_denial(self, broker: int, denial: bytes, now: float) -> None:
        if self._current is None:
            raise MalformedFrame("denial_of_nothing")
        self._check(broker, now)
        check_denial(self._party.ends, denial, self._current.session.id, self._party.key)
        self._current = None
        self.alive = False
        self.outdated = True
        self._make_offer(now)

    def _check(self, broker: int, now: float) -> None:
        """Raise `MalformedFrame` where too much was to be checked of what came by this broker."""
        if not self._checks[broker].spend(now):
            raise MalformedFrame("exchange_paced")

    def _with(self, session: SealedSession) -> _Keyed:
        return _Keyed(session, self._frame_bytes, len(self._control))

    def _adopt(self, keyed: _Keyed, now: float) -> None:
        """Send with these keys from now on, and at once: only something sealed proves to the other end that
        the exchange is done. What was sent with the keys before may still come."""
        self._previous, self._current = self._current, keyed
        self._next = None
        self._keyed_at = now
        self._arrivals.renew(now)
        # Whoever reads the new session knows nothing of how that frame began.
        self.queue.forget_rest()
        self._beat_now(now)

    def _keyed(self, session_id: bytes) -> _Keyed | None:
        for keyed in (self._current, self._next, self._previous):
            if keyed is not None and keyed.session.id == session_id:
                return keyed
        return None

    def _deny(self, broker: int, session_id: bytes, now: float) -> None:
        if not self._party.opens and now - self._denied_at[broker] >= EXCHANGE_EVERY_S:
            self._denied_at[broker] = now
            self._control[broker][DENIAL] = deny(self._party.ends, session_id, self._party.signer)

    # Time.

    def tick(self, now: float) -> None:
        """Notice silence and old keys. To be called some times per beat."""
        if self.alive and now - self._heard_at >= self._rhythm.silent_s:
            self.alive = False
        if now - self._keyed_at >= self._rhythm.silent_s:
            self._previous = None
        due = self._current is None or now - self._keyed_at >= REKEY_S or not self.alive
        if self._party.opens and due:
            self._make_offer(now)

    def _make_offer(self, now: float) -> None:
        if self._offer is None and now - self._exchanged_at >= EXCHANGE_EVERY_S:
            self._exchanged_at = now
            self._number += 1
            self._offer = Offer(self._party.ends, self._party.signer, self._number)
            self._resend_at = now
            self._resend_after = FIRST_RESEND_S
        if self._offer is not None and now >= self._resend_at:
            for control in self._control:
                control[OFFER] = self._offer.message
            self._resend_at = now + self._resend_after
            self._resend_after = min(2 * self._resend_after, LONGEST_RESEND_S)

    def _beat_now(self, now: float) -> None:
        self._sent_at = [now - self._rhythm.beat_s] * len(self._sent_at)

    # Out.

    def next_message(self, broker: int, up: Sequence[bool], now: float) -> bytes | None:
        """Return the next message that is to go by `broker`, if there is one. `up`: which brokers can be
        used."""
        control = self._control[broker]
        if control:
            kind = next(iter(control))
            return kind + control.pop(kind)
        keyed = self._current
        if keyed is None:
            return None
        chosen = self._choice.make(up, self._serving if self.alive else 0, now) == broker
        several = len(up) > 1
        # With several brokers, signs of life go by each, so that the other end knows which ones work; beside
        # frames too, since a broker may let only these pass.
        beat = now - self._sent_at[broker] >= self._rhythm.beat_s and (several or chosen)
        if beat and several and not self._leaving:
            return self._sign_of_life(keyed, broker, now)
        if self.queue and chosen:
            if not several:
                self._sent_at[broker] = now
            return self._seal(keyed, self._writer.take(self._slip(keyed, broker, now)))
        if self._leaving:
            return self._goodbye(keyed, broker, now) if chosen else None
        return self._sign_of_life(keyed, broker, now) if beat else None

    def leave(self) -> None:
        """Say goodbye, after what is queued. Keys that nobody will use any more are not offered."""
        self._leaving = True
        self._offer = None
        for control in self._control:
            control.pop(OFFER, None)

    def _slip(self, keyed: _Keyed, broker: int, now: float) -> Slip:
        keyed.passages[broker] += 1
        return Slip(self._arrivals.serving(now), broker, keyed.passages[broker])

    def _sign_of_life(self, keyed: _Keyed, broker: int, now: float) -> bytes:
        self._sent_at[broker] = now
        return self._seal(keyed, sign_of_life(self._slip(keyed, broker, now)))

    def _goodbye(self, keyed: _Keyed, broker: int, now: float) -> bytes | None:
        if self._said_goodbye:
            return None
        self._said_goodbye = True
        return self._seal(keyed, sign_of_life(self._slip(keyed, broker, now), goodbye=True))

    @staticmethod
    def _seal(keyed: _Keyed, plaintext: bytes) -> bytes:
        return SEALED + keyed.session.seal(plaintext)
