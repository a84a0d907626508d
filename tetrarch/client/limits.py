"""The largest frame that a replica may send to a client: it follows from the genesis.

What lives here: that one computation, for whoever dials and whoever decodes.
"""

from ledger.result import MAX_RESULT_BYTES
from tetrarch.trust import TrustRoot

FRAME_ROOM = 2 * 1024 * 1024
"""What a frame may hold beyond one full block: blocks that are served together are cut at as much."""


def frame_limit(trust: TrustRoot) -> int:
    """Return how many bytes a frame from a replica may have: a full block with any results, and room."""
    genesis = trust.genesis
    return genesis.max_batch_bytes + genesis.max_batch_transactions * MAX_RESULT_BYTES + FRAME_ROOM
