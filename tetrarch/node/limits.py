"""The named bounds of one node's buffers and of the work it does at a time, each with its reason.

They are local: two replicas may differ in all of them. What members must agree on is in the genesis.
"""

from msgspec import Struct


class NodeLimits(Struct, frozen=True):
    """Counts, bytes, and durations in ms. The defaults suit four replicas on one small machine."""

    checks_per_turn: int = 256
    """Signatures of transactions verified in one turn: about 11 ms, so that votes never wait longer."""
    messages_per_turn: int = 128
    """Engine messages taken from one member in one turn: a flood of one delays the others by so many."""
    message_work_per_turn: int = 256
    """What one member's messages of a turn may weigh (`inbox.weight`), beside the last of them: opening one
    NEW-VIEW with a thousand signatures takes as long as all votes of a turn."""
    messages_per_member: int = 4096
    """Engine messages of one member that wait; beyond, they are dropped and its resending covers it."""
    message_work_per_member: int = 65_536
    """What these may weigh: a few NEW-VIEWs of a large network, ~8 MB; beside the last of them."""
    verified_signatures: int = 16_384
    """Remembered signatures of members: two windows of votes, which view changes show again. ~2 MB."""

    coming: int = 20_000
    """Clients' transactions that wait for their signature's check: two seconds' work of one core at least."""
    coming_per_connection: int = 8_000
    """The share of one client in that."""
    coming_per_member: int = 4_096
    """Bodies of one member beside that: one full answer to AskBodies."""
    coming_bytes: int = 64 * 1024 * 1024
    """Clients' part of these in bytes: transactions may be large."""
    coming_bytes_per_member: int = 16 * 1024 * 1024
    """And one member's: two full answers to AskBodies. A queue full of clients' keeps no member's out."""
    wanted: int = 16_000
    """Ids that the engine asked for and nobody brought yet: more than a pipeline of full batches."""

    waits: int = 100_000
    """Transactions whose outcome some client waits for, in all. ~20 MB."""
    waits_per_connection: int = 20_000
    """The share of one connection: as many as a pool holds."""
    polls_per_connection: int = 4
    """AskBlocks held open; a subscriber needs one."""
    polls: int = 2_000
    """AskBlocks held open, in all."""
    poll_ms: int = 20_000
    """How long an AskBlocks is held before it is answered empty: below usual idle timeouts."""
    asks_per_connection: int = 64
    """Questions of one connection that wait for their answer; beyond, they are dropped and counted."""
    asks: int = 4_096
    """Questions that wait, in all."""
    asks_per_turn: int = 64
    """Questions answered in one turn."""
    rebuilds_per_turn: int = 4
    """Old blocks whose result trees are built anew in one turn: about 4 ms for each 1000 transactions."""
    queries_per_turn: int = 4
    """Questions put to the application in one turn: each runs a user's code, and votes wait meanwhile."""
    query_fault_ms: int = 1_000
    """At most one line in so long tells of a query that failed: whoever can connect can cause them."""
    proven_bytes: int = 8 * 1024 * 1024
    """Results and trees of recent blocks, kept ready for proofs."""
    attestations: int = 1_024
    """Attestations of recent heights kept; any other is signed again on request."""
    attestations_per_answer: int = 64
    """Attestations in one answer to AskBlocks: each may cost a signature (16 us)."""
    blocks_bytes: int = 2 * 1024 * 1024
    """Blocks in one answer, to clients and to members; one larger block is still sent."""
    advance_ms: int = 1_000
    """At most one empty block on demand in so long: it moves the time for all who ask."""

    bodies_bytes: int = 2 * 1024 * 1024
    """Transactions in one Bodies frame: below what one slow link should hold at a time."""
    bodies_frames: int = 4
    """Bodies frames in one answer to AskBodies."""
    body_lookups: int = 128
    """Ids of one question looked up in the engine's proposals, where that is a search."""
    body_blocks: int = 32
    """Stored blocks read to find bodies of executed transactions: for one request of the own engine, and for
    one member that has not asked for some time."""
    body_blocks_per_turn: int = 8
    """How many of these for one member in one turn: a full one takes some 5 ms, for an id of 32 bytes."""
    body_blocks_per_second: int = 16
    """And in the long run. Who needs more of them catches up by blocks."""
    asks_per_member: int = 8
    """AskBodies and AskRange of one member that wait; a laggard has four in flight."""
    range_burst_bytes: int = 16 * 1024 * 1024
    range_bytes_per_second: int = 32 * 1024 * 1024
    """What one member may fetch: about ten times what executing moves, and no more of our uplink."""

    ranges_in_flight: int = 4
    """AskRanges under way: the next ones travel while one is verified."""
    range_blocks: int = 32
    """Blocks in the first AskRange; adapted to what answers hold."""
    range_bytes: int = 64 * 1024 * 1024
    """Served blocks that wait to be verified, beside the next of them: several full answers, or two of the
    largest blocks. A liar that withholds one block could else serve any amount of what lies above it."""
    range_timeout_ms: int = 2_000
    """Silence after which another source is asked."""
    silent_source_ms: int = 5_000
    """For how long a silent source is asked last."""
    empty_source_ms: int = 250
    """For how long a source that had nothing is not asked: it may have more by then."""
    bad_source_ms: int = 60_000
    """For how long a source of a wrong block is asked last."""
