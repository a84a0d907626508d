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

    def check(self, groups: Sequence[Sequence[Check]]) -> list[bool]:
        """Return, for each group of checks in order, whether all of its signatures are valid."""
        keys = [[_key(check) for check in group] for group in groups]
        missing: dict[bytes, Check] = {}
        asked = 0
        for group, group_keys in zip(groups, keys, strict=True):
            asked += len(group)
            for check, key in zip(group, group_keys, strict=True):
                if key not in self._seen:
                    missing[key] = check
        results = self._checker.check(list(missing.values())) if missing else []
        valid = dict(zip(missing, results, strict=True))
        self.misses += len(missing)
        self.hits += asked - len(missing)
        outcome = [all(valid.get(key, True) for key in group_keys) for group_keys in keys]
        self.remember([key for key, holds in valid.items() if holds])
        return outcome

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
