"""`Client`: the same as `AsyncClient` without `await`, for programs and threads that have no event loop.

What lives here: a private event loop in a background thread, and the crossing between threads. What must
not be known here: anything of the ledger.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterable
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from crypto.batch import TxId
from tetrarch.client.async_client import AsyncClient, Items
from tetrarch.client.following import BlockEvent
from tetrarch.client.outcome import Outcome, Payload, Submission
from tetrarch.client.querying import Answered
from tetrarch.client.reading import Verified
from tetrarch.client.receipt import Receipt
from tetrarch.client.states import ReplicaStatus
from tetrarch.event_loop import loop_factory
from tetrarch.trust import TrustRoot

T = TypeVar("T")


class Client:
    """A client of one network. A context manager; every thread may call it. See `AsyncClient` for each call.

    Work goes on in a background thread between calls: connections are kept, and receipts collect signers.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._loop = (loop_factory() or asyncio.new_event_loop)()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tetrarch-client", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: str | Path, password: bytes | Callable[[], bytes] | None = None) -> "Client":
        """Return the client that a client.toml describes. Raises `ConfigurationError`, naming file and
        key."""
        return cls(AsyncClient.open(path, password))

    @property
    def trust(self) -> TrustRoot:
        """Whom this client believes."""
        return self._client.trust

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections, outbox and thread. May be called again."""
        if self._loop.is_closed():
            return
        try:
            self._run(self._client.close())
        finally:
            self._run(self._loop.shutdown_asyncgens())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def submit(
        self,
        payload: Payload,
        idempotency_key: str | None = None,
        valid_until: int | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Have one transaction executed, and return its receipt."""
        return self._run(self._client.submit(payload, idempotency_key, valid_until, timeout))

    def submit_many(
        self, submissions: Iterable[Payload | Submission], timeout: float | None = None
    ) -> Generator[Outcome, None, None]:
        """Yield the outcome of every submission, as they come. `submissions` is read in the calling
        thread."""
        pipeline = self._run(self._pipeline(timeout))
        source = enumerate(submissions)
        more = True
        while more or pipeline.open:
            room = pipeline.room if more else 0
            items = list(islice(source, room))
            more = more and len(items) == room
            yield from self._run(pipeline.exchange(items, wait=not more))

    def recover(self, timeout: float | None = None) -> Generator[Outcome, None, None]:
        """Send again, or ask for, all that the outbox holds without an outcome, and yield the outcomes."""
        return self._generated(self._client.recover(timeout))

    def outcome(self, which: TxId | str, timeout: float | None = None) -> Outcome:
        """Return what became of a transaction, by its id (32 bytes) or its idempotency key."""
        return self._run(self._client.outcome(which, timeout))

    def receipt(self, tx_id: TxId, timeout: float | None = None) -> Receipt:
        """Return the receipt of an executed transaction."""
        return self._run(self._client.receipt(tx_id, timeout))

    def get(self, key: str, min_height: int = 0, timeout: float | None = None) -> Verified:
        """Return the proven value of `key`, or its absence, as of some block from `min_height` on."""
        return self._run(self._client.get(key, min_height, timeout))

    def query(self, question: Payload, min_height: int = 0, timeout: float | None = None) -> Answered:
        """Return the application's answer to a question, as f+1 members gave it, as of some block from
        `min_height` on."""
        return self._run(self._client.query(question, min_height, timeout))

    def subscribe(self, from_height: int = 1) -> Generator[BlockEvent, None, None]:
        """Yield every block from `from_height` on, in order, checked; waits for those that are to come."""
        return self._generated(self._client.subscribe(from_height))

    def status(self, timeout: float | None = None) -> list[ReplicaStatus]:
        """Return what every replica says of itself, by member."""
        return self._run(self._client.status(timeout))

    async def _pipeline(self, timeout: float | None) -> Items:  # noqa: ASYNC109  # passed on, not waited for
        return self._client.pipeline(timeout)

    def _generated(self, source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        try:
            while True:
                try:
                    item = self._run(anext(source))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if not self._loop.is_closed():
                self._run(source.aclose())

    def _run(self, work: Awaitable[T]) -> T:
        """Run `work` in the background and wait for it; an interrupt of the waiting cancels it."""
        if self._loop.is_closed():
            if isinstance(work, Coroutine):
                work.close()
            raise ValueError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(_awaited(work), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


async def _awaited(work: Awaitable[T]) -> T:
    return await work
