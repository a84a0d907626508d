"""The frames between clients and replicas, and between replicas. One byte of type, then the body.

Every body is the canonical encoding of one struct below. Whatever a replica says that matters is
signed (an `Envelope`), so that it can be kept, compared and shown to others; the rest is proven
against it. Nothing in a frame is believed because of the connection it came by.

| frame | sent by | meaning | answer |
|---|---|---|---|
| Submit | client | order these transactions | Results or Attested per block; Refused |
| AskOutcome | client | what became of this signed transaction? | Results, Expired, Refused, or Pending |
| AskReceipt | client | the proof of an executed transaction, by id | Results or Unknown |
| AskAttestation | client | attest the block at this height | Attested or Unknown |
| AskRead | client | the value of a key at your head, with proof | ReadReply or Unknown |
| AskQuery | client | what does the application answer at your head? | QueryReply, NoAnswer or Unknown |
| AskBlocks | client | blocks from a height on; held until there is one | Blocks |
| AskStatus | client | what are you doing? | StatusReply |
| EngineMessage | member | an engine's envelope | |
| Bodies | member | transactions: relayed, or asked for | |
| AskBodies | member | transactions by id | Bodies |
| AskRange | member | stored blocks of a range | Range |
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from crypto.attestation import HeightField
from crypto.batch import MAX_MILLIS, MillisField, TxIdField
from crypto.codec import encode
from crypto.digest import DigestField
from crypto.roster import MAX_MEMBERS
from crypto.signed import Envelope, Kinds
from ledger.application import MAX_ANSWER_BYTES, MAX_QUESTION_BYTES
from ledger.block import MAX_BLOCK_TRANSACTIONS, Block, Header
from ledger.state.nodes import MAX_KEY_BYTES

MAX_FRAME_BYTES = 48 * 1024 * 1024
"""Above the largest block and the largest NEW-VIEW; between members only."""

MAX_CLIENT_FRAME_BYTES = 4 * 1024 * 1024
"""What a client may send at once."""

MAX_SUBMIT = 2000
"""Transactions in one Submit."""

MAX_FETCH_IDS = 4000
"""Ids in one AskBodies, and transactions in any batch."""

MAX_RANGE = 4096
"""Blocks that one AskRange or AskBlocks may name, and blocks or attestations in one answer; by bytes it is
cut anyway."""

MAX_LEAVES = MAX_BLOCK_TRANSACTIONS
"""Leaves that a block's result tree may be said to have: far above any batch."""

MAX_COUNTERS = 256
"""Counts of what a replica ignored, in its StatusReply: our own reasons are some dozens."""

MAX_REASON_CHARACTERS = 400
"""A reason for people, beside a refusal's code."""

AttestationsField = Annotated[tuple[Envelope, ...], Meta(max_length=MAX_RANGE)]

RequestField = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""Chosen by the client, repeated in the answer."""


class Frame(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The base of all frames."""


class Submit(Frame, frozen=True):
    """`full`: this replica sends results and proof; otherwise its attestation alone."""

    full: bool
    transactions: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=MAX_SUBMIT)]


class AskOutcome(Frame, frozen=True):
    """What became of this signed transaction? Asking also submits it, where it can still be executed."""

    request: RequestField
    transaction: bytes


class AskReceipt(Frame, frozen=True):
    """The proof of the transaction with this id."""

    request: RequestField
    tx_id: TxIdField


class AskAttestation(Frame, frozen=True):
    """This replica's attestation of the block at `height`."""

    request: RequestField
    height: HeightField


class AskRead(Frame, frozen=True):
    """`min_height`: the head must have reached it, or the answer is Unknown."""

    request: RequestField
    key: Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)]
    min_height: HeightField


class AskQuery(Frame, frozen=True):
    """A question for the application. `min_height` as in AskRead."""

    request: RequestField
    question: Annotated[bytes, Meta(max_length=MAX_QUESTION_BYTES)]
    min_height: HeightField


class AskBlocks(Frame, frozen=True):
    """`full`: whole blocks without certificates; otherwise one attestation per block."""

    request: RequestField
    first: HeightField
    full: bool


class AskStatus(Frame, frozen=True):
    """What the replica is doing."""

    request: RequestField


class Entry(Frame, frozen=True):
    """A transaction's place in its block, its id, and its result."""

    position: Annotated[int, Meta(ge=0, le=MAX_LEAVES)]
    tx_id: TxIdField
    result: bytes


class Results(Frame, frozen=True):
    """Results of one block: its attestation, its header, and `proof`, the compact Merkle multiproof of
    `entries` (ascending positions) in the result tree of `size` leaves. `request` is 0 when pushed."""

    request: RequestField
    attestation: Envelope
    header: Header
    size: Annotated[int, Meta(ge=0, le=MAX_LEAVES)]
    entries: Annotated[tuple[Entry, ...], Meta(max_length=MAX_FETCH_IDS)]
    proof: Annotated[tuple[DigestField, ...], Meta(max_length=MAX_FETCH_IDS)]


class Attested(Frame, frozen=True):
    """The attestation alone. `request` is 0 when pushed."""

    request: RequestField
    attestation: Envelope


class Refusal(Frame, frozen=True):
    """`digest` is that of the exact bytes received, signature included (`digest("received", raw)`)."""

    digest: DigestField
    code: Annotated[str, Meta(max_length=32)]


class Refusals(Frame, frozen=True):
    """A signed statement (kind `refusal`): this member refuses these bytes."""

    refusals: Annotated[tuple[Refusal, ...], Meta(min_length=1, max_length=MAX_SUBMIT)]


class Refused(Frame, frozen=True):
    """An envelope of `Refusals`, and reasons for people, in the same order (not signed)."""

    request: RequestField
    refusals: Envelope
    reasons: Annotated[
        tuple[Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS)], ...], Meta(max_length=MAX_SUBMIT)
    ]


class NotExecuted(Frame, frozen=True):
    """A signed statement (kind `not-executed`): up to `height`, whose block's time is `time` (ms), this
    transaction was not executed. With `time` > valid_until from a weak quorum, it never will be."""

    tx_id: TxIdField
    height: HeightField
    time: MillisField


class Expired(Frame, frozen=True):
    """An envelope of `NotExecuted`."""

    request: RequestField
    statement: Envelope


class Pending(Frame, frozen=True):
    """The transaction is known, or may still be executed."""

    request: RequestField


class Unknown(Frame, frozen=True):
    """What was asked for is not here. `head` is this replica's height."""

    request: RequestField
    head: HeightField


class ReadReply(Frame, frozen=True):
    """The value of `key` at the attested head, or its absence, with the encoded state proof."""

    request: RequestField
    attestation: Envelope
    header: Header
    value: bytes | None
    proof: bytes


class QueryReply(Frame, frozen=True):
    """The application's answer at `height`, this replica's head. Not signed, not proven: a client believes
    what enough replicas say in the same bytes."""

    request: RequestField
    height: HeightField
    answer: Annotated[bytes, Meta(max_length=MAX_ANSWER_BYTES)]


class NoAnswer(Frame, frozen=True):
    """The application has no answer at `height`: the question is `invalid`, whatever the state, for a reason
    for people; or `error`: the application failed at it. As little proven as an answer."""

    request: RequestField
    height: HeightField
    code: Literal["invalid", "error"]
    reason: Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS)]


class Blocks(Frame, frozen=True):
    """Blocks or attestations, ascending and without gaps, from the height asked for. Empty: none yet."""

    request: RequestField
    blocks: Annotated[tuple[Block, ...], Meta(max_length=MAX_RANGE)]
    attestations: AttestationsField


class StatusReply(Frame, frozen=True):
    """What the replica says of itself. Not signed, not proven: for people."""

    request: RequestField
    member: int
    name: str
    view: int
    leader: int
    """-1 while it is being settled."""
    active: bool
    height: int
    head: bytes
    state_root: bytes
    block_time: int
    stable: int
    last_vote: int
    pending: int
    waiting_for: str
    halted: str
    role: str
    """primary, backup, catching up, view change, marked, halted."""
    peers: Annotated[tuple[bool, ...], Meta(max_length=MAX_MEMBERS)]
    """To whom it is connected, by member; itself counts as connected."""
    ignored: Annotated[tuple[tuple[str, int], ...], Meta(max_length=MAX_COUNTERS)]
    resident_bytes: int
    uptime_ms: Annotated[int, Meta(ge=0, le=MAX_MILLIS)]
    transactions: Annotated[int, Meta(ge=0)] = 0
    """Executed since its start: differences tell how many per second."""


class EngineMessage(Frame, frozen=True):
    """One member's message of the ordering engine; its signer need not be who sends it."""

    envelope: Envelope


class Bodies(Frame, frozen=True):
    """Signed transactions. `relayed`: passed on to the primary, not asked for."""

    relayed: bool
    transactions: Annotated[tuple[bytes, ...], Meta(max_length=MAX_FETCH_IDS)]


class AskBodies(Frame, frozen=True):
    """Transactions by id."""

    ids: Annotated[tuple[TxIdField, ...], Meta(min_length=1, max_length=MAX_FETCH_IDS)]


class AskRange(Frame, frozen=True):
    """Stored blocks from `first` to `last`."""

    first: HeightField
    last: HeightField


class Range(Frame, frozen=True):
    """Stored blocks with certificates, ascending, without gaps, from the height asked for."""

    first: HeightField
    blocks: Annotated[tuple[Block, ...], Meta(max_length=MAX_RANGE)]


statement_kinds = Kinds({"refusal": Refusals, "not-executed": NotExecuted})
"""Statements of replicas to clients, besides attestations."""

FROM_CLIENTS: Mapping[int, type[Frame]] = {
    1: Submit,
    2: AskOutcome,
    3: AskReceipt,
    4: AskAttestation,
    5: AskRead,
    6: AskBlocks,
    7: AskStatus,
    8: AskQuery,
}
TO_CLIENTS: Mapping[int, type[Frame]] = {
    32: Results,
    33: Attested,
    34: Refused,
    35: Expired,
    36: Pending,
    37: Unknown,
    38: ReadReply,
    39: Blocks,
    40: StatusReply,
    41: QueryReply,
    42: NoAnswer,
}
BETWEEN_MEMBERS: Mapping[int, type[Frame]] = {
    64: EngineMessage,
    65: Bodies,
    66: AskBodies,
    67: AskRange,
    68: Range,
}
_NUMBERS = {
    frame: number for table in (FROM_CLIENTS, TO_CLIENTS, BETWEEN_MEMBERS) for number, frame in table.items()
}


def pack(frame: Frame) -> bytes:
    """Return the bytes of `frame`: its type, then its canonical body."""
    return bytes((_NUMBERS[type(frame)],)) + encode(frame)
