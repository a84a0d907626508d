"""The pool of requests that are known and not yet executed.

Bounded in number and bytes. The order of arrival is the order of proposing, but requests that another
member passed on come first: each member has a lane of its own with a reserved quota, so that a full
pool cannot hide a client's request from the leader. Invalidity is never remembered here: only
requests whose signatures were verified get in, and only execution or expiry take them out.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from msgspec import Struct

from consensus.contract import Request
from crypto.batch import Millis, TxId
from crypto.roster import MemberId


class PoolLimits(Struct, frozen=True):
    """Bounds of a pool."""

    max_requests: int = 20_000
    """Several seconds of full load; more would only wait longer than clients do."""
    max_bytes: int = 64 * 1024 * 1024
    lane_quota: int = 64
    """Requests passed on by one member that may wait in its lane at a time."""


class BatchLimits(Struct, frozen=True):
    """What one batch may hold at most."""

    max_requests: int
    max_bytes: int
    horizon_ms: Millis


class Pool:
    """Requests by id, in order of arrival; the queue and the lanes serve a leader only."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._requests: dict[TxId, Request] = {}
        self._bytes = 0
        self._in_flight: set[TxId] = set()
        self._queue: deque[TxId] = deque()
        self._lanes: dict[MemberId, deque[TxId]] = {}
        self._leading = False

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, tx_id: TxId) -> bool:
        return tx_id in self._requests

    def __iter__(self) -> Iterator[Request]:
        """Requests in order of arrival."""
        return iter(self._requests.values())

    def get(self, tx_id: TxId) -> Request | None:
        """Return the request with this id, if it is known."""
        return self._requests.get(tx_id)

    def add(self, request: Request, relayed_by: MemberId | None) -> bool:
        """Take `request`; returns whether it is known now. A relayed one has its member's quota."""
        in_lane = relayed_by is not None and self._leading and self._enter_lane(relayed_by, request.id)
        if request.id in self._requests:
            return True
        full = len(self._requests) >= self._limits.max_requests
        if (full or self._bytes + len(request.body) > self._limits.max_bytes) and not in_lane:
            return False
        self._requests[request.id] = request
        self._bytes += len(request.body)
        if self._leading and not in_lane:
            self._queue.append(request.id)
        return True

    def _enter_lane(self, member: MemberId, tx_id: TxId) -> bool:
        if tx_id in self._in_flight:
            return False
        lane = self._lanes.setdefault(member, deque())
        while lane and lane[0] not in self._requests:
            lane.popleft()
        if len(lane) >= self._limits.lane_quota or tx_id in lane:
            return False
        lane.append(tx_id)
        return True

    def discard(self, ids: Iterable[TxId]) -> None:
        """Forget these requests: executed, or expired."""
        for tx_id in ids:
            request = self._requests.pop(tx_id, None)
            if request is not None:
                self._bytes -= len(request.body)
                self._in_flight.discard(tx_id)

    def expired(self, wall: Millis) -> list[TxId]:
        """Return the ids of requests whose valid_until has passed at `wall` (ms since the epoch)."""
        return [tx_id for tx_id, request in self._requests.items() if request.valid_until < wall]

    def lead(self, in_flight: Iterable[TxId]) -> None:
        """Start leading: all that is known and not already `in_flight` waits to be proposed."""
        self._leading = True
        self._in_flight = {tx_id for tx_id in in_flight if tx_id in self._requests}
        self._queue = deque(tx_id for tx_id in self._requests if tx_id not in self._in_flight)
        self._lanes = {}

    def follow(self) -> None:
        """Stop leading: somebody else proposes."""
        self._leading = False
        self._in_flight = set()
        self._queue.clear()
        self._lanes = {}

    @property
    def waiting(self) -> int:
        """How many known requests wait to be proposed (by a leader)."""
        return len(self._requests) - len(self._in_flight)

    def take(self, wall: Millis, limits: BatchLimits) -> list[Request]:
        """Return the next batch and mark it as in flight; relayed requests first.

        Requests that expired at `wall`, or whose valid_until lies beyond the horizon, are left out;
        the latter keep waiting.
        """
        batch: list[Request] = []
        too_far: list[TxId] = []
        size = 0
        for tx_id in self._next_ids():
            request = self._requests[tx_id]
            if request.valid_until < wall:
                continue
            if request.valid_until > wall + limits.horizon_ms:
                too_far.append(tx_id)
                continue
            if batch and size + len(request.body) > limits.max_bytes:
                self._queue.appendleft(tx_id)
                break
            batch.append(request)
            self._in_flight.add(tx_id)
            size += len(request.body)
            if len(batch) >= limits.max_requests:
                break
        self._queue.extend(too_far)
        return batch

    def _next_ids(self) -> Iterator[TxId]:
        """Yield ids to propose, taking them from the lanes in turn, then from the queue."""
        while any(self._lanes.values()):
            for member in sorted(self._lanes):
                lane = self._lanes[member]
                if lane:
                    tx_id = lane.popleft()
                    if tx_id in self._requests and tx_id not in self._in_flight:
                        yield tx_id
        for _ in range(len(self._queue)):
            tx_id = self._queue.popleft()
            if tx_id in self._requests and tx_id not in self._in_flight:
                yield tx_id
