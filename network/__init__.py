"""Bytes between machines: framing, pinned TLS, a mesh of members, a door for clients, a simulated network.

What lives here moves opaque frames between endpoints that are known by their certificates. Nothing here
knows what a frame says, which protocol orders transactions, or what a ledger is.

- `network.tcp`: `PeerMesh` between members and `ClientListener` for clients, over TCP and TLS 1.3;
- `network.dial`: `ClientConnection`, the clients' end;
- `network.simulated`: a network in memory on a virtual clock, repeatable from a seed.
"""
