"""Clients of a real network: the production client, each with a key of its own, and the history of all it was
told.

What lives here: operations from the call to the outcome, as oracles read them. What must not be known here:
what the outcome should have been.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from random import Random

from byzantine.oracles.observation import AnswerDone, Operation, ReadDone
from byzantine.workload import VALID_FOR_MS, Workload
from crypto.batch import Millis
from crypto.keys import SigningKey
from crypto.roster import MemberId
from tetrarch.client.async_client import AsyncClient, system_wall
from tetrarch.client.config import ClientConfig
from tetrarch.client.outcome import Submission
from tetrarch.client.receipt import Receipt
from tetrarch.client.signing import Pen
from tetrarch.client.transport import Connection, Dialer
from tetrarch.client.tuning import Tuning
from tetrarch.decoding import FrameDecoder
from tetrarch.errors import (
    Expired,
    ForkDetected,
    NotEnoughReplies,
    OutcomeUnknown,
    Rejected,
    Unreachable,
    VerificationError,
)
from tetrarch.wire import FROM_CLIENTS, MAX_FRAME_BYTES, Submit, pack

REASONS = {
    "frame": "malformed",
    "attestation": "another block than f+1 attest",
    "denial": "denies what f+1 prove",
}
"""What the simulated client calls it when such a check fails; others have one name."""

RESEND_MS = 800
SILENCE_MS = 400
"""Of the client's tuning, in the scenario's time: as the simulated client has them."""

CALL_SECONDS = 20.0
"""How long one call may take before it is made again, as the errors say one may."""

PAUSE_SECONDS = 0.05

_frames = FrameDecoder(FROM_CLIENTS, MAX_FRAME_BYTES)


class Told:
    """What all clients together were told, and what was wrong with it."""

    def __init__(self) -> None:
        self.believed_blocks: dict[int, set[bytes]] = {}
        self.forks: list[str] = []
        self.broken: list[str] = []
        """Receipts that do not hold, and calls that raised what they never should."""


class RealClient:
    """One client. Made inside a running event loop."""

    def __init__(
        self, number: int, config: ClientConfig, workload: Workload, told: Told, seed: int, slowdown: float
    ) -> None:
        self.number = number
        self.operations: list[Operation] = []
        self.reads: list[ReadDone] = []
        self.answers: list[AnswerDone] = []
        self._workload, self._told = workload, told
        self._random = Random(f"client {number} {seed}")
        self._trust = config.trust
        self._seen_height = 0
        self._reading = self._turn = 0
        tuning = Tuning(
            resend_ms=round(RESEND_MS * slowdown), silence_ms=round(SILENCE_MS * slowdown), redial_max_ms=500
        )
        signer = SigningKey(Random(f"key {number} {seed}").randbytes(32))
        self._dialer = SelectiveDialer(config.dialer())
        self._pen = Pen(config.trust.genesis, signer, tuning, system_wall)
        chance = Random(f"chance {number} {seed}")
        self._client = AsyncClient(config.trust, signer, self._dialer, tuning=tuning, chance=chance)
        members = len(config.trust.genesis.members)
        self._readers = [
            AsyncClient(config.trust, signer, config.dialer(), tuning=tuning, chance=_drawing(first, members))
            for first in range(members)
        ]
        """One that asks each member first: whoever reads has one member prove, and keeps to it."""
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def waits_for(self) -> int:
        """How many outcomes and reads are awaited."""
        return sum(not operation.outcome for operation in self.operations) + self._reading

    def refused(self) -> Counter[str]:
        """Return what it dropped, by reason, in the simulated client's words."""
        refused: Counter[str] = Counter()
        for client in (self._client, *self._readers):
            for check, times in client.wrong_answers().items():
                refused[f"client: {REASONS.get(check, check)}"] += times
        return refused

    async def connect(self) -> None:
        """Be connected, as far as replicas answer."""
        await self._client.status()

    def submit(self, count: int, to: Sequence[int] | None = None) -> None:
        """Send `count` new operations to all members; with `to`, for the first time to these alone."""
        for _ in range(count):
            number = len(self.operations)
            payload = self._workload.payload(self._random, f"{self.number}.{number}")
            key, until = f"operation-{number}", Millis(system_wall() + VALID_FOR_MS)
            # The call signs the same bytes anew: the nonce stands for the key.
            signed = self._pen.sign(self._pen.draft(0, Submission(payload, key, until), remembered=False))
            if to is not None:
                self._dialer.restrict(signed.raw, to)
            operation = Operation(self.number, number, signed.tx_id, signed.raw, payload, now_us())
            self.operations.append(operation)
            self._call(self._settle(operation, key, until))

    def read(self) -> None:
        """Read a key, as of the height that this client has seen or later; each time from the next member
        first."""
        self._turn += 1
        reader = self._readers[self._turn % len(self._readers)]
        self._call(self._read(reader, self._workload.key(self._random), self._seen_height))

    async def close(self) -> None:
        """Leave what is open, and close connections."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        for client in (self._client, *self._readers):
            await client.close()

    def _call(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except ForkDetected as fork:
            self._told.forks.append(f"client {self.number}: {fork}")
        except VerificationError as error:
            self._told.broken.append(f"client {self.number} was given a receipt that does not hold: {error}")
        except Exception as error:  # noqa: BLE001  # whatever else it raises is a fault of the client's
            self._told.broken.append(f"client {self.number} raised {type(error).__name__}: {error}")

    async def _settle(self, operation: Operation, key: str, until: Millis) -> None:
        """Call until the outcome is known: that is what the errors say is safe."""
        while True:
            try:
                receipt = await self._client.submit(operation.payload, key, until, CALL_SECONDS)
            except Rejected:
                operation.outcome = "refused"
            except Expired:
                operation.outcome = "expired"
            except (OutcomeUnknown, Unreachable, NotEnoughReplies):
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            else:
                self._committed(operation, receipt)
            operation.returned_us = now_us()
            return

    def _committed(self, operation: Operation, receipt: Receipt) -> None:
        operation.outcome, operation.result = "committed", receipt.result_bytes
        operation.height, operation.position = int(receipt.height), receipt.position
        self._saw(int(receipt.attestations.height), receipt.attestations.block_hash)
        receipt.verify(self._trust)

    async def _read(self, reader: AsyncClient, key: str, least: int) -> None:
        self._reading += 1
        while True:
            try:
                verified = await reader.get(key, least, CALL_SECONDS)
                said = await reader.query({"op": "get", "key": key}, least, CALL_SECONDS)
                break
            except (Unreachable, NotEnoughReplies):
                await asyncio.sleep(PAUSE_SECONDS)
        self._reading -= 1
        self.answers.append(AnswerDone(self.number, key, least, said.raw))
        height, block_hash = int(verified.height), bytes(verified.block_hash)
        self.reads.append(ReadDone(self.number, key, least, height, verified.raw, block_hash))
        self._saw(height, block_hash)

    def _saw(self, height: int, block_hash: bytes) -> None:
        self._told.believed_blocks.setdefault(height, set()).add(bytes(block_hash))
        self._seen_height = max(self._seen_height, height)


def _drawing(first: int, members: int) -> Random:
    """Return chance of which the first of so many members that is drawn is this one."""
    return next(Random(seed) for seed in count() if Random(seed).randrange(members) == first)


class SelectiveDialer:
    """Dials as another dialer does; chosen transactions reach chosen members alone when they are sent for the
    first time, and all of these are asked for results and proof."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._asked: dict[bytes, frozenset[int]] = {}
        """Who is to prove a transaction's result."""
        self._passed_over: set[tuple[bytes, int]] = set()
        """Who was kept from a transaction once already."""

    def restrict(self, raw: bytes, to: Sequence[int]) -> None:
        """Let a transaction reach these members alone, until it is sent again."""
        self._asked[raw] = frozenset(to)

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> Connection:
        """Return a connection to `member`. Raises `OSError`."""
        connection = await self._dialer.dial(member, receive)
        return _SelectiveConnection(connection, lambda frame: self._allowed(member, frame))

    def _allowed(self, member: MemberId, frame: bytes) -> bytes:
        """Return what of a frame `member` may be sent; empty where nothing is left."""
        if not self._asked:
            return frame
        message = _frames.decode(frame)
        if not isinstance(message, Submit):
            return frame
        rest = tuple(raw for raw in message.transactions if self._may_have(member, raw))
        full = message.full or any(member in self._asked.get(raw, ()) for raw in rest)
        return pack(Submit(full, rest)) if rest else b""

    def _may_have(self, member: MemberId, raw: bytes) -> bool:
        asked = self._asked.get(raw)
        if asked is None or member in asked or (raw, member) in self._passed_over:
            return True
        self._passed_over.add((raw, member))
        return False


class _SelectiveConnection:
    """One connection on which not everything is sent."""

    def __init__(self, connection: Connection, allowed: Callable[[bytes], bytes]) -> None:
        self._connection, self._allowed = connection, allowed

    def send(self, frame: bytes) -> bool:
        """Send what is allowed of a frame."""
        rest = self._allowed(frame)
        return self._connection.send(rest) if rest else True

    def close(self) -> None:
        """Close at once."""
        self._connection.close()

    async def wait_closed(self) -> str:
        """Wait until it is closed."""
        return await self._connection.wait_closed()


def now_us() -> int:
    """Return the monotonic clock in us: all clients' times are of one clock."""
    return time.monotonic_ns() // 1000
