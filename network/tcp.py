"""The sockets of a replica: `PeerMesh` between members, `ClientListener` for clients.

This is the face of their parts:

| module | does |
|---|---|
| `mesh` | keeps one connection to every other member |
| `peer_link` | finds out who the other end of such a connection is |
| `listener` | accepts clients, strangers under named limits |
| `acceptor` | the listening socket of both |
| `channel` | one connection: frames under TLS, back-pressure, one write per loop turn |
| `session`, `framing`, `queue`, `hello`, `backoff`, `tally` | its parts without I/O |
"""

from network.acceptor import AcceptLimits
from network.address import Address
from network.backoff import Backoff
from network.errors import AddressError, ListenError, MalformedFrame, NetworkError
from network.listener import ClientHandler, ClientListener, ConnectionId, ListenerLimits
from network.mesh import MeshLimits, PeerHandler, PeerMesh
from network.tally import Report

__all__ = [
    "AcceptLimits",
    "Address",
    "AddressError",
    "Backoff",
    "ClientHandler",
    "ClientListener",
    "ConnectionId",
    "ListenError",
    "ListenerLimits",
    "MalformedFrame",
    "MeshLimits",
    "NetworkError",
    "PeerHandler",
    "PeerMesh",
    "Report",
]
