"""Whether all that a scenario names is there: behaviours and their parameters, and an application.

What lives here: one check for all runners. What must not be known here: what any of it does.
"""

from collections.abc import Mapping

from byzantine.liars import broker, clients, cutting  # noqa: F401  # define their behaviours
from byzantine.liars.adversary import ADVERSARIES
from byzantine.liars.catalogue import BEHAVIOURS
from byzantine.liars.client import CLIENT_BEHAVIOURS
from byzantine.liars.parameters import Declares, require_lie
from byzantine.scenario import Contradiction, Scenario
from ledger.application import load_application
from ledger.errors import ApplicationError

REGISTERS: Mapping[str, Mapping[str, type[Declares]]] = {
    "member": BEHAVIOURS,
    "client": CLIENT_BEHAVIOURS,
    "network": ADVERSARIES,
}
"""All behaviours there are, by whose they are."""


def require_known(scenario: Scenario) -> None:
    """Raise `Contradiction` where a scenario names what is not there, and say which field does."""
    for place, liar in enumerate(scenario.liars):
        for number, lie in enumerate(liar.lies):
            require_lie(BEHAVIOURS, lie, f"liars[{place}].lies[{number}]")
    for number, lie in enumerate(scenario.hostile_clients):
        require_lie(CLIENT_BEHAVIOURS, lie, f"hostile_clients[{number}]")
    for number, lie in enumerate(scenario.hostile_network):
        require_lie(ADVERSARIES, lie, f"hostile_network[{number}]")
    try:
        load_application(scenario.application, dict(scenario.parameters))
    except ApplicationError as error:
        raise Contradiction("application", " ".join(str(error).split())) from None
