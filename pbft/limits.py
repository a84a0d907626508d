"""The engine's numbers: what all members must agree on, and what each may choose for itself."""

from msgspec import Struct

from consensus.pool import PoolLimits
from crypto.batch import Millis


class Limits(Struct, frozen=True):
    """From the genesis: the same for all members."""

    checkpoint_interval: int = 64
    window: int = 128
    """Sequences above the stable checkpoint that may be in use: 2 x interval >= interval + pipeline."""
    max_batch_transactions: int = 1000
    max_batch_bytes: int = 4 * 1024 * 1024
    horizon_ms: Millis = Millis(600_000)
    clock_bound_ms: Millis = Millis(15_000)


class Tuning(Struct, frozen=True):
    """Local choices. Times in ms."""

    batch_target: int = 400
    """A further batch, while another is in flight, waits for so many requests ..."""
    batch_delay_ms: Millis = Millis(25)
    """... or for so long."""
    pipeline_depth: int = 3
    """Batches in flight at most."""
    request_timeout_ms: Millis = Millis(2000)
    """How long a request may wait after it was relayed. Doubles with every failed view."""
    relay_delay_ms: Millis = Millis(250)
    """How long a request may wait before it is relayed to the primary."""
    relay_count: int = 64
    """Requests relayed at a time: the quota that the primary keeps for each member."""
    fetch_delay_ms: Millis = Millis(40)
    """How long to wait for bodies that clients send to everyone anyway, before asking for them."""
    fetch_retry_ms: Millis = Millis(250)
    status_period_ms: Millis = Millis(400)
    """How often to look whether anything moved, and to say where one stands if nothing did."""
    quiet_periods: int = 5
    """With progress, a STATUS only every so many periods."""
    max_timeout_doublings: int = 5
    """To 64 s, which is what a healed network waits at most for each dead primary in its way, however long it
    was hurt. A network whose messages take longer than that needs a longer request timeout."""
    pool: PoolLimits = PoolLimits()
