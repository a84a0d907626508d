"""Remembers which signatures of members were verified, since view changes and catch-up show them again.

Only valid ones are remembered, under a digest of key, signature and signed bytes together: so nothing is
believed that was not verified as a whole, and invalidity is never remembered.
"""

from collections.abc import Sequence
from hashlib import sha256

from crypto.keys import Check, SignatureChecker


class VerifiedSignatures:
    """Verifies checks of members in one chunk, leaving out what was verified before.

    Holds at most `capacity` digests of 32 bytes; the oldest leave first.
    """

    def __init__(self, checker: SignatureChecker, capacity: int) -> None:
        self._checker = checker
        self._capacity = capacity
        self._seen: dict[bytes, None] = {}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._seen)

    def hold(self, checks: Sequence[Check]) -> bool:
        """Return whether all of these signatures are valid."""
        if len(checks) == 1:
            return self._holds(checks[0])
        seen = self._seen
        missing = {key: check for key, check in ((_key(check), check) for check in checks) if key not in seen}
        self.misses += len(missing)
        self.hits += len(checks) - len(missing)
        results = self._checker.check(list(missing.values())) if missing else []
        self.remember([key for key, holds in zip(missing, results, strict=True) if holds])
        return all(results)

    def _holds(self, check: Check) -> bool:
        """The same for one, as most messages have."""
        key = _key(check)
        if key in self._seen:
            self.hits += 1
            return True
        self.misses += 1
        [holds] = self._checker.check([check])
        if holds:
            self._seen[key] = None
            if len(self._seen) > self._capacity:
                del self._seen[next(iter(self._seen))]
        return holds

    def unknown(self, checks: Sequence[Check]) -> list[Check]:
        """Return those of `checks` that were not verified before."""
        return [check for check in checks if _key(check) not in self._seen]

    def remember(self, keys: Sequence[bytes]) -> None:
        """Take up the digests of valid signatures."""
        for key in keys:
            self._seen[key] = None
        while len(self._seen) > self._capacity:
            del self._seen[next(iter(self._seen))]


def _key(check: Check) -> bytes:
    """Key and signature have fixed lengths, so the bytes hashed can be read in one way only."""
    return sha256(check.key + check.signature + check.signed).digest()
