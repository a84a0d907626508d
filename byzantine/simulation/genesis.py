"""The genesis of a simulated network: a testing network of members with known keys."""

from functools import cache

from byzantine.simulation.signatures import Signatures
from crypto.digest import Digest
from ledger.genesis import Genesis, GenesisMember


def simulated_genesis(n: int, application: str, checkpoint_interval: int, keys: Signatures) -> Genesis:
    """Return the genesis of `n` simulated members. Its chain may be lied on: `testing` is set."""
    public = tuple(keys.member(number).public_key for number in range(n))
    return _genesis(application, checkpoint_interval, public)


@cache
def _genesis(application: str, checkpoint_interval: int, public: tuple[bytes, ...]) -> Genesis:
    members = tuple(
        GenesisMember(f"replica-{number}", key, Digest(bytes([number % 256]) * 32))  # type: ignore[arg-type]
        for number, key in enumerate(public)
    )
    return Genesis(
        1, "simulated", 0, "pbft", application, members, checkpoint_interval=checkpoint_interval, testing=True
    )
