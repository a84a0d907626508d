"""Who does what in a run: names for liars, hostile clients and the network, and who is meant to do what.

What lives here: names, and what a scenario means each of them to do. What must not be known here: what was
done, and whether that is enough.
"""

from byzantine.scenario import Scenario

NETWORK = "network"


def liar(member: int) -> str:
    """Return the name of a member that lies, both copies of one that runs twice."""
    return f"member {member}"


def hostile_client(number: int) -> str:
    """Return the name of a hostile client; they are numbered apart from honest ones."""
    return f"hostile client {number}"


def meant(scenario: Scenario) -> tuple[tuple[str, str], ...]:
    """Return everybody hostile with each behaviour of theirs, in the order of the scenario."""
    found = [(liar(each.member), lie.behaviour) for each in scenario.liars for lie in each.lies]
    found += [(hostile_client(number), lie.behaviour) for number, lie in enumerate(scenario.hostile_clients)]
    found += [(NETWORK, lie.behaviour) for lie in scenario.hostile_network]
    return tuple(dict.fromkeys(found))


class Deeds:
    """How often each of them did each thing."""

    def __init__(self) -> None:
        self.by: dict[str, dict[str, int]] = {}
        """By who did it, then by behaviour."""

    def note(self, who: str, behaviour: str, times: int = 1) -> None:
        """Somebody did something."""
        of_one = self.by.setdefault(who, {})
        of_one[behaviour] = of_one.get(behaviour, 0) + times
