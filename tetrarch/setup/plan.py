"""What a new network is to be, and the genesis that states it.

What lives here: the plan, its sizes, and the step from it to a genesis. What must not be known here: files.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from consensus.quorum import Quorums
from crypto.roster import MAX_MEMBERS
from ledger.application import load_application
from ledger.errors import ApplicationError
from ledger.genesis import FORMAT, Genesis, GenesisMember
from tetrarch.engines import UnusableGenesis, ordering
from tetrarch.setup.errors import SetupError
from tetrarch.setup.places import BrokerHost, Host, Places, replica_name

SMALLEST: Final = 4
"""The smallest network that survives one malicious member: f = (n - 1) // 3."""

INTERVALS: Final = (64, 32, 16, 8)
"""Checkpoint intervals to choose from, the best first. Large networks need short ones: what a view change
must show grows with the square of the members and with the window."""

MAX_NAME: Final = 64
"""The longest name of a network."""


class NetworkPlan(Struct, frozen=True):
    """What a new network is to be."""

    hosts: tuple[Host, ...]
    application: str = "kv"
    parameters: tuple[tuple[str, str], ...] = ()
    testing: bool = False
    development: bool = False
    """Allow a single replica, which tolerates no fault."""
    checkpoint_interval: int | None = None
    """Blocks between checkpoints; `None`: the longest that suits so many replicas."""
    largest_batch: int | None = None
    """Transactions in a block at most; `None`: what a genesis says where nothing is said."""
    password_file: Path | None = None
    """Encrypt the signing keys with this file's password; `None`: plain, for networks on one machine."""
    brokers: tuple[BrokerHost, ...] = ()
    """In the order of preference. Needed where a replica is reached by way of them."""
    bundles: bool = False
    """A directory for each machine, with nothing that belongs to another one; else one for the network."""

    @property
    def names(self) -> list[str]:
        """What the replicas are called, in their order."""
        return [replica_name(host, place) for place, host in enumerate(self.hosts)]


def local_plan(places: Places, application: str = "kv", *, development: bool = False) -> NetworkPlan:
    """Return the plan of a network in `places`."""
    return NetworkPlan(places.replicas, application, development=development, brokers=places.brokers)


def check_size(replicas: int, development: bool) -> None:
    """Raise `SetupError` for a number of replicas that makes no network."""
    if replicas in (2, 3):
        raise SetupError(
            f"{replicas} replicas tolerate no fault and stop with the first that fails: take {SMALLEST} or"
            " more (f faults need 3f + 1 replicas), or 1 with --dev"
        )
    if replicas == 1 and not development:
        raise SetupError("a single replica tolerates no fault: it is for development only, with --dev")
    if not 1 <= replicas <= MAX_MEMBERS:
        raise SetupError(f"{replicas} replicas: there can be {SMALLEST} to {MAX_MEMBERS}")


def tolerated(replicas: int) -> int:
    """Return how many replicas may be malicious at once."""
    return Quorums.byzantine(replicas).f


def check_application(application: str, parameters: dict[str, str]) -> None:
    """Raise `SetupError` unless the application accepts its parameters."""
    try:
        load_application(application, parameters)
    except ApplicationError as error:
        raise SetupError(str(error)) from None


def found(
    plan: NetworkPlan, name: str, members: Sequence[GenesisMember], parameters: dict[str, str]
) -> Genesis:
    """Return the genesis of a network that is made now. Raises `SetupError`."""
    more = {} if plan.largest_batch is None else {"max_batch_transactions": plan.largest_batch}
    genesis = Genesis(
        format=FORMAT,
        name=name[:MAX_NAME],
        created=time.time_ns() // 1_000_000,
        engine="pbft",
        application=plan.application,
        members=tuple(members),
        testing=plan.testing,
        parameters=tuple(sorted(parameters.items())),
        **more,
    )
    return _with_interval(
        genesis, INTERVALS if plan.checkpoint_interval is None else (plan.checkpoint_interval,)
    )


def _with_interval(genesis: Genesis, intervals: Sequence[int]) -> Genesis:
    """Return `genesis` with the first of the `intervals` that its engine can bear. Raises `SetupError`."""
    why = ""
    for interval in intervals:
        candidate = replace(genesis, checkpoint_interval=interval)
        try:
            ordering(candidate, candidate.roster())
        except UnusableGenesis as error:
            why = str(error)
        else:
            return candidate
    raise SetupError(why)
