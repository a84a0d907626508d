"""Key files: the seed of an Ed25519 signing key on disk, encrypted with a password or plainly labelled plain.

What lives here: the file's format, its encryption, and the care with which a private file is created and
opened. What must not be known here: whose key it is, where passwords come from, what is signed with it.

A file is TOML that a person can read: what it is, the public key, how it is protected. The seed is encrypted
by ChaCha20-Poly1305 under a key that scrypt (RFC 7914) makes from the password and a salt. Encrypted PKCS#8
PEM was not chosen: what `cryptography` writes there is AES-CBC without authentication under PBKDF2, which
costs a guessing machine no memory, and it can bind neither a purpose nor a public key. Here format (which
names the purpose), public key, salt and cost are authenticated together with the seed: another public key
cannot be put beside it, nor a file be passed off as something else. A plain file is not authenticated, but
its seed must fit its public key too.
"""

import os
import re
import secrets
import shlex
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta, Struct

from crypto.digest import framed
from crypto.errors import CryptoError
from crypto.files import cause, sync_directory
from crypto.keys import PUBLIC_KEY_BYTES, SEED_BYTES, SigningKey

FORMAT: Final = "tetrarch-signing-key-1"
"""Version and purpose of the file; authenticated with the seed."""

MAX_KEY_FILE_BYTES: Final = 4096
"""A written file has about 600 bytes; the rest leaves room for comments of the owner."""

MAX_SCRYPT_MEMORY: Final = 256 * 2**20
"""Bytes that a file may make its reader allocate: twice the strongest cost that OWASP's cheat sheet lists."""

MAX_SCRYPT_WORK: Final = 2**22
"""Largest n * r * p: four times OWASP's, so that opening a hostile file costs seconds at most."""

PRIVATE_MODE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_SALT_BYTES: Final = 16
_CIPHER_KEY_BYTES: Final = 32
_CIPHER_TAG_BYTES: Final = 16
"""What ChaCha20-Poly1305 adds to what it encrypts (RFC 8439, 2.8)."""
# A nonce must not serve twice under one key; every file has a new salt, and so a new key.
_NONCE: Final = bytes(12)

Password = bytes | Callable[[], bytes] | None
"""A password, or how to ask for one (called only when the file is encrypted), or none."""


class KeyFileError(CryptoError):
    """A key file cannot be written, or read and believed. One line: the file, and what is wrong with it."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.what = what


class ScryptCost(Struct, frozen=True, forbid_unknown_fields=True):
    """scrypt's parameters (RFC 7914): 128 * n * r bytes of memory, n * r * p of work. n is a power of two."""

    n: Annotated[int, Meta(gt=1, le=2**32)]
    r: Annotated[int, Meta(ge=1, le=2**32)]
    p: Annotated[int, Meta(ge=1, le=2**32)]


DEFAULT_COST: Final = ScryptCost(n=2**15, r=8, p=3)
"""One of OWASP's equally strong choices, the one with the least memory: 32 MiB, about 0.3 s."""


def _hex(size: int) -> Meta:
    return Meta(pattern=rf"\A[0-9a-f]{{{2 * size}}}\Z")


class _Plain(Struct, frozen=True, forbid_unknown_fields=True, tag_field="protection", tag="none"):
    format: Literal["tetrarch-signing-key-1"]
    public_key: Annotated[str, _hex(PUBLIC_KEY_BYTES)]
    seed: Annotated[str, _hex(SEED_BYTES)]


class _Sealed(Struct, frozen=True, forbid_unknown_fields=True, tag_field="protection", tag="password"):
    format: Literal["tetrarch-signing-key-1"]
    public_key: Annotated[str, _hex(PUBLIC_KEY_BYTES)]
    cipher: Literal["scrypt-chacha20poly1305"]
    scrypt: ScryptCost
    salt: Annotated[str, _hex(_SALT_BYTES)]
    sealed_seed: Annotated[str, _hex(SEED_BYTES + _CIPHER_TAG_BYTES)]


_PLAIN_TEXT: Final = """\
# The seed of a Tetrarch signing key. PLAIN, NOT ENCRYPTED: whoever reads this file can sign in your name.
# For tests and throw-away networks.
format = "{format}"
public_key = "{public_key}"
protection = "none"
seed = "{seed}"
"""

_SEALED_TEXT: Final = """\
# The seed of a Tetrarch signing key, encrypted with a password. Without the password the key is lost.
format = "{format}"
public_key = "{public_key}"
protection = "password"
cipher = "scrypt-chacha20poly1305"
scrypt = {{ n = {cost.n}, r = {cost.r}, p = {cost.p} }}
salt = "{salt}"
sealed_seed = "{sealed_seed}"
"""


def write_key_file(
    path: Path, seed: bytes, password: bytes | None, *, cost: ScryptCost = DEFAULT_COST
) -> None:
    """Write `seed` (32 bytes) to a new file at `path`: encrypted with `password`, or plain with None.

    The file appears whole or not at all, with mode 0600, and is durable on return. Raises KeyFileError when
    there is already one, when it cannot be written, and for an empty password.
    """
    public_key = SigningKey(seed).public_key
    if password is None:
        text = _PLAIN_TEXT.format(format=FORMAT, public_key=public_key.hex(), seed=seed.hex())
    else:
        _require_password(path, password)
        _require_cost(path, cost)
        salt = secrets.token_bytes(_SALT_BYTES)
        bound = _bound(public_key, salt, cost)
        sealed = ChaCha20Poly1305(_cipher_key(password, salt, cost)).encrypt(_NONCE, seed, bound)
        text = _SEALED_TEXT.format(
            format=FORMAT, public_key=public_key.hex(), cost=cost, salt=salt.hex(), sealed_seed=sealed.hex()
        )
    write_private_file(path, text.encode())


def read_key_file(path: Path, password: Password = None) -> bytes:
    """Return the seed (32 bytes) that the key file at `path` holds.

    A password is not looked at when the file is plain. Raises KeyFileError for a file that is missing,
    readable by others, too large, damaged or no key file, and for a password that is missing or wrong.
    """
    body = _parsed(path, read_private_file(path, MAX_KEY_FILE_BYTES))
    if isinstance(body, _Plain):
        seed = bytes.fromhex(body.seed)
    else:
        _require_cost(path, body.scrypt)
        if password is None:
            raise KeyFileError(path, "is encrypted: a password is needed, and none was given")
        seed = _unsealed(path, body, password if isinstance(password, bytes) else password())
    if SigningKey(seed).public_key.hex() != body.public_key:
        raise KeyFileError(path, "its seed does not belong to its public key; the file was altered")
    return seed


def write_private_file(path: Path, data: bytes) -> None:
    """Create the file `path` with mode 0600, whole and durable, or leave nothing; never replace one.

    Raises KeyFileError. Written beside its place and then linked into it: a link, unlike a renaming, fails
    where there is already a file.
    """
    try:
        beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            _write_durably(beside, data)
            os.link(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileExistsError:
        raise KeyFileError(path, "exists already, and is never overwritten; move it away first") from None
    except (OSError, ValueError) as error:
        raise KeyFileError(path, f"cannot be written: {cause(error)}") from None


def read_private_file(path: Path, limit: int) -> bytes:
    """Return the content, at most `limit` bytes, of a file that its owner alone may open.

    Raises KeyFileError when it is missing, no regular file, open to others, or larger.
    """
    try:
        # Not blocking: a named pipe in the file's place would otherwise hold the reader up for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _require_private(path, os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise KeyFileError(path, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise KeyFileError(path, f"cannot be read: {cause(error)}") from None
    if len(data) > limit:
        raise KeyFileError(path, f"has more than {limit} bytes; it is not a key file")
    return data


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
    with open(descriptor, "wb") as file:
        # A umask may have taken away what the owner needs.
        os.fchmod(descriptor, PRIVATE_MODE)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _require_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(path, "is not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS:
        fix = f"chmod 600 {shlex.quote(str(path))}"
        raise KeyFileError(path, f"is open to other users (mode {mode:04o}); close it with: {fix}")


def _parsed(path: Path, data: bytes) -> _Plain | _Sealed:
    try:
        text = data.decode()
        # The format's name decides what a broken file is called: one of ours, or something else.
        ours = re.search(rf'^format *= *"{FORMAT}"', text, re.MULTILINE) is not None
        fields = tomllib.loads(text)
    except UnicodeDecodeError:
        raise KeyFileError(path, "is not a Tetrarch key file: it is not text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        what = f"is truncated or damaged: {error}" if ours else "is not a Tetrarch key file"
        raise KeyFileError(path, what) from None
    if not ours:
        raise KeyFileError(path, f'is not a Tetrarch key file: format = "{FORMAT}" is missing')
    try:
        return msgspec.convert(fields, _Plain | _Sealed)
    except msgspec.ValidationError as error:
        raise KeyFileError(path, f"is truncated or damaged: {error}") from None


def _require_password(path: Path, password: bytes) -> None:
    if not password:
        raise KeyFileError(path, "an empty password protects nothing")


def _require_cost(path: Path, cost: ScryptCost) -> None:
    if cost.n & (cost.n - 1):
        raise KeyFileError(path, f"scrypt's n is {cost.n}, which is not a power of two")
    if 128 * cost.n * cost.r > MAX_SCRYPT_MEMORY or cost.n * cost.r * cost.p > MAX_SCRYPT_WORK:
        raise KeyFileError(
            path,
            f"asks for more than its reader allows: scrypt with n={cost.n}, r={cost.r}, p={cost.p};"
            f" at most {MAX_SCRYPT_MEMORY >> 20} MiB and n * r * p <= {MAX_SCRYPT_WORK}",
        )


def _unsealed(path: Path, body: _Sealed, password: bytes) -> bytes:
    _require_password(path, password)
    salt = bytes.fromhex(body.salt)
    bound = _bound(bytes.fromhex(body.public_key), salt, body.scrypt)
    cipher = ChaCha20Poly1305(_cipher_key(password, salt, body.scrypt))
    try:
        return cipher.decrypt(_NONCE, bytes.fromhex(body.sealed_seed), bound)
    except InvalidTag:
        raise KeyFileError(path, "the password is wrong, or the file was altered") from None


def _bound(public_key: bytes, salt: bytes, cost: ScryptCost) -> bytes:
    """Everything the file says beside the seed, to be authenticated with it."""
    numbers = b"".join(number.to_bytes(8, "big") for number in (cost.n, cost.r, cost.p))
    return framed(FORMAT.encode(), public_key, salt, numbers)


def _cipher_key(password: bytes, salt: bytes, cost: ScryptCost) -> bytes:
    return Scrypt(salt=salt, length=_CIPHER_KEY_BYTES, n=cost.n, r=cost.r, p=cost.p).derive(password)
