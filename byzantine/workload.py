"""What the clients of a scenario ask for: a few keys written, compared, read and removed, so that operations
meet.

What lives here: choosing payloads for `kv`. What must not be known here: how they are sent.
"""

from random import Random

RAISING = "byzantine.raising:RaisingMap"
"""`kv` with a fault."""

WORKED = ("kv", RAISING)
"""The applications that these payloads are for."""

KEYS = 3
"""Few keys, so that operations meet each other."""

VALID_FOR_MS = 400_000
"""Longer than any run: what a client wants must execute, not expire."""


class Workload:
    """All clients' choices in one run. What was last written is remembered, for compare-and-set to succeed
    now and then."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def payload(self, random: Random, value: str) -> dict[str, str | None]:
        """Return what a client asks for next; `value`: what it writes, if it writes."""
        key = self.key(random)
        known = self._values.get(key)
        chance = random.random()
        if chance < 0.7:
            self._values[key] = value
        if chance < 0.45:
            return {"op": "put", "key": key, "value": value}
        if chance < 0.7:
            return {"op": "cas", "key": key, "expected": known, "value": value}
        if chance < 0.95:
            return {"op": "get", "key": key}
        return {"op": "delete", "key": key}

    def key(self, random: Random) -> str:
        """Return a key."""
        return f"key-{random.randrange(KEYS)}"
