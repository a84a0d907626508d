"""The named limits and times of a client, each with its reason."""

from typing import Annotated

from msgspec import Meta, Struct

from network.backoff import Backoff

_Millis = Annotated[int, Meta(gt=0, le=24 * 3600 * 1000)]
_Count = Annotated[int, Meta(gt=0, le=1_000_000)]


class Tuning(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user may tune in client.toml. Durations are in ms."""

    timeout_ms: _Millis = 30_000
    """How long a call waits for its outcome, where the caller says nothing."""
    connect_timeout_ms: _Millis = 5_000
    """How long too few replicas may be connected, before `Unreachable` is raised and nothing was sent."""
    validity_ms: _Millis = 60_000
    """How far ahead valid_until lies where the caller says nothing; at most half of the genesis' horizon."""
    silence_ms: _Millis = 1_000
    """After so long without any proof from the designated replica, another one is designated."""
    resend_ms: _Millis = 4_000
    """After so long without its result, a transaction is sent to all again; doubled each time, to 8-fold."""
    answer_ms: _Millis = 2_000
    """How long one replica may take to answer a question before another one is asked."""
    poll_ms: _Millis = 5_000
    """How long a subscriber waits for one replica's next block before it turns to another."""
    redial_ms: _Millis = 50
    """The first pause before a lost connection is dialled again; doubled up to `redial_max_ms`."""
    redial_max_ms: _Millis = 2_000
    """The longest such pause: a replica that comes back is used again within about so long."""
    window: Annotated[int, Meta(gt=0, le=16_000)] = 4_000
    """Transactions that `submit_many` has under way: some batches, and below a replica's share per client."""
    keep_settled: _Count = 200_000
    """Settled entries that the outbox keeps: for so long is an idempotency key remembered."""


MAX_SUBMIT_BYTES = 1024 * 1024
"""Transactions in one Submit frame, in bytes: a frame should not hold up the ones behind it."""

MAX_CHUNK = 128
"""Transactions signed in one loop turn: about 4 ms, after which replies get their turn."""

ASKS_PER_LINK = 32
"""Questions under way on one connection: half of what a replica lets wait."""

MAX_UNBELIEVED = 256
"""Blocks with results of ours that wait for more attestations: several pipelines full."""

MAX_INQUIRIES = 16
"""Transactions past their time that are asked for at once."""

CLOSING_SECONDS = 3.0
"""How long a closed connection is waited for: what was written may still have to leave."""

STEADY_SECONDS = 5.0
"""A connection that is lost sooner counts as a failed one: a replica that accepts and hangs up again and
again would otherwise be dialled, and told of everything open, as often as it likes."""

DISTRUST = Backoff(first_ms=2_000, cap_ms=120_000)
"""The pauses after a replica's wrong answers: they count for as long as the client is open."""
