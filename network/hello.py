"""The first frame on a connection between members: who speaks, for which chain, in which version.

What lives here: its bytes and the comparison. Who the other end is has been proven by its certificate before;
the hello finds out configurations that do not fit together, and says so in words.

| bytes | |
|---|---|
| 8 | `tetrarch` |
| 2 | protocol version, big-endian |
| 32 | chain id |
| 2 | the speaker's member id, big-endian |
"""

from dataclasses import dataclass
from enum import StrEnum
from struct import Struct
from typing import Final

from crypto.roster import MemberId
from network.errors import HelloError

PROTOCOL_VERSION: Final = 1
_MAGIC: Final = b"tetrarch"
_HELLO: Final = Struct(">8sH32sH")

HELLO_BYTES: Final = _HELLO.size


class HelloFault(StrEnum):
    """Why a hello is refused."""

    MALFORMED = "hello_malformed"
    VERSION = "hello_other_version"
    CHAIN = "hello_other_chain"
    MEMBER = "hello_other_member"


class RefusedHello(HelloError):
    """A hello that does not fit; `fault` says why."""

    def __init__(self, fault: HelloFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Hello:
    """What a member says first. `chain_id` has 32 bytes."""

    chain_id: bytes
    member: MemberId
    version: int = PROTOCOL_VERSION

    def encode(self) -> bytes:
        """Return the bytes of the frame's payload."""
        return _HELLO.pack(_MAGIC, self.version, self.chain_id, self.member)

    def require(self, payload: bytes, member: MemberId) -> None:
        """Raise `RefusedHello` unless `payload` is the hello of `member` for the same chain and version."""
        if len(payload) != HELLO_BYTES or not payload.startswith(_MAGIC):
            raise RefusedHello(HelloFault.MALFORMED, "its first frame is no hello")
        _, version, chain_id, claimed = _HELLO.unpack(payload)
        if version != self.version:
            raise RefusedHello(HelloFault.VERSION, f"it speaks version {version}, we speak {self.version}")
        if chain_id != self.chain_id:
            raise RefusedHello(
                HelloFault.CHAIN, f"it is of chain {chain_id.hex()}, we are of {self.chain_id.hex()}"
            )
        if claimed != member:
            raise RefusedHello(
                HelloFault.MEMBER, f"it says it is member {claimed}, its certificate is member {member}'s"
            )
