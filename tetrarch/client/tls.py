"""Dialling replicas over TCP and TLS: each one where client.toml says, and by the genesis' certificate alone.

What lives here: which address and which certificate belong to which member. What must not be known here: what
frames say, when to dial again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crypto.roster import MemberId
from crypto.tls import client_context_anonymous
from network.address import Address
from network.dial import ClientConnection, ClientLimits
from tetrarch.client.limits import frame_limit
from tetrarch.client.tuning import Tuning
from tetrarch.trust import TrustRoot


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients reach a member, and the certificate (DER) that it shows there."""

    address: Address
    certificate: bytes


class TlsDialer:
    """Opens connections to the members that client.toml names. Raises `TlsError` for unusable
    certificates."""

    def __init__(self, endpoints: Mapping[MemberId, Endpoint], trust: TrustRoot, tuning: Tuning) -> None:
        self._endpoints = endpoints
        self._fingerprints = [member.tls_fingerprint for member in trust.genesis.members]
        self._context = client_context_anonymous([endpoint.certificate for endpoint in endpoints.values()])
        self._limits = ClientLimits(frame_bytes=frame_limit(trust), connect_ms=tuning.connect_timeout_ms)

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> ClientConnection:
        """Return a connection to `member`. Raises `ConnectionError`."""
        endpoint = self._endpoints.get(member)
        if endpoint is None:
            raise ConnectionError("the client's configuration does not say where it is")
        fingerprint = self._fingerprints[member]
        return await ClientConnection.connect(
            endpoint.address, self._context, fingerprint, receive, limits=self._limits
        )
