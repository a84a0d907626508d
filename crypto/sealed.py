"""Sealed sessions between two ends, over a medium that loses, repeats, reorders, delays, forges and listens.

What lives here: the exchange of two messages that gives both ends the same keys, and the sealing of messages
with these. What must not be known here: brokers, topics, time, what is said, when an exchange is begun.

The exchange is a Diffie-Hellman exchange of ephemeral X25519 keys in which each end signs both ends' names
and what it has seen (after ISO/IEC 9798-3; libsodium's `crypto_kx` derives the keys):

    opener -> answerer   offer:   version, number, opener's ephemeral key, signature
    answerer -> opener   answer:  version, the offer's key, answerer's ephemeral key, signature
    answerer -> opener   denial:  version, the id of a session that the answerer does not have, signature

- A signature covers the chain, the role, both names and all ephemeral keys so far: an answer fits one offer,
  and nothing signed here can be read as anything else that the same key signs.
- An offer may be an old one, repeated: who answers it learns nothing from that, and must believe in the new
  session only when something sealed with its keys has come. An opener numbers its offers upwards, so that an
  answerer need not let an old one take the place of a newer one.
- A session that its answerer denies is dead for ever: it has been forgotten, and ids are not used twice. So a
  denial that is repeated later does nothing.
- Ephemeral secrets are forgotten with the session: who takes a signing key later reads nothing of before.

Messages are sealed by ChaCha20-Poly1305 (RFC 8439), each direction with a key of its own, the nonce being a
counter that is never used twice. A window over the last `WINDOW` counters drops what comes again.
"""

from dataclasses import dataclass
from enum import StrEnum
from struct import Struct
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings
from nacl.exceptions import CryptoError as SodiumError

from crypto.digest import ChainId, digest, framed, tag
from crypto.errors import CryptoError
from crypto.keys import SIGNATURE_BYTES, PublicKey, Signer, verify

VERSION: Final = 1
KEY_BYTES: Final = 32
SESSION_ID_BYTES: Final = 8

WINDOW: Final = 4096
"""How far behind the highest counter a message may come: more than a broker's queue holds of one sender."""

MAX_MESSAGES: Final = 1 << 48
"""Messages that one session seals: far below what the cipher allows (RFC 8439, 2.8), and never reached."""

_OFFER: Final = Struct(f">BQ{KEY_BYTES}s")
_ANSWER: Final = Struct(f">B{KEY_BYTES}s{KEY_BYTES}s")
_DENIAL: Final = Struct(f">B{SESSION_ID_BYTES}s")
_HEADER: Final = Struct(f">{SESSION_ID_BYTES}sQ")
_NONCE: Final = Struct(">xxxxQ")

SEALED_HEADER_BYTES: Final = _HEADER.size
OVERHEAD: Final = SEALED_HEADER_BYTES + 16
"""What sealing adds to a message, in bytes."""

MAX_EXCHANGE_BYTES: Final = _ANSWER.size + SIGNATURE_BYTES
"""The longest of what is exchanged outside a session: an answer."""


class SealFault(StrEnum):
    """Why a message is not taken."""

    MALFORMED = "sealed_malformed"
    VERSION = "sealed_other_version"
    SIGNATURE = "sealed_signature_wrong"
    KEY = "sealed_key_refused"
    STALE = "sealed_answer_to_another_offer"
    OTHER = "sealed_denial_of_another_session"
    FORGED = "sealed_undecryptable"
    REPEATED = "sealed_repeated"


class SealError(CryptoError):
    """A message of an exchange or a session that is not taken; `fault` says why."""

    def __init__(self, fault: SealFault) -> None:
        super().__init__(fault.replace("_", " "))
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a session: their names are bytes that nobody else on this chain has."""

    chain_id: ChainId
    opener: bytes
    answerer: bytes

    def offered(self, number: int, ephemeral: bytes) -> bytes:
        """Return what an opener signs."""
        parts = (self.chain_id, self.opener, self.answerer, number.to_bytes(8, "big"), ephemeral)
        return tag("seal-offer") + framed(*parts)

    def answered(self, offered: bytes, ephemeral: bytes) -> bytes:
        """Return what an answerer signs."""
        return tag("seal-answer") + framed(self.chain_id, self.opener, self.answerer, offered, ephemeral)

    def denied(self, session_id: bytes) -> bytes:
        """Return what an answerer signs that does not have a session."""
        return tag("seal-denial") + framed(self.chain_id, self.opener, self.answerer, session_id)

    def session_id(self, offered: bytes, ephemeral: bytes) -> bytes:
        """Return the name of the session that an offer and its answer make."""
        parts = (self.chain_id, self.opener, self.answerer, offered, ephemeral)
        return digest("seal-session", *parts)[:SESSION_ID_BYTES]


class SealedSession:
    """One end's keys, counters and window. Not thread-safe."""

    __slots__ = ("_in", "_out", "_sent", "_window", "highest", "id")

    def __init__(self, session_id: bytes, incoming: bytes, outgoing: bytes) -> None:
        self.id = session_id
        self._in = ChaCha20Poly1305(incoming)
        self._out = ChaCha20Poly1305(outgoing)
        self._sent = 0
        self.highest = 0
        """The highest counter of what was opened. To be read only."""
        self._window = 0

    def seal(self, plaintext: bytes) -> bytes:
        """Return `plaintext` sealed: `OVERHEAD` bytes longer."""
        self._sent += 1
        if self._sent >= MAX_MESSAGES:
            raise RuntimeError("a session was used for longer than its counter allows")
        header = _HEADER.pack(self.id, self._sent)
        return header + self._out.encrypt(_NONCE.pack(self._sent), plaintext, header)

    def open(self, sealed: bytes) -> tuple[int, bytes]:
        """Return a message's counter and plaintext. Raises `SealError` for one that is forged or came
        before."""
        if len(sealed) < OVERHEAD:
            raise SealError(SealFault.MALFORMED)
        header = sealed[:SEALED_HEADER_BYTES]
        _, counter = _HEADER.unpack(header)
        if self._came_before(counter):
            raise SealError(SealFault.REPEATED)
        try:
            plaintext = self._in.decrypt(_NONCE.pack(counter), sealed[SEALED_HEADER_BYTES:], header)
        except InvalidTag:
            raise SealError(SealFault.FORGED) from None
        self._remember(counter)
        return counter, plaintext

    def _came_before(self, counter: int) -> bool:
        if counter > self.highest:
            return False
        behind = self.highest - counter
        return behind >= WINDOW or bool(self._window >> behind & 1)

    def _remember(self, counter: int) -> None:
        """Note a counter, after its message has been found genuine."""
        if counter > self.highest:
            ahead = counter - self.highest
            shifted = self._window << ahead if ahead < WINDOW else 0
            self._window = (shifted | 1) & ((1 << WINDOW) - 1)
            self.highest = counter
        else:
            self._window |= 1 << (self.highest - counter)


def session_id_of(sealed: bytes) -> bytes:
    """Return which session a sealed message names. Raises `SealError`."""
    if len(sealed) < OVERHEAD:
        raise SealError(SealFault.MALFORMED)
    return sealed[:SESSION_ID_BYTES]


class Offer:
    """An opener's half of an exchange. `message` may be sent again and again until an answer comes.

    `number`: from 0 to 2^64 - 1, above those of all earlier offers between these ends.
    """

    def __init__(self, ends: Ends, signer: Signer, number: int) -> None:
        self._ends = ends
        self._public, self._secret = bindings.crypto_kx_keypair()
        signature = signer.sign(ends.offered(number, self._public))
        self.message = _OFFER.pack(VERSION, number, self._public) + signature

    def accept(self, answer: bytes, answerer: PublicKey) -> SealedSession:
        """Return the session that an answer makes. Raises `SealError`."""
        version, offered, ephemeral = _fields(_ANSWER, answer)
        if version != VERSION:
            raise SealError(SealFault.VERSION)
        if offered != self._public:
            raise SealError(SealFault.STALE)
        if not verify(answerer, self._ends.answered(offered, ephemeral), answer[_ANSWER.size :]):
            raise SealError(SealFault.SIGNATURE)
        try:
            incoming, outgoing = bindings.crypto_kx_client_session_keys(self._public, self._secret, ephemeral)
        except SodiumError:
            raise SealError(SealFault.KEY) from None
        return SealedSession(self._ends.session_id(offered, ephemeral), incoming, outgoing)


def offer_number(offer: bytes) -> int:
    """Return the number that an offer claims to have. Raises `SealError`."""
    version, number, _ = _fields(_OFFER, offer)
    if version != VERSION:
        raise SealError(SealFault.VERSION)
    return int(number)


def answer_offer(ends: Ends, offer: bytes, opener: PublicKey, signer: Signer) -> tuple[bytes, SealedSession]:
    """Return the answer to an offer, and the session it makes, in which nobody should believe before
    something sealed has come in it. Raises `SealError`."""
    version, number, offered = _fields(_OFFER, offer)
    if version != VERSION:
        raise SealError(SealFault.VERSION)
    if not verify(opener, ends.offered(number, offered), offer[_OFFER.size :]):
        raise SealError(SealFault.SIGNATURE)
    public, secret = bindings.crypto_kx_keypair()
    try:
        incoming, outgoing = bindings.crypto_kx_server_session_keys(public, secret, offered)
    except SodiumError:
        raise SealError(SealFault.KEY) from None
    signature = signer.sign(ends.answered(offered, public))
    answer = _ANSWER.pack(VERSION, offered, public) + signature
    return answer, SealedSession(ends.session_id(offered, public), incoming, outgoing)


def deny(ends: Ends, session_id: bytes, signer: Signer) -> bytes:
    """Return an answerer's word that it does not have a session: neither now nor ever again."""
    return _DENIAL.pack(VERSION, session_id) + signer.sign(ends.denied(session_id))


def check_denial(ends: Ends, denial: bytes, session_id: bytes, answerer: PublicKey) -> None:
    """Raise `SealError` unless `denial` is the answerer's word that it does not have this session."""
    version, denied = _fields(_DENIAL, denial)
    if version != VERSION:
        raise SealError(SealFault.VERSION)
    if denied != session_id:
        raise SealError(SealFault.OTHER)
    if not verify(answerer, ends.denied(session_id), denial[_DENIAL.size :]):
        raise SealError(SealFault.SIGNATURE)


def _fields(layout: Struct, message: bytes) -> tuple[Any, ...]:
    """Return the fields of a message that ends in a signature."""
    if len(message) != layout.size + SIGNATURE_BYTES:
        raise SealError(SealFault.MALFORMED)
    return layout.unpack_from(message)
