"""The genesis of a simulated network: a testing network of members with known keys."""

from functools import cache

from byzantine.scenario import Scenario
from byzantine.simulation.signatures import Signatures
from crypto.digest import Digest
from ledger.genesis import Genesis, GenesisMember


def simulated_genesis(scenario: Scenario, keys: Signatures) -> Genesis:
    """Return the genesis of a scenario's members. Its chain may be lied on: `testing` is set."""
    public = tuple(keys.member(number).public_key for number in range(scenario.replicas))
    parameters = tuple(sorted(scenario.parameters.items()))
    return _genesis(
        scenario.application, parameters, scenario.checkpoint_interval, scenario.largest_batch, public
    )


@cache
def _genesis(
    application: str,
    parameters: tuple[tuple[str, str], ...],
    checkpoint_interval: int,
    largest_batch: int,
    public: tuple[bytes, ...],
) -> Genesis:
    members = tuple(
        GenesisMember(f"replica-{number}", key, Digest(bytes([number % 256]) * 32))  # type: ignore[arg-type]
        for number, key in enumerate(public)
    )
    return Genesis(
        1,
        "simulated",
        0,
        "pbft",
        application,
        members,
        checkpoint_interval=checkpoint_interval,
        max_batch_transactions=largest_batch,
        testing=True,
        parameters=parameters,
    )
