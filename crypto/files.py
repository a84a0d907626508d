"""What every writer and reader of small files shares: durable names, and what an error says.

What lives here: syncing a directory, so that a file's name outlives a power failure, and what an error says
beside the path. What must not be known here: what files hold.
"""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make what was created, renamed or removed in `directory` durable. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cause(error: OSError | ValueError) -> str:
    """Return what an error says without the path, which the caller's message names already."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
