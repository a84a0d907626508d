"""A client for tests: the production client in a simulated network, without `await`, and the history of all
it was told.

What lives here: the calls of `tetrarch.Client`, and what oracles must know of each. What must not be known
here: belief, retries, proofs: they are `tetrarch.AsyncClient`'s own.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from functools import partial
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from byzantine.oracles.observation import AnswerDone, Operation, ReadDone
from byzantine.simulation.dialer import SimulatedDialer
from byzantine.simulation.virtual_loop import VirtualLoop
from crypto.batch import Millis, TxId
from ledger.application import Invalid
from ledger.applications.kv import KeyValueMap
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.outcome import Outcome, Payload, Submission, payload_bytes
from tetrarch.client.querying import Answered
from tetrarch.client.reading import Verified
from tetrarch.client.receipt import Receipt
from tetrarch.client.signing import Pen
from tetrarch.client.states import ReplicaStatus
from tetrarch.client.tuning import Tuning
from tetrarch.errors import Expired, ForkDetected, IdempotencyConflict, Rejected, TetrarchError
from tetrarch.trust import TrustRoot

if TYPE_CHECKING:
    from byzantine.simulation.world import World

T = TypeVar("T")

TUNING = Tuning()

PAUSE_SECONDS = 0.05
"""Of virtual time, before each submission: as long as the clients of staged attacks pause."""

_kv = KeyValueMap({})


class SessionClient:
    """A client of the network under test. Its calls are those of `tetrarch.Client`; each lets virtual time
    pass until it is answered. Timeouts are in virtual seconds."""

    def __init__(self, world: "World", number: int, loop: VirtualLoop) -> None:
        self.number = number
        self.operations: list[Operation] = []
        self.reads: list[ReadDone] = []
        self.answers: list[AnswerDone] = []
        self.believed: list[tuple[int, bytes]] = []
        """Blocks that f+1 attested, by height and hash."""
        self.forks: list[str] = []
        self._world, self._loop = world, loop
        signer = world.signatures.client(number)
        self._pen = Pen(world.genesis, signer, TUNING, self._wall)
        dialer = SimulatedDialer(world, f"client-{number}", loop)
        chance = Random(f"client {number} {world.scenario.seed}")
        self._open = partial(
            AsyncClient, world.trust, signer, dialer, tuning=TUNING, wall=self._wall, chance=chance
        )
        self._client, self._closed = self._open(), False
        self._keys: dict[str, tuple[bytes, Submission, Operation]] = {}

    def _wall(self) -> Millis:
        return Millis(self._world.wall_ms())

    @property
    def trust(self) -> TrustRoot:
        """Whom this client believes: what `Receipt.verify` asks for."""
        return self._client.trust

    def __enter__(self) -> "SessionClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections. It may not be used any more."""
        self._closed = True
        self._loop.run_until_complete(self._client.close())

    # Submitting.

    def submit(
        self,
        payload: Payload,
        idempotency_key: str | None = None,
        valid_until: int | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Have one transaction executed, and return its receipt."""
        until = None if valid_until is None else Millis(valid_until)
        self._pause()
        submission, operation = self._begun(Submission(payload, idempotency_key, until))
        return self._call(self._submitted(submission, operation, timeout))

    def submit_many(
        self, submissions: Iterable[Payload | Submission], timeout: float | None = None
    ) -> list[Outcome]:
        """Have many transactions executed at once, and return their outcomes, in the order given."""
        self._pause()
        begun = [
            self._begun(each if isinstance(each, Submission) else Submission(each)) for each in submissions
        ]
        return self._call(self._submitted_many(begun, timeout))

    async def settle(self, seconds: float) -> None:
        """Send again whatever has no known outcome, closed or not, and wait for it."""
        if self._closed:
            self._client, self._closed = self._open(), False
        open_ = [known for known in self._keys.values() if not known[2].outcome]
        again = [self._submitted(submission, operation, seconds) for _, submission, operation in open_]
        for said in await asyncio.gather(*again, return_exceptions=True):
            if isinstance(said, BaseException) and not isinstance(said, TetrarchError):
                raise said

    async def sees_expire(self, valid_until: Millis, seconds: float) -> bool:
        """Whether members show within so many seconds that the ledger's time has passed `valid_until`."""
        try:
            await self._submitted(*self._begun(Submission(b"{}", "time passes", valid_until)), seconds)
        except Expired:
            return True
        except TetrarchError:
            return False
        return False

    def _pause(self) -> None:
        """A program has something to do between two submissions; and what is staged takes its time."""
        self._loop.run_until_complete(asyncio.sleep(PAUSE_SECONDS))

    def _begun(self, asked: Submission) -> tuple[Submission, Operation]:
        """Return what is sent for a submission, always with a key and a time: so the same bytes are sent for
        the same key, and no chance is in them."""
        key = asked.idempotency_key or f"{len(self.operations)} of client {self.number}"
        payload = payload_bytes(asked.payload)
        known = self._keys.get(key)
        if known is not None:
            if known[0] != payload:
                raise IdempotencyConflict(key, "was used for another payload or by another sender")
            return known[1], known[2]
        validity = min(TUNING.validity_ms, self._world.genesis.horizon_ms // 2)
        until = Millis(self._wall() + validity) if asked.valid_until is None else asked.valid_until
        submission = Submission(payload, key, until)
        signed = self._pen.sign(self._pen.draft(0, submission, remembered=False))
        number, now = len(self.operations), self._world.scheduler.now_us
        operation = Operation(self.number, number, signed.tx_id, signed.raw, self._known(payload), now)
        self.operations.append(operation)
        self._keys[key] = (payload, submission, operation)
        return submission, operation

    def _known(self, payload: bytes) -> dict[str, str | None]:
        """Return a payload as the oracles of `kv` know it; empty for any other."""
        if self._world.genesis.application != "kv":
            return {}
        try:
            _kv.check(payload)
        except Invalid:
            return {}
        return msgspec.json.decode(payload, type=dict[str, str | None])

    async def _submitted(
        self, submission: Submission, operation: Operation, seconds: float | None
    ) -> Receipt:
        try:
            receipt = await self._client.submit(
                submission.payload, submission.idempotency_key, submission.valid_until, seconds
            )
        except Rejected:
            self._learnt(operation, "refused")
            raise
        except Expired:
            self._learnt(operation, "expired")
            raise
        self._learnt(operation, "committed", receipt)
        return receipt

    async def _submitted_many(
        self, begun: list[tuple[Submission, Operation]], seconds: float | None
    ) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        async for outcome in self._client.submit_many([each[0] for each in begun], seconds):
            outcomes[outcome.index] = outcome
            if outcome.status != "unknown":
                self._learnt(begun[outcome.index][1], outcome.status, outcome.receipt)
        return [outcomes[index] for index in sorted(outcomes)]

    def _learnt(self, operation: Operation, outcome: str, receipt: Receipt | None = None) -> None:
        if operation.outcome:
            return
        operation.outcome, operation.returned_us = outcome, self._world.scheduler.now_us
        if receipt is not None and outcome == "committed":
            operation.result, operation.height = receipt.result_bytes, int(receipt.height)
            operation.position = receipt.position
            self.believed.append((int(receipt.attestations.height), bytes(receipt.attestations.block_hash)))

    # Asking.

    def receipt(self, tx_id: TxId, timeout: float | None = None) -> Receipt:
        """Return the receipt of an executed transaction."""
        return self._call(self._client.receipt(tx_id, timeout))

    def get(self, key: str, min_height: int = 0, timeout: float | None = None) -> Verified:
        """Return the proven value of `key`, or its absence, as of some block from `min_height` on."""
        verified = self._call(self._client.get(key, min_height, timeout))
        height, block_hash = int(verified.height), bytes(verified.block_hash)
        self.reads.append(ReadDone(self.number, key, min_height, height, verified.raw, block_hash))
        self.believed.append((height, block_hash))
        return verified

    def query(self, question: Payload, min_height: int = 0, timeout: float | None = None) -> Answered:
        """Return the application's answer to a question, as f+1 members gave it."""
        answered = self._call(self._client.query(question, min_height, timeout))
        key = self._known(payload_bytes(question)).get("key")
        if key is not None:
            self.answers.append(AnswerDone(self.number, key, min_height, answered.raw))
        return answered

    def status(self, timeout: float | None = None) -> list[ReplicaStatus]:
        """Return what every replica says of itself, by member."""
        return self._call(self._client.status(timeout))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run_until_complete(work)
        except ForkDetected as fork:
            self.forks.append(f"client {self.number}: {fork}")
            raise
