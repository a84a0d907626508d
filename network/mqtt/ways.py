"""Which of several brokers can be relied upon, in each direction. Sans-IO.

What lives here: `Arrivals`, what one end sees of what the other end sends; `Choice`, which broker it takes
for what it sends itself, by what the other end sees. What must not be known here: sealing, frames.

A broker that lies may drop what it likes and let signs of life pass. So every message says by which broker it
goes and how many went by it before: who gets a later one knows that something is missing, and says so. A
broker that holds messages back for long is taken for one that drops them.

What was chosen is kept as long as it serves: a broker that failed a while ago, and by which only signs of
life go since, is not tried again as long as another one serves.
"""

from collections.abc import Sequence
from typing import Final

STALE_BEATS: Final = 3
"""A broker by which nothing came for so many beats does not serve; nor one that failed so lately."""

_NUMBERS: Final = 1 << 32


class Arrivals:
    """What comes by each of `brokers`. `beat_s`: how often the other end says something by each."""

    def __init__(self, brokers: int, beat_s: float, now: float) -> None:
        self._beat_s = beat_s
        self._patience_s = STALE_BEATS * beat_s
        self._came = [now - self._patience_s] * brokers
        self._failed = [now - self._patience_s] * brokers
        self._passages = [0] * brokers
        self._marks = [0, 0]
        """The highest counter when it was marked last, and the time before: that one came a beat ago, or
        earlier."""
        self._marked_at = now

    def renew(self, now: float) -> None:
        """A new session has begun: counters and passages begin anew."""
        self._passages = [0] * len(self._passages)
        self._marks = [0, 0]
        self._marked_at = now

    def note(self, broker: int, passage: int, counter: int, highest: int, now: float) -> bool:
        """Note a genuine message that was given to `broker` and came by it. `counter` is its own, `highest`
        that of all. Returns whether `broker` has just turned out not to serve."""
        if now - self._marked_at >= self._beat_s:
            self._marks = [highest, self._marks[0]]
            self._marked_at = now
        served = now - self._failed[broker] >= self._patience_s
        ahead = (passage - self._passages[broker]) % _NUMBERS
        late = ahead >= _NUMBERS // 2
        if not late:
            self._passages[broker] = passage
        if (not late and ahead != 1) or counter < self._marks[1]:
            self._failed[broker] = now
        self._came[broker] = now
        return served and self._failed[broker] == now

    def serving(self, now: float) -> int:
        """Return by which brokers the other end is heard well: a bit for each."""
        early = now - self._patience_s
        ways = enumerate(zip(self._came, self._failed, strict=True))
        return sum(1 << broker for broker, (came, failed) in ways if came > early >= failed)


class Choice:
    """The broker for what is sent. `patience_s`: how long one is tried of which the other end says nothing
    good, when there is no better one."""

    def __init__(self, patience_s: float, now: float) -> None:
        self._patience_s = patience_s
        self._chosen = 0
        self._since = now

    def make(self, up: Sequence[bool], serving: int, now: float) -> int | None:
        """Return the broker to take, if there is one. `up`: which can be used; `serving`: by which the other
        end says it hears us well."""
        usable = [broker for broker, is_up in enumerate(up) if is_up]
        if not usable:
            return None
        good = [broker for broker in usable if serving >> broker & 1]
        kept = self._chosen in good or (not good and now - self._since < self._patience_s)
        if self._chosen not in usable or not kept:
            candidates = good or usable
            later = [broker for broker in candidates if broker > self._chosen]
            self._chosen = (later or candidates)[0]
            self._since = now
        return self._chosen
