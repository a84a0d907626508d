"""The load of the bench: one client after the other, and many transactions at once. Every reply is verified.

What lives here: submitting and timing. What must not be known here: processes, figures of the machine.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from crypto.attestation import MAX_HEIGHT
from ledger.result import ResultCode
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.outcome import Outcome, Payload
from tetrarch.errors import TetrarchError

KEYS: Final = 100_000
"""Keys that are written to: the state grows up to so many, and every transaction changes one of them."""

PAYLOAD_BYTES: Final = 100

MAX_LATENCIES: Final = 2_000_000
"""As many transactions as one phase may time: 50 MB."""


class LoadFailed(RuntimeError):
    """A transaction of the load was not executed: the figures would mean nothing."""


class Timing(Struct, frozen=True):
    """A phase of load: how long, how many, and each transaction's latency in ms."""

    seconds: float
    latencies_ms: list[float]
    heights: tuple[int, int]
    """The first and the last block with transactions of this phase."""

    @property
    def count(self) -> int:
        """Transactions executed."""
        return len(self.latencies_ms)

    @property
    def per_second(self) -> float:
        """Transactions per second."""
        return self.count / self.seconds if self.seconds else 0.0


def payloads(seed: int) -> Iterator[Payload]:
    """Yield payloads of `PAYLOAD_BYTES` each, for ever: puts to keys chosen at random."""
    choose = random.Random(seed)
    while True:
        key = f"key-{choose.randrange(KEYS):06}"
        bare = len(f'{{"key":"{key}","op":"put","value":""}}')
        yield {"key": key, "op": "put", "value": f"{choose.getrandbits(256):064x}"[: PAYLOAD_BYTES - bare]}


async def one_at_a_time(client: AsyncClient, count: int) -> Timing:
    """Submit `count` transactions, each after the one before is believed. Raises `LoadFailed`."""
    latencies, heights = [], []
    source = payloads(1)
    started = time.perf_counter()
    for _ in range(count):
        began = time.perf_counter()
        try:
            receipt = await client.submit(next(source))
        except TetrarchError as error:
            raise LoadFailed(f"a transaction of the single client: {error}") from None
        latencies.append((time.perf_counter() - began) * 1000)
        heights.append(receipt.height)
    return Timing(time.perf_counter() - started, latencies, (min(heights), max(heights)))


async def all_at_once(
    clients: Sequence[AsyncClient],
    count: int,
    seconds: float | None = None,
    told: Callable[[int], None] | None = None,
) -> Timing:
    """Submit `count` transactions (or for `seconds`) by all `clients`, each as fast as its window lets.

    `told` is called with the number executed so far. Raises `LoadFailed`.
    """
    latencies: list[float] = []
    first, last = [MAX_HEIGHT], [0]
    until = None if seconds is None else time.perf_counter() + seconds
    share = -(-count // len(clients)) if seconds is None else MAX_LATENCIES

    async def drive(client: AsyncClient, seed: int) -> None:
        began: dict[int, float] = {}

        def submissions() -> Iterator[Payload]:
            for index, payload in enumerate(islice(payloads(seed), share)):
                began[index] = time.perf_counter()
                if until is not None and began[index] >= until:
                    return
                yield payload

        async for outcome in client.submit_many(submissions()):
            latencies.append((time.perf_counter() - began.pop(outcome.index)) * 1000)
            _require_executed(outcome)
            first[0], last[0] = min(first[0], outcome.height), max(last[0], outcome.height)
            if told is not None:
                told(len(latencies))

    started = time.perf_counter()
    await asyncio.gather(*(drive(client, seed) for seed, client in enumerate(clients, 2)))
    return Timing(time.perf_counter() - started, latencies, (first[0], last[0]))


def _require_executed(outcome: Outcome) -> None:
    if outcome.result is None or outcome.result.code is not ResultCode.OK:
        what = outcome.error or (outcome.result and outcome.result.reason) or outcome.status
        raise LoadFailed(f"transaction {outcome.tx_id.hex()}: {what}")
