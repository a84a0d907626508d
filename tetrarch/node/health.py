"""Whether a replica is well, and whether it takes part: for probes, from what it says of itself.

What lives here: two judgements, each one line or nothing. What must not be known here: HTTP.
"""

from consensus.quorum import Quorums
from tetrarch.node.heart import Heart


def ailment(heart: Heart) -> str | None:
    """Return why this replica needs help, or `None`. That anybody answers at all shows that its event loop
    turns."""
    if heart.failure is not None:
        return f"the store takes nothing more: {heart.failure}"
    halted = heart.engine.status().halted
    return None if halted is None else f"the engine has halted: {halted}"


def absence(heart: Heart, started: bool) -> str | None:
    """Return why this replica takes no part in ordering at present, or `None`.

    A view that is being changed is no reason: changing it is taking part.
    """
    ill = ailment(heart)
    if ill is not None:
        return ill
    if not started:
        return "starting"
    status = heart.engine.status()
    role = heart.reporter.role(status)
    if role == "marked":
        return f"its disk is older than its votes: it waits for {status.waiting_for}"
    if role == "catching up":
        return f"catching up, at height {heart.ledger.height}"
    peers = heart.reporter.peers
    connected, quorum = sum(peers), Quorums.byzantine(len(peers)).quorum
    if connected < quorum:
        return f"connected to {connected} of {len(peers)} members, itself included; a quorum is {quorum}"
    return None
