"""One connection between two members, from its TLS handshake until each knows who the other is.

What lives here: the comparison of certificates and the exchange of hellos. What must not be known here:
dialling, queues, what follows once the peer is known.

The dialler says hello first; the other answers with its own, in any case: so both sides can tell their people
what does not fit.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crypto.roster import MemberId
from crypto.tls import TlsError, peer_fingerprint, require_peer
from network.bounds import Ending
from network.channel import Channel
from network.framing import frame
from network.hello import Hello, RefusedHello
from network.tally import Tally


@dataclass(frozen=True, slots=True)
class Terms:
    """What all links of one mesh have in common."""

    hello: Hello
    """Our own."""
    fingerprints: Mapping[MemberId, bytes]
    by_fingerprint: Mapping[bytes, MemberId]
    hello_ms: int
    """From the end of the handshake to the peer's hello."""
    tally: Tally
    known: Callable[["PeerLink"], None]
    """Called when the peer is known."""
    gone: Callable[["PeerLink"], None]
    """Called when the connection of a known peer is gone."""


class PeerLink:
    """The owner of one channel. `dialled`: whom we meant to reach, or `None` where the peer connected."""

    def __init__(self, terms: Terms, dialled: MemberId | None) -> None:
        self.member: MemberId | None = dialled
        """Who the peer is: by its certificate once the channel is open."""
        self.up = False
        """Whether its hello was accepted."""
        self.channel: Channel
        self._terms = terms
        self._dialled = dialled is not None
        self._timer: asyncio.TimerHandle | None = None

    def opened(self, channel: Channel) -> None:
        """Find out by its certificate who is there, and begin the exchange of hellos."""
        self.channel = channel
        try:
            member = self._identify(channel)
        except TlsError as error:
            self._refuse(Ending.STRANGER, str(error))
            return
        self.member = member
        channel.deliver = self._on_hello
        self._timer = asyncio.get_running_loop().call_later(
            self._terms.hello_ms / 1000, self._refuse, Ending.HELLO_SLOW, "it says no hello"
        )
        if self._dialled:
            self._say_hello()

    def closed(self, channel: Channel) -> None:
        """Tell who wants to know, and count why."""
        if self._timer is not None:
            self._timer.cancel()
        ending = channel.ending or Ending.BROKEN
        if ending is not Ending.ASKED:
            who = "unknown" if self.member is None else self.member
            self._terms.tally.note(ending, member=who, remote=channel.remote, why=channel.detail)
        if self.up:
            self._terms.gone(self)

    def _identify(self, channel: Channel) -> MemberId:
        """Return who the peer is. Raises `TlsError` for anyone who should not be there."""
        terms = self._terms
        if self._dialled and self.member is not None:
            require_peer(channel.ssl_object, {terms.fingerprints[self.member]})
            return self.member
        shown = peer_fingerprint(channel.ssl_object)
        member = terms.by_fingerprint.get(shown)
        if member is None:
            raise TlsError(f"it showed certificate {shown.hex()}, which is no member's")
        if member >= terms.hello.member:
            raise TlsError(f"it is member {member}, whom we dial: it must not dial us")
        return member

    def _on_hello(self, payload: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._dialled:
            self._say_hello()
        if self.member is None:
            return
        try:
            self._terms.hello.require(payload, self.member)
        except RefusedHello as refused:
            self._terms.tally.count(refused.fault)
            self._refuse(Ending.HELLO, str(refused))
            return
        self.up = True
        self._terms.known(self)

    def _say_hello(self) -> None:
        self.channel.send_first(frame(self._terms.hello.encode()))

    def _refuse(self, ending: Ending, why: str) -> None:
        self.channel.close(ending, why)
