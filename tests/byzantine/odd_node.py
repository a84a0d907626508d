"""A network of which replica-2 is odd, and nobody lies: for tests of runners.

python -m tests.byzantine.odd_node deaf|heavy node DIRECTORY
"""

import signal
import sys

from tetrarch.cli import main


def become(odd: str) -> None:
    """Be deaf to SIGTERM, or have taken much memory for a moment."""
    if odd == "deaf":
        # Nothing clears it, and threads inherit it: the signal waits for ever.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    else:
        assert len(b"x" * 300_000_000) == 300_000_000


if __name__ == "__main__":
    odd = sys.argv.pop(1)
    if sys.argv[-1].endswith("replica-2"):
        become(odd)
    main()
