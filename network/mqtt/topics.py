"""The topics of one chain: who writes where, and which patterns a broker's access lists must allow.

What lives here: building and reading topics. What must not be known here: brokers, and what messages say.

| topic | written by | read by |
|---|---|---|
| `tetrarch/CHAIN/member/R/from/S` | member S | member R |
| `tetrarch/CHAIN/member/R/client/U/X/N` | a client with the user name U | member R |
| `tetrarch/CHAIN/client/U/X/N/from/S` | member S | the same client |

CHAIN is the first 16 hexadecimal digits of the chain id, R and S are member ids in decimal, X is the public
key that a client has drawn for its process, in hexadecimal (`client_key`), and N counts its connections. So
each party reads below one topic of its own, and writes only where its own name stands: a broker's access list
can hold everyone to that (`member_rights`, `client_rights`).
"""

import re
from dataclasses import dataclass
from typing import Final

from crypto.digest import ChainId
from crypto.keys import PublicKey
from crypto.roster import MemberId

ROOT: Final = "tetrarch"
CHAIN_CHARACTERS: Final = 16

USER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A user name that can be a level of a topic."""

_NUMBER: Final = r"(0|[1-9][0-9]{0,5})"
_COUNT: Final = r"(0|[1-9][0-9]{0,14})"
"""Of connections: a client that dials for years must not run out of names."""
_CLIENT: Final = rf"([A-Za-z0-9._-]{{1,64}}/[0-9a-f]{{64}}/{_COUNT})"


def client_name(user: str, key: PublicKey, number: int) -> str:
    """Return the name of a client's connection, `U/X/N`."""
    return f"{user}/{key.hex()}/{number}"


def client_key(name: str) -> PublicKey:
    """Return the key that signs for the client named so: nobody else can speak under its name."""
    return PublicKey(bytes.fromhex(name.split("/")[1]))


@dataclass(frozen=True, slots=True)
class Rights:
    """What one user may do: topic patterns, with `+` for one level and `#` for all that follow."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]


class Topics:
    """The topics of the chain with this id."""

    def __init__(self, chain_id: ChainId) -> None:
        self._base = f"{ROOT}/{chain_id.hex()[:CHAIN_CHARACTERS]}"
        self.root = f"{self._base}/"
        """What all of them begin with."""
        self._from_member = re.compile(rf"{self._base}/member/{_NUMBER}/from/{_NUMBER}")
        self._from_client = re.compile(rf"{self._base}/member/{_NUMBER}/client/{_CLIENT}")
        self._to_client = re.compile(rf"{self._base}/client/{_CLIENT}/from/{_NUMBER}")

    def between(self, sender: MemberId, receiver: MemberId) -> str:
        """Return where `sender` writes to `receiver`."""
        return f"{self._base}/member/{receiver}/from/{sender}"

    def to_member(self, client: str, receiver: MemberId) -> str:
        """Return where the client named `client` (`U/X/N`) writes to a member."""
        return f"{self._base}/member/{receiver}/client/{client}"

    def to_client(self, sender: MemberId, client: str) -> str:
        """Return where a member writes to a client."""
        return f"{self._base}/client/{client}/from/{sender}"

    def all_of_member(self, member: MemberId) -> str:
        """Return the pattern of all that is written to a member."""
        return f"{self._base}/member/{member}/#"

    def all_of_client(self, user: str, key: PublicKey) -> str:
        """Return the pattern of all that is written to the connections of a client's process."""
        return f"{self._base}/client/{user}/{key.hex()}/#"

    def sender_of(self, topic: str, receiver: MemberId) -> MemberId | str | None:
        """Return which member (an id) or client (a name) wrote to `receiver` on `topic`, or `None` where the
        topic is no such one."""
        match = self._from_member.fullmatch(topic)
        if match is not None:
            return MemberId(int(match[2])) if match[1] == str(receiver) else None
        match = self._from_client.fullmatch(topic)
        if match is not None and match[1] == str(receiver):
            return match[2]
        return None

    def pair_of(self, topic: str) -> tuple[MemberId, MemberId] | None:
        """Return which member writes to which on `topic`, or `None` where the topic is no such one."""
        match = self._from_member.fullmatch(topic)
        return None if match is None else (MemberId(int(match[2])), MemberId(int(match[1])))

    def answering(self, topic: str) -> tuple[str, MemberId] | None:
        """Return to which client (its name) which member wrote on `topic`, or `None` where the topic is no
        such one."""
        match = self._to_client.fullmatch(topic)
        return None if match is None else (match[1], MemberId(int(match[3])))

    def member_rights(self, member: MemberId) -> Rights:
        """Return what a member must be allowed, and nothing more."""
        reads = (self.all_of_member(member),)
        writes = (f"{self._base}/member/+/from/{member}", f"{self._base}/client/+/+/+/from/{member}")
        return Rights(reads, writes)

    def client_rights(self, user: str) -> Rights:
        """Return what a client's user must be allowed, and nothing more."""
        reads = (f"{self._base}/client/{user}/#",)
        return Rights(reads, (f"{self._base}/member/+/client/{user}/+/+",))
