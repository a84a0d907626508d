"""The chain's records on the disk: what each looks like, and how one is believed.

What lives here: keys, the seal that makes a flipped byte visible, reading blocks and verifying them. What
must not be known here: executing, applications, when something is synced.

| family | key | value | flipped bytes are found by |
|---|---|---|---|
| META | `chain` | format and chain id | seal |
| META | `head` | height and hash of the last block | seal |
| META | `records` | the tally of VOTES and ARCHIVE (`ledger.engine_records`) | seal |
| BLOCKS | height | block, its certificate left out | seal; parent links up to the head; both roots |
| CERTIFICATES | height | the engine's certificate | seal (and its signatures) |
| INDEX | transaction id | height, position | seal (and the block there) |
| STATE | as `ledger.state` says | | the state root in the head |
| VOTES, ARCHIVE | the engine's | the engine's | seal |

Heights are 8 bytes, positions 4, big-endian. A seal is the CRC-32 of family, key and value: against decay,
not against forgery, which is what hashes and signatures are for. A CRC-32 finds every single flipped byte.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from msgspec import Struct

from crypto import merkle
from crypto.attestation import Height, HeightField
from crypto.batch import TxId, transaction_root
from crypto.codec import StrictDecoder, encode
from crypto.digest import DIGEST_BYTES, ChainId, ChainIdField, Digest, DigestField
from crypto.errors import CodecError
from ledger.block import Block, Header, block_hash, blocks, result_leaf
from ledger.errors import CorruptStore, OtherChain, StoreError
from ledger.keyvalue import Change, Family, KeyValue
from ledger.transaction import transaction_id

FORMAT = 2
"""Of the records below. Another format is another program's store."""

CHAIN_KEY = b"chain"
HEAD_KEY = b"head"
SEAL_BYTES = 4
HEIGHT_BYTES = 8
POSITION_BYTES = 4
_META_LIMIT = 256

KEPT_HEADERS = 512
"""Headers of the last blocks kept in memory, 0.3 MB: attestations are asked for again within a window or
two."""


class Identity(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Whose store it is."""

    format: int
    chain_id: ChainIdField


class Head(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last block."""

    height: HeightField
    block_hash: DigestField


class Place(NamedTuple):
    """Where a transaction was executed."""

    height: Height
    position: int


identities = StrictDecoder(Identity, _META_LIMIT)
heads = StrictDecoder(Head, _META_LIMIT)

_seeds = tuple(crc32(family.column.encode()) for family in Family)


def seal(family: Family, key: bytes, value: bytes) -> bytes:
    """Return `value` with its seal behind it, as it is stored under `key`."""
    return value + crc32(value, crc32(key, _seeds[family])).to_bytes(SEAL_BYTES, "big")


def unseal(family: Family, key: bytes, stored: bytes) -> bytes:
    """Return the value in a sealed record. Raises `CorruptStore` where the seal does not hold."""
    value = stored[:-SEAL_BYTES]
    if crc32(value, crc32(key, _seeds[family])).to_bytes(SEAL_BYTES, "big") != stored[-SEAL_BYTES:]:
        raise CorruptStore(
            f"a record's checksum does not hold (family {family.column}, key {key.hex()})",
            _height_of(family, key),
        )
    return value


def height_key(height: Height) -> bytes:
    """Return the key of a height's records."""
    return height.to_bytes(HEIGHT_BYTES, "big")


def decode_place(tx_id: bytes, stored: bytes) -> Place:
    """Return the place in an INDEX record. Raises `CorruptStore`."""
    value = unseal(Family.INDEX, tx_id, stored)
    if len(value) != HEIGHT_BYTES + POSITION_BYTES or len(tx_id) != DIGEST_BYTES:
        raise CorruptStore(f"an index record of the wrong length for transaction {tx_id.hex()}")
    return Place(
        Height(int.from_bytes(value[:HEIGHT_BYTES], "big")), int.from_bytes(value[HEIGHT_BYTES:], "big")
    )


def index_changes(height: Height, ids: Sequence[bytes], positions: Sequence[int]) -> list[Change]:
    """Return the INDEX records of one block's transactions, in the order of their ids.

    Sorted because inserting in order costs RocksDB a third less.
    """
    start, seed, family = height_key(height), _seeds[Family.INDEX], Family.INDEX
    changes: list[Change] = []
    for tx_id, position in sorted([(ids[position], position) for position in positions]):
        value = start + position.to_bytes(POSITION_BYTES, "big")
        changes.append((family, tx_id, value + crc32(value, crc32(tx_id, seed)).to_bytes(SEAL_BYTES, "big")))
    return changes


def block_changes(block: Block, hashed: Digest) -> list[Change]:
    """Return the records of a block, of its certificate, and of the new head."""
    height = block.header.height
    key = height_key(height)
    bare = Block(block.header, block.transactions, block.results, b"")
    rows = (
        (Family.BLOCKS, key, encode(bare)),
        (Family.CERTIFICATES, key, block.certificate),
        (Family.META, HEAD_KEY, encode(Head(height, hashed))),
    )
    return [(family, key, seal(family, key, value)) for family, key, value in rows]


def verify_contents(block: Block) -> None:
    """Verify that a block's transactions and results are those of its header. Raises `CorruptStore`."""
    header = block.header
    if len(block.transactions) != len(block.results):
        raise CorruptStore("a block with more or fewer results than transactions", header.height)
    ids = [transaction_id(raw) for raw in block.transactions]
    if transaction_root(ids) != header.transaction_root:
        raise CorruptStore("the transactions do not hash to the header's transaction root", header.height)
    if merkle.root(map(result_leaf, ids, block.results)) != header.result_root:
        raise CorruptStore("the results do not hash to the header's result root", header.height)


def _height_of(family: Family, key: bytes) -> Height | None:
    numbered = family in (Family.BLOCKS, Family.CERTIFICATES) and len(key) == HEIGHT_BYTES
    return Height(int.from_bytes(key, "big")) if numbered else None


class ChainStore:
    """Reads the chain out of a store, believing nothing that does not verify. Made by `open`."""

    def __init__(self, disk: KeyValue, chain_id: ChainId, head: Head) -> None:
        self._disk = disk
        self._chain_id = chain_id
        self.head = head
        self._headers: dict[Height, Header] = {}

    @classmethod
    def open(cls, disk: KeyValue, chain_id: ChainId) -> "ChainStore":
        """Open the chain in `disk`; an empty one is made this chain's, durably.

        Raises `OtherChain`, `CorruptStore`, or `StoreError` for another program's format.
        """
        key = CHAIN_KEY
        stored = disk.get(Family.META, key)
        if stored is None:
            _require_empty(disk)
            identity, head = encode(Identity(FORMAT, chain_id)), encode(Head(Height(0), Digest(chain_id)))
            disk.write(
                [
                    (Family.META, key, seal(Family.META, key, identity)),
                    (Family.META, HEAD_KEY, seal(Family.META, HEAD_KEY, head)),
                ]
            )
            disk.sync()
        else:
            _require_identity(unseal(Family.META, key, stored), chain_id)
        return cls(disk, chain_id, _read_head(disk))

    def advance(self, header: Header, hashed: Digest) -> None:
        """Take notice of a block that was just written."""
        self.head = Head(header.height, hashed)
        self._keep(header)

    def places(self, ids: Sequence[TxId]) -> list[Place | None]:
        """Return where each id was executed, or `None`. Raises `CorruptStore`."""
        return [
            None if stored is None else decode_place(tx_id, stored)
            for tx_id, stored in zip(ids, self._disk.get_many(Family.INDEX, ids), strict=True)
        ]

    def header(self, height: Height) -> Header | None:
        """Return a header that the chain up to the head, or its successor, vouches for. Raises
        `CorruptStore`."""
        if not 0 < height <= self.head.height:
            return None
        known = self._headers.get(height)
        if known is None:
            known = self._linked(self._stored(height)).header
            self._keep(known)
        return known

    def block(self, height: Height) -> Block | None:
        """Return a block with its certificate, verified against the chain. Raises `CorruptStore`."""
        found = self.blocks(height, height, 0)
        return found[0] if found else None

    def blocks(self, first: Height, last: Height, max_bytes: int) -> list[Block]:
        """Return verified blocks with certificates from `first` on, up to `last`, while they have `max_bytes`
        together; at least one, if there is one. Raises `CorruptStore`."""
        found: list[Block] = []
        size = 0
        for number in range(max(first, 1), min(last, self.head.height) + 1):
            block = self._stored(Height(number))
            certificate = self.certificate(Height(number))
            size += _weight(block) + len(certificate)
            if found and size > max_bytes:
                break
            if found and block.header.parent != block_hash(found[-1].header):
                raise CorruptStore("the next block names another parent", found[-1].header.height)
            verify_contents(block)
            found.append(Block(block.header, block.transactions, block.results, certificate))
        if found:
            self._linked(found[-1])
        return found

    def certificate(self, height: Height) -> bytes:
        """Return the certificate of a block in the chain. Raises `CorruptStore`."""
        return self._record(Family.CERTIFICATES, height)

    def backwards(self) -> Iterator[Block]:
        """Yield the blocks from the head down, linked, their certificates left out. Raises `CorruptStore`."""
        expected = self.head.block_hash
        for number in range(self.head.height, 0, -1):
            block = self._stored(Height(number))
            if block_hash(block.header) != expected:
                raise CorruptStore("the header does not have the hash that what follows names", number)
            expected = block.header.parent
            yield block

    def sealed(self, family: Family, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values of a family of sealed records. Raises `CorruptStore`."""
        for key, value, _ in self.sealed_rows(family, prefix):
            yield key, value

    def sealed_rows(self, family: Family, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yield keys, values, and values with their seals. Raises `CorruptStore`."""
        for key, stored in self._disk.scan(family, prefix):
            if not key.startswith(prefix):
                return
            yield key, unseal(family, key, stored), stored

    def _stored(self, height: Height) -> Block:
        """Return the block of a height of the chain, its certificate left out, itself not linked yet."""
        try:
            block = blocks.decode(self._record(Family.BLOCKS, height))
        except CodecError as error:
            raise CorruptStore(f"the block does not decode: {error}", height) from None
        if block.header.height != height or block.header.chain_id != self._chain_id:
            raise CorruptStore("the block is of another height or chain", height)
        return block

    def _record(self, family: Family, height: Height) -> bytes:
        """Return the record that a family must have for a height of the chain. Raises `CorruptStore`."""
        key = height_key(height)
        try:
            stored = self._disk.get(family, key)
        except CorruptStore as error:
            raise CorruptStore(error.what, height) from error
        if stored is None:
            raise CorruptStore(f"the record in {family.column} is missing", height)
        return unseal(family, key, stored)

    def _linked(self, block: Block) -> Block:
        """Return `block` if the head, or its successor, names its hash."""
        height = block.header.height
        if height == self.head.height:
            expected = self.head.block_hash
        else:
            successor = self._headers.get(Height(height + 1)) or self._stored(Height(height + 1)).header
            expected = successor.parent
        if block_hash(block.header) != expected:
            what = "the store's head" if height == self.head.height else "the next block"
            raise CorruptStore(f"the header does not have the hash that {what} names", height)
        return block

    def _keep(self, header: Header) -> None:
        self._headers[header.height] = header
        if len(self._headers) > KEPT_HEADERS:
            del self._headers[next(iter(self._headers))]


def _weight(block: Block) -> int:
    """Return about how many bytes a block has when sent."""
    return (
        _HEADER_WEIGHT
        + sum(map(len, block.transactions))
        + sum(map(len, block.results))
        + 8 * len(block.results)
    )


_HEADER_WEIGHT = 300


def _require_empty(disk: KeyValue) -> None:
    for family in Family:
        for key, _ in disk.scan(family):
            raise CorruptStore(
                f"it does not say which chain it is of, but is not empty ({family.column} {key.hex()})"
            )


def _require_identity(value: bytes, chain_id: ChainId) -> None:
    try:
        identity = identities.decode(value)
    except CodecError as error:
        raise CorruptStore(f"its identity does not decode: {error}") from None
    if identity.format != FORMAT:
        raise StoreError(f"the store has format {identity.format}, this program reads format {FORMAT}")
    if identity.chain_id != chain_id:
        raise OtherChain(
            f"the store is of chain {identity.chain_id.hex()}, the genesis makes chain {chain_id.hex()}: "
            "give this replica its own store, or the genesis that belongs to it"
        )


def _read_head(disk: KeyValue) -> Head:
    stored = disk.get(Family.META, HEAD_KEY)
    if stored is None:
        raise CorruptStore("the record of its head is missing")
    try:
        return heads.decode(unseal(Family.META, HEAD_KEY, stored))
    except CodecError as error:
        raise CorruptStore(f"the record of its head does not decode: {error}") from None
