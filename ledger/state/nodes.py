"""The state tree's format: places, records, kinds, and how each is hashed.

What lives here: pure functions on bytes that fix what a root means. What must not be known here: where
nodes are kept, how an update walks, how a proof travels.

The tree is a trie over paths, path = H(key), so nobody can steer its shape without paying for hashes:

* The subtree below a prefix is a **bucket** when it holds at most `BUCKET_CAPACITY` keys: the sorted paths
  of its keys, and their leaf digests in the same order. What is hashed are the digest of the paths and then
  the leaf digests, so that a changed value leaves the paths alone and a proof of presence needs none of
  them.
* Otherwise it is an **inner node** with one child per next hexadecimal digit: its 16 children's kinds (one
  byte each) and then their digests. The kind says how many keys a bucket holds, so that whether an inner
  node must become a bucket again is known without reading any child. Content alone decides which of the two
  it is: the root cannot depend on history, deletions included.
* A **leaf** is the length of the key (2 bytes, big-endian), the key, and the value. Only leaves are stored,
  and inner nodes far down (`STORED_DEPTH`): buckets and upper nodes follow from them.

A **place** numbers a node as in a heap: the root is 1, the child at digit d of place p is 16 p + d. So the
digits of the path stand in the place's hexadecimal form after a leading 1, and a deeper node has a higher
number.
"""

from collections.abc import Iterator
from hashlib import sha256
from struct import Struct
from typing import Final, TypeAlias

from crypto.digest import DIGEST_BYTES, Digest, tag
from ledger.state.errors import StateLimitExceeded

MAX_KEY_BYTES: Final = 256
"""Keys are names, not documents; with 256 bytes every leaf's head comes from a small table."""

MAX_VALUE_BYTES: Final = 64 * 1024
"""One bucket's values (2 MiB) then still fit into one frame of a snapshot transfer."""

FAN_OUT: Final = 16
"""Reckoned for 500 changes in 100,000 keys: with 8, 390 inner nodes are hashed instead of 235; with 64, the
digests of siblings alone are 4 KB of every proof."""

BUCKET_CAPACITY: Final = 32
"""Measured (benchmarks.state_tree, 100,000 and 200,000 keys): with 16, a changed key costs 7 us instead of
5; with 64, proofs grow to 5.6 KB instead of 3.6 KB."""

PATH_BYTES: Final = DIGEST_BYTES
PATH_BITS: Final = 8 * PATH_BYTES
MAX_DEPTH: Final = PATH_BITS // 4
"""Digits in a path: no node lies deeper."""

ROOT_PLACE: Final = 1
TOP: Final = 1 << PATH_BITS
"""The leading 1 of the place that a whole path would have."""

FIRST_BITS: Final = 64
FIRST_TOP: Final = 1 << FIRST_BITS
first_digits = Struct(">Q").unpack_from
"""The first 16 digits of a path as a number: all that a place at a usual depth needs, at half the cost."""

STORED_DEPTH: Final = 4
"""Nodes above this depth are never stored: they stay in memory (4369 of 0.6 KB at most, 2.6 MB) and are
computed when the state is opened and checked. So up to some two million keys an update writes its values and
nothing else (a put of 0.1 KB costs 0.9 us, one of a node 3 us and more)."""

FIRST_STORED_PLACE: Final = ROOT_PLACE << 4 * STORED_DEPTH

EMPTY: Final = 0
"""Kind of a child without keys. Kinds from 1 to BUCKET_CAPACITY: a bucket with so many keys."""
INNER: Final = 255
"""Kind of a child that is itself an inner node."""

NO_DIGEST: Final = bytes(DIGEST_BYTES)
"""Stands in an inner node for the digest of a child without keys."""

NODE_BYTES: Final = FAN_OUT + FAN_OUT * DIGEST_BYTES
MAX_PATHS_BYTES: Final = BUCKET_CAPACITY * PATH_BYTES
"""What the paths of a full bucket take."""

NO_LEAVES: Final = b""
"""The leaves of a bucket without entries."""
MAX_LEAF_BYTES: Final = 2 + MAX_KEY_BYTES + MAX_VALUE_BYTES

Octets: TypeAlias = bytes | bytearray

Entry: TypeAlias = tuple[bytes, bytes]
"""A path and the digest of the leaf there."""

Bucket: TypeAlias = tuple[bytes, bytes]
"""The paths, joined; and the leaves, which are hashed: the digest of the paths, then the leaf digests.

A path is looked up with `bytes.find`: one that were found across two others would be a broken SHA-256."""

# A copied state that has swallowed its tag costs less than a concatenation. The sources are never updated.
key_state = sha256(tag("state key")).copy
leaf_state = sha256(tag("state leaf")).copy
paths_state = sha256(tag("state paths")).copy
bucket_state = sha256(tag("state bucket")).copy
node_state = sha256(tag("state node")).copy

LEAF_HEADS: Final = tuple(length.to_bytes(2, "big") for length in range(MAX_KEY_BYTES + 1))
SLOTS: Final = tuple(slice(at, at + DIGEST_BYTES) for at in range(FAN_OUT, NODE_BYTES, DIGEST_BYTES))
"""Where an inner node holds the digest of each child."""

VALUE_PREFIX: Final = b"v"
VALUES_START: Final = VALUE_PREFIX
VALUES_END: Final = b"w"
NODE_PREFIX: Final = b"n"
NODES_END: Final = b"o"


def check_limits(key: bytes, value: bytes = b"") -> None:
    """Raise `StateLimitExceeded` where the key or the value is too long."""
    if len(key) > MAX_KEY_BYTES:
        raise StateLimitExceeded(f"a key of {len(key)} bytes, more than the {MAX_KEY_BYTES} allowed")
    if len(value) > MAX_VALUE_BYTES:
        raise StateLimitExceeded(f"a value of {len(value)} bytes, more than the {MAX_VALUE_BYTES} allowed")


def path_of(key: bytes) -> bytes:
    """Return where a key lies: 32 bytes."""
    state = key_state()
    state.update(key)
    return state.digest()


def leaf_record(key: bytes, value: bytes) -> bytes:
    """Return the bytes that are stored, and hashed, for a key. Raises `StateLimitExceeded`."""
    check_limits(key, value)
    return LEAF_HEADS[len(key)] + key + value


def split_leaf(record: bytes) -> tuple[bytes, bytes] | None:
    """Return key and value of a leaf record, or None where it is not one."""
    end = 2 + int.from_bytes(record[:2], "big")
    if not 2 <= end <= len(record) <= MAX_LEAF_BYTES or end > 2 + MAX_KEY_BYTES:
        return None
    if len(record) - end > MAX_VALUE_BYTES:
        return None
    return record[2:end], record[end:]


def leaf_digest(record: bytes) -> bytes:
    """Return the digest of a leaf record; it binds the lengths of key and value."""
    state = leaf_state()
    state.update(record)
    return state.digest()


def node_digest(node: Octets) -> Digest:
    """Return the digest of an inner node."""
    state = node_state()
    state.update(node)
    return Digest(state.digest())


def compact_node(node: Octets, without: int | None = None) -> bytes:
    """Return an inner node as it travels: its kinds, and the digests of children with keys, but for one."""
    digests = [node[SLOTS[n]] for n in range(FAN_OUT) if node[n] and n != without]
    return bytes(node[:FAN_OUT]) + b"".join(digests)


def expand_node(shown: bytes, digit: int | None, digest: bytes) -> bytes | None:
    """Return the inner node that travelled without the digest of the child at `digit`, given here.

    None where it has not the length that its kinds ask for.
    """
    kinds = shown[:FAN_OUT]
    parts, at = [kinds], FAN_OUT
    for n, kind in enumerate(kinds):
        if n == digit or kind == EMPTY:
            parts.append(digest if n == digit else NO_DIGEST)
        else:
            parts.append(shown[at : at + DIGEST_BYTES])
            at += DIGEST_BYTES
    return b"".join(parts) if len(kinds) == FAN_OUT and at == len(shown) else None


def bucket_head(paths: bytes) -> bytes:
    """Return the digest of a bucket's paths, with which its leaves begin."""
    state = paths_state()
    state.update(paths)
    return state.digest()


def bucket_digest(leaves: bytes) -> Digest:
    """Return the digest of a bucket. That of NO_LEAVES is the root of the empty state."""
    state = bucket_state()
    state.update(leaves)
    return Digest(state.digest())


def make_bucket(paths: bytes, digests: bytes) -> Bucket:
    """Return the bucket of entries whose paths, in order, and leaf digests are joined."""
    return paths, bucket_head(paths) + digests if paths else NO_LEAVES


def bucket_entries(bucket: Bucket) -> Iterator[Entry]:
    """Yield the entries of a bucket."""
    paths, leaves = bucket
    for at in range(0, len(paths), PATH_BYTES):
        yield paths[at : at + PATH_BYTES], leaf_at(leaves, at)


def path_position(paths: bytes, path: bytes) -> int:
    """Return the offset at which a path stands, or would stand, in a bucket's paths."""
    low, high = 0, len(paths) >> 5
    while low < high:
        between = low + high >> 1
        at = between << 5
        if paths[at : at + 32] < path:
            low = between + 1
        else:
            high = between
    return low << 5


def leaf_at(leaves: bytes, at: int) -> bytes:
    """Return the leaf digest that belongs to the path at offset `at`."""
    return leaves[DIGEST_BYTES + at : DIGEST_BYTES + at + DIGEST_BYTES]


def depth_of(place: int) -> int:
    """Return how many digits lead from the root to a place."""
    return (place.bit_length() - 1) >> 2


def path_text(place: int) -> str:
    """Return the digits that lead to a place, as errors name it; empty for the root."""
    return f"{place:x}"[1:]


def path_range(place: int) -> tuple[bytes, bytes | None]:
    """Return the first path below a place and the first after it; None where none comes after it."""
    shift = PATH_BITS - 4 * depth_of(place)
    first, after = (place << shift) - TOP, ((place + 1) << shift) - TOP
    return first.to_bytes(PATH_BYTES, "big"), None if after == TOP else after.to_bytes(PATH_BYTES, "big")


def value_range(place: int) -> tuple[bytes, bytes]:
    """Return the store's keys between which the leaves below a place lie, the second exclusive."""
    first, after = path_range(place)
    return VALUE_PREFIX + first, VALUES_END if after is None else VALUE_PREFIX + after


def node_key(place: int) -> bytes:
    """Return the store's key of the inner node at a place of depth STORED_DEPTH or more."""
    return b"n%x" % place
