"""How tests in the laboratory end: one chain, everywhere, with all that was acknowledged."""

from ledger.audit.report import Verdict
from tests.machines.load import SteadyLoad
from tests.machines.replicas import Deployed


def all_is_well(net: Deployed, load: SteadyLoad) -> None:
    """Demand that everything that was submitted is committed, in the chain exactly once and at its height,
    that all replicas come to stand at one block, and that the audit of all stores finds nothing."""
    assert load.failures == []
    with net.client() as client:
        net.holds(client, load.committed)
    states = net.wait_until_level(max(load.committed.values()), 60)
    assert len({state.state_root for state in states}) == 1
    net.network.stop()
    assert net.audit() is Verdict.VALID
