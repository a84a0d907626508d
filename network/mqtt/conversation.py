"""One end of a conversation with one other party, over brokers that may do as they like with messages.

What lives here: exchanging keys and doing so again where the other end has lost them, sealing, who is alive,
and by which broker the other end hears us. Sans-IO: time is an argument (s, monotonic), messages come out of
`next_message`. What must not be known here: topics, connections, what frames mean.

| first byte | message |
|---|---|
| 1 | an offer (`crypto.sealed`) |
| 2 | an answer |
| 3 | sealed: a segment of frames, a sign of life, a goodbye (`network.mqtt.segments`) |
| 4 | "I do not know this session": its id; all zeros, before there was any |

Of two members the lower id opens; a client always does. A fourth kind is not authenticated, so all that it
may bring about is a new exchange, rarely; the session that works goes on until another one works.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crypto.keys import PublicKey, Signer
from crypto.sealed import (
    MAX_EXCHANGE_BYTES,
    SESSION_ID_BYTES,
    Ends,
    Offer,
    SealedSession,
    answer_offer,
    session_id_of,
)
from network.errors import MalformedFrame
from network.mqtt.broker import MAX_BROKERS
from network.mqtt.segments import Parcel, SegmentReader, SegmentWriter, sign_of_life
from network.queue import FrameQueue

OFFER: Final = b"\x01"
ANSWER: Final = b"\x02"
SEALED: Final = b"\x03"
UNKNOWN: Final = b"\x04"

NO_SESSION: Final = bytes(SESSION_ID_BYTES)

MAX_CONTROL: Final = 8
"""Messages of an exchange that wait to leave. There are never more than a few; older ones are superfluous."""

FIRST_RESEND_S: Final = 0.25
LONGEST_RESEND_S: Final = 2.0
"""An offer is sent again after so long without an answer; doubled each time."""

EXCHANGE_EVERY_S: Final = 0.5
"""Not more often than this a new offer is made or answered: whoever repeats old ones costs next to
nothing."""

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
    """Who speaks with whom. `signer` is `None` for a client without a name, `key` is for a member about
    one."""

    ends: Ends
    opens: bool
    signer: Signer | None
    key: PublicKey | None
    """Of the other end."""


class Conversation:
    """One end. `queue` holds the frames that are to be sent; `brokers`: how many there are."""

    def __init__(
        self, party: Party, queue: FrameQueue, frame_bytes: int, brokers: int, rhythm: Rhythm, now: float
    ) -> None:
        if not 0 < brokers <= MAX_BROKERS:
            raise ValueError(f"{brokers} brokers: there can be 1 to {MAX_BROKERS}")
        self.queue = queue
        self.reader = SegmentReader(frame_bytes)
        self.alive = False
        """Whether the other end has been heard lately, under keys that both have."""
        self.left = False
        """Whether it said goodbye."""
        self.outdated = False
        """Whether it said, before anything else proved the contrary, that it does not know our session."""
        self._party = party
        self._rhythm = rhythm
        self._writer = SegmentWriter(queue)
        self._current: SealedSession | None = None
        self._next: SealedSession | None = None
        """Answered, but nothing sealed with it has come yet."""
        self._previous: SealedSession | None = None
        self._offer: Offer | None = None
        self._answered: tuple[bytes, bytes] | None = None
        """The last offer, and its answer."""
        self._control: deque[tuple[int | None, bytes]] = deque(maxlen=MAX_CONTROL)
        """By which broker (`None`: all that there are), and what."""
        self._resend_at = now
        self._resend_after = FIRST_RESEND_S
        self._exchanged_at = now - EXCHANGE_EVERY_S
        self._complained_at = now - EXCHANGE_EVERY_S
        self._keyed_at = now
        self._heard_at = now
        self._came = [now - rhythm.silent_s] * brokers
        """When the last genuine message came by each broker."""
        self._hears: int | None = None
        """By which brokers the other end hears us, as it last said."""
        self._sent_at = [now - rhythm.beat_s] * brokers
        self._leaving = False
        self._said_goodbye = False

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
            self._on_answer(body, now)
        elif kind == UNKNOWN and self._party.opens:
            self._on_unknown(body, now)
        else:
            raise MalformedFrame("message_of_no_kind")
        return []

    def _on_sealed(self, broker: int, body: bytes, now: float) -> list[bytes]:
        session = self._session(session_id_of(body))
        if session is None:
            self._complain(broker, body[:SESSION_ID_BYTES], now)
            raise MalformedFrame("sealed_for_no_session")
        plaintext = session.open(body)
        if session is self._next:
            self._adopt(session, now)
        parcel = self.reader.read(plaintext)
        self._heard(broker, parcel, now)
        return parcel.frames

    def _heard(self, broker: int, parcel: Parcel, now: float) -> None:
        self._heard_at = self._came[broker] = now
        self._hears = parcel.heard
        self.alive = not parcel.goodbye
        self.left = parcel.goodbye
        self.outdated = False

    def _on_offer(self, broker: int, offer: bytes, now: float) -> None:
        if self._answered is not None and self._answered[0] == offer:
            self._control.append((broker, ANSWER + self._answered[1]))
            return
        if now - self._exchanged_at < EXCHANGE_EVERY_S:
            raise MalformedFrame("offer_too_soon")
        if self._party.signer is None:
            raise MalformedFrame("message_of_no_kind")
        self._exchanged_at = now
        answer, session = answer_offer(self._party.ends, offer, self._party.key, self._party.signer)
        self._next = session
        self._answered = offer, answer
        self._control.append((broker, ANSWER + answer))

    def _on_answer(self, answer: bytes, now: float) -> None:
        if self._offer is None or self._party.key is None:
            raise MalformedFrame("answer_to_nothing")
        session = self._offer.accept(answer, self._party.key)
        self._offer = None
        self._adopt(session, now)

    def _on_unknown(self, session_id: bytes, now: float) -> None:
        if self._offer is not None or now - self._exchanged_at < EXCHANGE_EVERY_S:
            return
        current = NO_SESSION if self._current is None else self._current.id
        if session_id in (current, NO_SESSION):
            self.outdated = True
            self._resend_at = now
            self._make_offer(now)

    def _adopt(self, session: SealedSession, now: float) -> None:
        """Send with these keys from now on, and at once: only something sealed proves to the other end that
        the exchange is done. What was sent with the keys before may still come."""
        self._previous, self._current = self._current, session
        self._next = None
        self._keyed_at = now
        self._sent_at = [now - self._rhythm.beat_s] * len(self._sent_at)
        self.reader.forget()

    def _session(self, session_id: bytes) -> SealedSession | None:
        for session in (self._current, self._next, self._previous):
            if session is not None and session.id == session_id:
                return session
        return None

    def _complain(self, broker: int, session_id: bytes, now: float) -> None:
        if not self._party.opens and now - self._complained_at >= EXCHANGE_EVERY_S:
            self._complained_at = now
            self._control.append((broker, UNKNOWN + session_id))

    # Time.

    def tick(self, now: float) -> None:
        """Notice silence and old keys. To be called some times per beat."""
        if self.alive and now - self._heard_at >= self._rhythm.silent_s:
            self.alive = False
        if self._party.opens:
            if self._current is None or now - self._keyed_at >= REKEY_S or not self.alive:
                self._make_offer(now)
        elif self._current is None:
            self._complain_to_all(now)

    def _make_offer(self, now: float) -> None:
        if self._offer is None and now - self._exchanged_at >= EXCHANGE_EVERY_S:
            self._exchanged_at = now
            self._offer = Offer(self._party.ends, self._party.signer)
            self._resend_at = now
            self._resend_after = FIRST_RESEND_S
        if self._offer is not None and now >= self._resend_at:
            self._control.append((None, OFFER + self._offer.message))
            self._resend_at = now + self._resend_after
            self._resend_after = min(2 * self._resend_after, LONGEST_RESEND_S)

    def _complain_to_all(self, now: float) -> None:
        """Ask the other end to open: it may believe in a session that this process, just started, never
        had."""
        if self._party.key is not None and now - self._complained_at >= self._rhythm.beat_s:
            self._complained_at = now
            self._control.append((None, UNKNOWN + NO_SESSION))

    # Out.

    def next_message(self, broker: int, up: Sequence[bool], now: float) -> bytes | None:
        """Return the next message that is to go by `broker`, if there is one. `up`: which brokers can be
        used."""
        for place, (wanted, message) in enumerate(self._control):
            if wanted == broker:
                del self._control[place]
                return message
            if wanted is None:
                return self._spread(place, message, broker, up)
        session = self._current
        if session is None:
            return None
        chosen = self._chosen(up, now)
        if self.queue and chosen == broker:
            return self._sealed(session, self._writer.take(self._heard_by(now)), broker, now)
        if self._leaving:
            return self._goodbye(session, broker, now) if chosen == broker else None
        # With several brokers, signs of life go by each, so that the other end knows which ones work.
        if now - self._sent_at[broker] >= self._rhythm.beat_s and (len(up) > 1 or chosen == broker):
            return self._sealed(session, sign_of_life(self._heard_by(now)), broker, now)
        return None

    def leave(self) -> None:
        """Say goodbye, after what is queued."""
        self._leaving = True

    def _spread(self, place: int, message: bytes, broker: int, up: Sequence[bool]) -> bytes:
        """Send one message by `broker`, and leave it there for the other brokers that can be used."""
        del self._control[place]
        others = [other for other, usable in enumerate(up) if usable and other != broker]
        self._control.extend((other, message) for other in others)
        return message

    def _sealed(self, session: SealedSession, plaintext: bytes, broker: int, now: float) -> bytes:
        self._sent_at[broker] = now
        return SEALED + session.seal(plaintext)

    def _goodbye(self, session: SealedSession, broker: int, now: float) -> bytes | None:
        if self._said_goodbye:
            return None
        self._said_goodbye = True
        return self._sealed(session, sign_of_life(0, goodbye=True), broker, now)

    def _heard_by(self, now: float) -> int:
        fresh = 3 * self._rhythm.beat_s
        return sum(1 << broker for broker, came in enumerate(self._came) if now - came < fresh)

    def _chosen(self, up: Sequence[bool], now: float) -> int | None:
        """The first broker by which the other end says it hears us; else one by which it is heard; else
        any."""
        usable = [broker for broker, is_up in enumerate(up) if is_up]
        if len(usable) > 1:
            hears = self._hears if self.alive and self._hears else 0
            heard = self._heard_by(now)
            for wanted in (hears & heard, hears, heard):
                for broker in usable:
                    if wanted >> broker & 1:
                        return broker
        return usable[0] if usable else None
