"""`AsyncClient`: submit, read, follow and ask, with everything verified. `Client` is the same without
`await`.

What lives here: the public calls, and what joins signing, the outbox and the session. What must not be known
here: frames, proofs, connections.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from types import TracebackType

from crypto.batch import Millis, TxId
from crypto.keys import Signer
from ledger.outbox import Entry, Outbox
from ledger.result import ResultCode
from tetrarch.client import following, querying, reading
from tetrarch.client.following import BlockEvent
from tetrarch.client.intake import Intake, Settle, remembered
from tetrarch.client.keeping import Keeping
from tetrarch.client.order import Order
from tetrarch.client.outcome import Outcome, Payload, Submission
from tetrarch.client.pipeline import Pipeline
from tetrarch.client.querying import Answered
from tetrarch.client.reading import Verified
from tetrarch.client.receipt import Receipt
from tetrarch.client.session import Session
from tetrarch.client.signing import Pen
from tetrarch.client.states import ReplicaStatus, states
from tetrarch.client.transport import Dialer
from tetrarch.client.tuning import Tuning
from tetrarch.errors import Expired
from tetrarch.trust import TrustRoot

RECOVER_PAGE = 500
"""Open entries read from the outbox at a time."""

Items = Pipeline[tuple[int, Payload | Submission]]


def system_wall() -> Millis:
    """Return the time of this machine's clock, ms since the epoch."""
    return Millis(time.time_ns() // 1_000_000)


class AsyncClient:
    """A client of one network, signing as one key. An async context manager, used from one event loop.

    Connections are made at the first use and kept until `close`. Every `timeout` is in seconds, by default
    the tuning's `timeout_ms`. Every call may raise `ForkDetected`, once and for ever.
    """

    def __init__(
        self,
        trust: TrustRoot,
        signer: Signer,
        dialer: Dialer,
        *,
        outbox: Outbox | None = None,
        tuning: Tuning | None = None,
        wall: Callable[[], Millis] = system_wall,
        chance: Random | None = None,
    ) -> None:
        """`chance`: what pauses and the first replica to be asked are drawn from; for repeatable runs."""
        self.trust = trust
        self._dialer = dialer
        self._tuning = tuning or Tuning()
        self._wall = wall
        self._chance = chance
        self._pen = Pen(trust.genesis, signer, self._tuning, wall)
        self._keeping = Keeping(outbox) if outbox is not None else None
        self._live: tuple[Session, Intake] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop of the first use, which alone may use it."""
        self._closed = False
        self._wrong: Counter[str] = Counter()
        """Wrong answers of replicas before it was closed."""

    @classmethod
    def open(cls, path: str | Path, password: bytes | Callable[[], bytes] | None = None) -> "AsyncClient":
        """Return the client that a client.toml describes; nothing is dialled yet.

        `password` is for an encrypted key file. Raises `ConfigurationError`, naming file and key.
        """
        # Keys and certificates bring `cryptography` along, which other users of this class may spare.
        from tetrarch.client.config import ClientConfig

        config = ClientConfig.load(path)
        signer, dialer = config.signer(password), config.dialer()
        return cls(config.trust, signer, dialer, outbox=config.open_outbox(), tuning=config.tuning)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close connections and outbox. What is open ends as unknown, and may be asked for again later.

        Raises `ConfigurationError` where outcomes could not be written to the outbox.
        """
        self._closed = True
        self._wrong = self.wrong_answers()
        live, self._live = self._live, None
        if live is not None:
            await live[0].close()
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            await keeping.close()

    # Submitting.

    async def submit(
        self,
        payload: Payload,
        idempotency_key: str | None = None,
        valid_until: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # what is unknown at its end is part of the contract
    ) -> Receipt:
        """Have one transaction executed, and return its receipt.

        `receipt.result.code` is `ok`, or `failed` where the application refused it at execution (an
        overdraft). `valid_until` is in ms since the epoch. With an idempotency key the same call may be
        repeated, whatever happened: it never executes twice. Raises `Rejected`, `Expired`, `OutcomeUnknown`,
        `Unreachable`, `IdempotencyConflict`; `TypeError` and `ValueError` for arguments that cannot be.
        """
        _, intake = self._session()
        until = None if valid_until is None else Millis(valid_until)
        submission = Submission(payload, idempotency_key, until)
        draft = self._pen.draft(0, submission, remembered=self._keeping is not None)
        deadline = self._deadline(timeout)
        future, settle = _single()
        await intake.take_drafts([draft], settle, deadline)
        return await self._receipt_of(await future, deadline)

    async def submit_many(
        self,
        submissions: Iterable[Payload | Submission],
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> AsyncGenerator[Outcome, None]:
        """Yield the outcome of every submission, as they come, with many under way at once.

        `Outcome.index` is the place in `submissions`, which is read as there is room. A single transaction
        raises nothing: see `Outcome.status` and `.error`; what cannot be encoded is refused as `malformed`.
        The timeout counts for each from when it is taken. Raises `ConfigurationError` where the outbox fails.
        """
        pipeline = self.pipeline(timeout)
        source = enumerate(submissions)
        more = True
        while more or pipeline.open:
            room = pipeline.room if more else 0
            items = list(islice(source, room))
            more = more and len(items) == room
            for outcome in await pipeline.exchange(items, wait=not more):
                yield outcome

    def pipeline(self, timeout: float | None = None) -> Items:
        """Return what `submit_many` runs on, for callers that feed it themselves."""
        session, intake = self._session()

        async def take(items: Sequence[tuple[int, Payload | Submission]], settle: Settle) -> None:
            session.require_one_chain()
            await intake.take(items, settle, self._deadline(timeout))

        return Pipeline(session.orders, take, self._tuning.window)

    async def recover(self, timeout: float | None = None) -> AsyncGenerator[Outcome, None]:  # noqa: ASYNC109
        """Send again, or ask for, all that the outbox holds without an outcome, and yield the outcomes.

        `Outcome.index` counts them, `Outcome.idempotency_key` names them. Nothing without an outbox.
        """
        session, intake = self._session()

        async def take(entries: Sequence[tuple[int, Entry]], settle: Settle) -> None:
            session.require_one_chain()
            intake.take_entries(entries, settle, self._deadline(timeout))

        pipeline = Pipeline(session.orders, take, self._tuning.window)
        count, after = 0, ""
        while self._keeping is not None:
            page = await self._keeping.open_entries(RECOVER_PAGE, after)
            source = list(enumerate(page, count))
            while source or pipeline.open:
                room = pipeline.room
                items, source = source[:room], source[room:]
                for outcome in await pipeline.exchange(items, wait=not source):
                    yield outcome
            if not page:
                return
            count, after = count + len(page), page[-1].key

    # Asking.

    async def outcome(
        self,
        which: TxId | str,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Outcome:
        """Return what became of a transaction, by its id (32 bytes) or its idempotency key.

        One that is still open is sent again, or asked for, until the outcome is known. Raises `KeyError`
        for a key that the outbox does not hold, else what `submit` raises for what is not known yet.
        """
        session, intake = self._session()
        deadline = self._deadline(timeout)
        entry = await self._entry(which)
        if entry is None and isinstance(which, str):
            raise KeyError(which)
        order = None if isinstance(which, str) else session.orders.get(which)
        future, settle = _single()
        if entry is not None and entry.raw is None:
            return remembered(0, entry)
        if entry is not None:
            intake.take_entries([(0, entry)], settle, deadline)
            return await future
        if order is not None:
            twin = Order(order.raw, order.tx_id, order.valid_until, deadline, lambda _, found: settle(found))
            session.orders.add([twin])
            return await future
        receipt = await self.receipt(which, timeout)  # type: ignore[arg-type]
        return _outcome_of(receipt)

    async def receipt(self, tx_id: TxId, timeout: float | None = None) -> Receipt:  # noqa: ASYNC109
        """Return the receipt of an executed transaction, one's own or another's.

        Raises `OutcomeUnknown` where it was not executed, `Unreachable`, `NotEnoughReplies`.
        """
        session, _ = self._session()
        return await reading.receipt(session, tx_id, None, self._deadline(timeout))

    async def get(
        self,
        key: str,
        min_height: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Verified:
        """Return the proven value of `key`, or its absence, as of some block from `min_height` on.

        To read one's own writes, give the receipt's height. Raises `Unreachable`, `NotEnoughReplies`;
        `ValueError` for a key of more than 256 bytes, or a height that cannot be.
        """
        session, _ = self._session()
        return await reading.read(session, key, min_height, self._deadline(timeout))

    async def query(
        self,
        question: Payload,
        min_height: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Answered:
        """Return the application's answer to `question`, a JSON object or bytes of at most 16 KiB.

        The answer is believed when f+1 different members gave it in the same bytes, each as of a head at or
        above `min_height`. One of them is correct, so it is the answer as of some block from `min_height` on
        (of height 0: the state before the first block). `height` is the lowest of their heads. Unlike `get`,
        nothing here can be shown to others as a proof.

        Raises `Rejected` (`invalid`) where f+1 members find the question so, `NotEnoughReplies` also where
        the application fails at it, `Unreachable`; `TypeError` and `ValueError` for arguments that cannot be.
        """
        session, _ = self._session()
        return await querying.query(session, question, min_height, self._deadline(timeout))

    async def subscribe(self, from_height: int = 1) -> AsyncGenerator[BlockEvent, None]:
        """Yield every block from `from_height` on, in order, checked; waits for those that are to come.

        Never skips one. Raises `Unreachable` where too few replicas can be used for too long: go on from the
        height after the last event.
        """
        session, _ = self._session()
        async for event in following.follow(session, from_height):
            yield event

    async def status(self, timeout: float | None = None) -> list[ReplicaStatus]:  # noqa: ASYNC109
        """Return what every replica says of itself, by member. For people: nothing of it is proven."""
        session, _ = self._session()
        return await states(session, self._deadline(timeout))

    def wrong_answers(self) -> Counter[str]:
        """Return how often replicas answered wrongly so far, by the check that failed."""
        total = self._wrong.copy()
        if self._live is not None:
            session = self._live[0]
            for link in session.links.all:
                total.update(link.wrong)
            # Found out by what others attest, before or after an answer rested on it.
            total["attestation"] = max(total["attestation"], len(session.witnesses.liars))
        return +total

    def _session(self) -> tuple[Session, Intake]:
        """Return the running session, begun now if this is the first use."""
        if self._closed:
            raise ValueError("the client is closed")
        loop = asyncio.get_running_loop()
        if self._live is None:
            session = Session(self.trust, self._dialer, self._tuning, self._wall, self._chance)
            self._live, self._loop = (session, Intake(self._pen, self._keeping, session.orders)), loop
        elif loop is not self._loop:
            raise RuntimeError("this client runs in another event loop: open one for each, or use Client")
        self._live[0].require_one_chain()
        return self._live

    def _deadline(self, timeout: float | None) -> float:
        seconds = self._tuning.timeout_ms / 1000 if timeout is None else timeout
        return asyncio.get_running_loop().time() + seconds

    async def _entry(self, which: TxId | str) -> Entry | None:
        if self._keeping is None:
            return None
        if isinstance(which, str):
            return (await self._keeping.find([which])).get(which)
        return await self._keeping.find_id(which)

    async def _receipt_of(self, outcome: Outcome, deadline: float) -> Receipt:
        if outcome.error is not None:
            raise outcome.error
        session, _ = self._session()
        return outcome.receipt or await reading.receipt(session, outcome.tx_id, None, deadline)


def _single() -> tuple["asyncio.Future[Outcome]", Settle]:
    future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def settle(outcome: Outcome) -> None:
        if not future.done():
            future.set_result(outcome)

    return future, settle


def _outcome_of(receipt: Receipt) -> Outcome:
    """Return what a fetched receipt says."""
    result = receipt.result
    expired = result.code is ResultCode.EXPIRED
    return Outcome(
        0,
        receipt.tx_id,
        "expired" if expired else "committed",
        height=receipt.height,
        result=result,
        error=Expired(receipt.tx_id, receipt) if expired else None,
        receipt=receipt,
    )
