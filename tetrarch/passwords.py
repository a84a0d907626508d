"""Passwords in files that their owner alone may read."""

from pathlib import Path

from crypto.errors import CryptoError
from crypto.keyfile import MAX_KEY_FILE_BYTES, KeyFileError, read_private_file
from tetrarch.errors import ConfigurationError


def read_password(path: Path) -> bytes:
    """Return the password in a file that its owner alone may read, one line end cut off.

    Raises `ConfigurationError`.
    """
    try:
        password = read_private_file(path, MAX_KEY_FILE_BYTES).removesuffix(b"\n").removesuffix(b"\r")
    except CryptoError as error:
        what = error.what if isinstance(error, KeyFileError) else str(error)
        raise ConfigurationError(path, "", what) from None
    if not password:
        raise ConfigurationError(path, "", "is empty: an empty password protects nothing")
    return password
