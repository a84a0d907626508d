"""What a network can do to streams under TLS beside delaying them: break them, and try to pass off as theirs
what their ends never wrote.

What lives here: when the next fault is due, of which kind, and what it does to the bytes in hand. What must
not be known here: sockets.

A stream loses, repeats and reorders nothing by itself, TCP sees to that. Whoever does it on the way, below
TLS, breaks the connection: at once where it is reset, and else because TLS refuses the next record. What was
on its way is lost with it, and both ends must connect anew. So shares of frames, which scenarios state, are
here how often connections are broken; and one is broken only while none of those before is still down, since
a network without links orders nothing.
"""

from collections import Counter
from random import Random

from byzantine.scenario import Links

GAP_SECONDS = 0.06
"""Between two faults on average, where a scenario's shares together are 1; longer the smaller they are."""

RESET = "lost"
REPEAT = "repeated"
REORDER = "reordered"


class StreamFaults:
    """The faults of one network's links, in the order in which they come."""

    def __init__(self, policy: Links, seed: int, slowdown: float) -> None:
        self.done: Counter[str] = Counter()
        """How often each was done (`byzantine.scenario.LINKS_DO`)."""
        self._random = Random(f"stream faults {seed}")
        self._slowdown = slowdown
        self._down: set[frozenset[int]] = set()
        self._due = 0.0
        self.set_policy(policy, 0.0)

    def set_policy(self, policy: Links, now: float) -> None:
        """Act by another policy from now on (s, monotonic)."""
        shares = {RESET: policy.loss, REPEAT: policy.repeat, REORDER: policy.reorder}
        self._kinds = [kind for kind, share in shares.items() if share]
        self._gap = GAP_SECONDS * self._slowdown / sum(shares.values()) if self._kinds else 0.0
        self._due = now + self._wait()

    def up(self, one: int, other: int) -> None:
        """A connection between two members was made."""
        self._down.discard(frozenset((one, other)))

    def due(self, one: int, other: int, data: bytes, now: float) -> str | None:
        """Return what is done to this piece of a stream, if anything is; it is counted."""
        if not self._kinds or now < self._due or self._down or len(data) < 2:
            return None
        self._due = now + self._wait()
        self._down.add(frozenset((one, other)))
        # In turn: each kind that a scenario names is to be seen.
        kind = min(self._kinds, key=lambda kind: self.done[kind])
        self.done[kind] += 1
        return kind

    def _wait(self) -> float:
        return self._gap * self._random.uniform(0.5, 1.5)


def changed(kind: str, data: bytes) -> bytes:
    """Return what arrives in place of a piece of a stream that is repeated or reordered."""
    if kind == REPEAT:
        return data + data
    half = len(data) // 2
    return data[half:] + data[:half]
