"""What a lie may name: a behaviour that there is, and parameters that it declares.

What lives here: looking them up, and refusing what nobody declared. What must not be known here: behaviours.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import ClassVar, Protocol, TypeAlias

from byzantine.scenario import Contradiction, Lie

Parameter: TypeAlias = int | float | bool
Parameters: TypeAlias = Mapping[str, Parameter]


def parameter(declared: Parameters, lie: Lie, name: str) -> Parameter:
    """Return a declared parameter, as the lie gives it or as it is otherwise."""
    value = lie.parameters.get(name, declared[name])
    return declared[name] if isinstance(value, str) else value


class Declares(Protocol):
    """A class of behaviours."""

    parameters: ClassVar[Parameters]


def require_lie(known: Mapping[str, type[Declares]], lie: Lie, field: str) -> None:
    """Raise `Contradiction` where a lie names no known behaviour, or gives what that does not take."""
    if lie.behaviour not in known:
        like = get_close_matches(lie.behaviour, known)
        hint = f"; like it: {', '.join(like)}" if like else ""
        raise Contradiction(f"{field}.behaviour", f"{lie.behaviour!r} is unknown{hint}")
    declared = known[lie.behaviour].parameters
    for name, value in lie.parameters.items():
        where = f"{field}.parameters.{name}"
        if name not in declared:
            takes = ", ".join(declared) or "none"
            raise Contradiction(where, f"{lie.behaviour} has no such parameter; it takes {takes}")
        kind = type(declared[name])
        if not (type(value) is kind or (kind is float and type(value) is int)):
            words = {int: "a whole number", float: "a number", bool: "true or false"}
            raise Contradiction(where, f"{value!r} is not {words[kind]}")
