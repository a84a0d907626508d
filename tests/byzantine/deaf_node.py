"""A replica that does not hear when it is asked to stop, if it is replica-2: for tests of runners."""

import signal
import sys

from tetrarch.cli import main

if __name__ == "__main__":
    if sys.argv[-1].endswith("replica-2"):
        # Nothing clears it, and threads inherit it: the signal waits for ever.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
