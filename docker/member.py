"""Run a member of a testing network: a liar if it is the one that is to lie, else the production node.

    python member.py REPLICA

TETRARCH_ATTACK: what the liar does: behaviours of a member (`tetrarch attack list --behaviours`), with commas
between them. TETRARCH_LIAR: the liar's name; by default the member with which the catalogue of attacks stages
the first of them, so that attacks of a primary are a primary's. TETRARCH_SEED: of all that the liar leaves to
chance. Every lie is a line on stdout as it is told.

What lives here: who lies. What must not be known here: any one lie.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from byzantine import node
from byzantine.attacks.catalogue import ATTACKS
from byzantine.liars.catalogue import BEHAVIOURS
from byzantine.liars.parameters import require_lie
from byzantine.scenario import Contradiction, Lie
from tetrarch.cli import run

REPLICAS = 4
REPORT = "/dev/stdout"


def lies_of(environment: Mapping[str, str]) -> list[Lie]:
    """Return what the liar does. Raises `Contradiction` for what no member does."""
    names = [name.strip() for name in environment.get("TETRARCH_ATTACK", "").split(",")]
    lies = [Lie(behaviour=name) for name in names if name]
    for lie in lies:
        require_lie(BEHAVIOURS, lie, "TETRARCH_ATTACK")
    return lies


def liar_of(environment: Mapping[str, str], lies: list[Lie]) -> str:
    """Return the name of the member that lies."""
    named = environment.get("TETRARCH_LIAR", "")
    if named or not lies:
        return named
    attack = ATTACKS.get(lies[0].behaviour)
    staged = attack.scenario(REPLICAS, 0).liars if attack is not None else ()
    return f"replica-{staged[0].member if staged else 0}"


def main(replica: Path, environment: Mapping[str, str]) -> int:
    """Run the replica until it is stopped; returns its exit code."""
    try:
        lies = lies_of(environment)
    except Contradiction as fault:
        print(f"member.py: {fault}", file=sys.stderr)
        return 2
    if not lies or liar_of(environment, lies) != replica.name:
        return run(["node", str(replica), "--log-to-terminal"])
    file = Path(tempfile.gettempdir(), "lies.json")
    node.save_lies(file, lies)
    print(f"member.py: {replica.name} lies: {', '.join(lie.behaviour for lie in lies)}", file=sys.stderr)
    seed = environment.get("TETRARCH_SEED", "") or "0"
    return node.main(
        [str(replica), "--lies", str(file), "--seed", seed, "--report", REPORT, "--log-to-terminal"]
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), os.environ))
