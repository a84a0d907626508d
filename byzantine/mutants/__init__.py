"""Mutants: the product with one rule of the checklist broken, to see whether it would be noticed.

`applied(name)` breaks a rule in the whole process, for tests and campaigns; nothing in the product knows of
it. A single wrong replica would be tolerated, as it must be: so all replicas of the process are wrong alike.

The rules are those of docs/protocol.md, and each has at least one mutant. The tables lie beside this file, by
the part of the product that keeps the rule: an edit shows which line that is.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from difflib import get_close_matches

from byzantine.mutants import client, node_and_ledger, normal_case, signatures, staying_together, view_change
from byzantine.mutants.edit import Edit, Mutant, MutantError, put_in_force

__all__ = ["MUTANTS", "TABLES", "Edit", "Mutant", "MutantError", "applied", "mutant_named"]

TABLES = (normal_case, view_change, staying_together, signatures, node_and_ledger, client)

MUTANTS: Mapping[str, Mutant] = {mutant.name: mutant for table in TABLES for mutant in table.MUTANTS}
"""All of them, by name."""


def mutant_named(name: str) -> Mutant:
    """Return the mutant called `name`. Raises `MutantError` naming those that are called alike."""
    mutant = MUTANTS.get(name)
    if mutant is None:
        close = get_close_matches(name, MUTANTS)
        hint = (
            f"did you mean {' or '.join(close)}?" if close else "`tetrarch attack mutants --list` shows all"
        )
        raise MutantError(f"there is no mutant {name!r}; {hint}")
    return mutant


def applied(name: str) -> AbstractContextManager[Mutant]:
    """Break a rule in the whole process, for a `with` block. Raises `MutantError`."""
    return put_in_force(mutant_named(name))
