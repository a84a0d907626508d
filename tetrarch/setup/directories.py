"""Directories that appear with everything in them, or not at all.

What lives here: that, and turning what goes wrong meanwhile into a `SetupError`. What must not be known here:
what lies in them.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from crypto.errors import CryptoError
from crypto.files import cause
from ledger.jsonfile import FileFault
from tetrarch.setup.errors import SetupError

PRIVATE: Final = 0o700
OPEN: Final = 0o755


@contextmanager
def appearing(directory: Path, mode: int = OPEN) -> Iterator[Path]:
    """Yield a directory beside `directory` that takes its name when the block ends well, and else vanishes.

    `directory` must not exist yet, or be empty. Raises `SetupError`, also for errors of the system and of
    keys in the block.
    """
    with faults(directory):
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise SetupError(
                f"{directory} exists already, and is never overwritten: choose another directory"
            )
        absolute = directory.absolute()
        beside = absolute.with_name(f".{absolute.name}.{secrets.token_hex(8)}")
        beside.mkdir(mode=mode, parents=True)
        try:
            yield beside
            beside.rename(absolute)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


@contextmanager
def faults(directory: Path) -> Iterator[None]:
    """Raise as `SetupError` what the system or a key refuses while `directory` is being made."""
    try:
        yield
    except OSError as error:
        raise SetupError(f"{directory} cannot be made: {cause(error)}") from None
    except (CryptoError, FileFault) as error:
        raise SetupError(str(error)) from None
