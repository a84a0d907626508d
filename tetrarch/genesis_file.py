"""genesis.json: the readable form of a genesis, and the checks of one that was written by hand.

What lives here: reading, strictly and with errors that name file and key, and writing. What must not be
known here: addresses, paths and everything else that is local to one machine.

Every key must be there: what all replicas have to agree on should be readable in the file. `chain_id` may be
left out; where it stands, it must be the digest of the rest.
"""

from pathlib import Path
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from crypto.attestation import MAX_HEIGHT
from crypto.digest import Digest
from crypto.errors import KeyRefused
from crypto.keys import PublicKey, check_public_key
from crypto.roster import MAX_MEMBERS
from ledger.genesis import FORMAT, Genesis, GenesisMember
from ledger.jsonfile import FileFault, parse_json, read_bounded, write_json
from ledger.receipt_text import Hex32
from ledger.transaction import MAX_TRANSACTION_BYTES
from tetrarch.errors import ConfigurationError
from tetrarch.wire import MAX_FETCH_IDS

MAX_GENESIS_BYTES: Final = 1024 * 1024
"""256 members at about 250 bytes each, and the application's parameters, with room."""

MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""With its results and certificate, a block of this size stays well below the largest frame and block."""

MAX_PARAMETERS: Final = 1000

_Positive = Annotated[int, Meta(gt=0, le=MAX_HEIGHT)]
_Parameter = Annotated[str, Meta(max_length=4096)]


class _MemberText(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9._-]+\Z")]
    public_key: Hex32
    tls_fingerprint: Hex32


class _GenesisText(Struct, frozen=True, forbid_unknown_fields=True):
    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    created: Annotated[int, Meta(ge=0, le=MAX_HEIGHT)]
    engine: Annotated[str, Meta(min_length=1, max_length=32)]
    application: Annotated[str, Meta(min_length=1, max_length=200)]
    members: Annotated[list[_MemberText], Meta(min_length=1, max_length=MAX_MEMBERS)]
    horizon_ms: _Positive
    clock_bound_ms: _Positive
    checkpoint_interval: _Positive
    max_transaction_bytes: Annotated[int, Meta(gt=0, le=MAX_TRANSACTION_BYTES)]
    max_batch_transactions: Annotated[int, Meta(gt=0, le=MAX_FETCH_IDS)]
    max_batch_bytes: Annotated[int, Meta(gt=0, le=MAX_BATCH_BYTES)]
    testing: bool
    parameters: Annotated[dict[_Parameter, _Parameter], Meta(max_length=MAX_PARAMETERS)]
    chain_id: Hex32 | UnsetType = UNSET


def genesis_to_json(genesis: Genesis) -> object:
    """Return what genesis.json holds, as plain values, the chain id included."""
    return _GenesisText(
        format=genesis.format,
        name=genesis.name,
        created=genesis.created,
        engine=genesis.engine,
        application=genesis.application,
        members=[
            _MemberText(member.name, member.public_key.hex(), member.tls_fingerprint.hex())
            for member in genesis.members
        ],
        horizon_ms=genesis.horizon_ms,
        clock_bound_ms=genesis.clock_bound_ms,
        checkpoint_interval=genesis.checkpoint_interval,
        max_transaction_bytes=genesis.max_transaction_bytes,
        max_batch_transactions=genesis.max_batch_transactions,
        max_batch_bytes=genesis.max_batch_bytes,
        testing=genesis.testing,
        parameters=dict(genesis.parameters),
        chain_id=genesis.chain_id.hex(),
    )


def genesis_from_json(data: bytes, path: Path = Path("genesis.json")) -> Genesis:
    """Return the genesis in a file's bytes; `path` names it in errors.

    Raises `ConfigurationError`, naming the key, for everything that is missing, unknown, repeated, out of
    bounds, or not what `chain_id` states.
    """
    try:
        text = parse_json(data, _GenesisText, path)
    except FileFault as fault:
        raise ConfigurationError(path, fault.key, fault.what) from None
    genesis = _genesis(text)
    _require_members(genesis, path)
    _require_consistent(genesis, path)
    if isinstance(text.chain_id, str) and text.chain_id != genesis.chain_id.hex():
        what = f"is {text.chain_id}, but the file's values make {genesis.chain_id.hex()}"
        raise ConfigurationError(path, "chain_id", what)
    return genesis


def load_genesis(path: str | Path) -> Genesis:
    """Return the genesis in a file. Raises `ConfigurationError`."""
    try:
        data = read_bounded(Path(path), MAX_GENESIS_BYTES)
    except FileFault as fault:
        raise ConfigurationError(Path(path), fault.key, fault.what) from None
    return genesis_from_json(data, Path(path))


def save_genesis(genesis: Genesis, path: str | Path) -> None:
    """Write genesis.json, whole and durable. Raises `ConfigurationError` where it cannot be written."""
    try:
        write_json(Path(path), genesis_to_json(genesis))
    except FileFault as fault:
        raise ConfigurationError(Path(path), fault.key, fault.what) from None


def _genesis(text: _GenesisText) -> Genesis:
    members = [
        GenesisMember(
            member.name,
            PublicKey(bytes.fromhex(member.public_key)),
            Digest(bytes.fromhex(member.tls_fingerprint)),
        )
        for member in text.members
    ]
    return Genesis(
        format=text.format,
        name=text.name,
        created=text.created,
        engine=text.engine,
        application=text.application,
        members=tuple(members),
        horizon_ms=text.horizon_ms,
        clock_bound_ms=text.clock_bound_ms,
        checkpoint_interval=text.checkpoint_interval,
        max_transaction_bytes=text.max_transaction_bytes,
        max_batch_transactions=text.max_batch_transactions,
        max_batch_bytes=text.max_batch_bytes,
        testing=text.testing,
        parameters=tuple(sorted(text.parameters.items())),
    )


def _require_members(genesis: Genesis, path: Path) -> None:
    """Guard: every key may be registered, and no two members share a name, a key or a certificate."""
    for place, member in enumerate(genesis.members):
        try:
            check_public_key(member.public_key)
        except KeyRefused as error:
            raise ConfigurationError(path, f"members[{place}].public_key", str(error)) from None
        for other, earlier in enumerate(genesis.members[:place]):
            for key in ("name", "public_key", "tls_fingerprint"):
                if getattr(member, key) == getattr(earlier, key):
                    raise ConfigurationError(path, f"members[{place}].{key}", f"is that of members[{other}]")


def _require_consistent(genesis: Genesis, path: Path) -> None:
    """Guard: limits that exclude each other would make a chain on which nothing can be submitted."""
    if genesis.horizon_ms <= 2 * genesis.clock_bound_ms:
        what = (
            f"is {genesis.horizon_ms}, and must be more than twice clock_bound_ms ({genesis.clock_bound_ms})"
        )
        raise ConfigurationError(path, "horizon_ms", what)
    if genesis.max_batch_bytes < genesis.max_transaction_bytes:
        what = f"is {genesis.max_batch_bytes}, less than max_transaction_bytes"
        raise ConfigurationError(path, "max_batch_bytes", what)
