"""Histories in a few words for tests, made at random or by hand, and a checker too simple to be wrong."""

from collections.abc import Sequence
from itertools import chain, combinations, permutations

from hypothesis import strategies as st
from msgspec.structs import replace

from byzantine.history import Kind, Operation, Outcome, Value


def put(value, invoked, returned, *, key="x", client="c", result=True, **more) -> Operation:
    return _made(Kind.PUT, invoked, returned, key, client, value=value, result=result, **more)


def get(result, invoked, returned, *, key="x", client="c", **more) -> Operation:
    return _made(Kind.GET, invoked, returned, key, client, result=result, **more)


def delete(result, invoked, returned, *, key="x", client="c", **more) -> Operation:
    return _made(Kind.DELETE, invoked, returned, key, client, result=result, **more)


def cas(expected, value, result, invoked, returned, *, key="x", client="c", **more) -> Operation:
    return _made(
        Kind.CAS, invoked, returned, key, client, expected=expected, value=value, result=result, **more
    )


def _made(kind, invoked, returned, key, client, **more) -> Operation:
    outcome = Outcome.UNKNOWN if returned is None else Outcome.ANSWERED
    return Operation(client, key, kind, invoked, returned, **{"outcome": outcome, **more})


def hinted(history: Sequence[Operation], order: Sequence[int | None]) -> list[Operation]:
    """Give the operations these places as hints."""
    return [replace(operation, order=place) for operation, place in zip(history, order, strict=True)]


def carried_out(operation: Operation, present: Value) -> tuple[Value | bool, Value]:
    """Return the result of an operation and what its key holds then."""
    if operation.kind is Kind.PUT:
        return True, operation.value
    if operation.kind is Kind.GET:
        return present, present
    if operation.kind is Kind.DELETE:
        return present is not None, None
    return (True, operation.value) if present == operation.expected else (False, present)


def explains(order: Sequence[Operation]) -> bool:
    """Whether an order respects the times and gives the results told."""
    keys: dict[str, Value] = {}
    for place, operation in enumerate(order):
        for later in order[place:]:
            if later.returned_us is not None and later.returned_us < operation.invoked_us:
                return False
        result, keys[operation.key] = carried_out(operation, keys.get(operation.key))
        if operation.outcome is Outcome.ANSWERED and result != operation.result:
            return False
    return True


def has_an_order(history: Sequence[Operation]) -> bool:
    """Try all orders of all answered operations and any of the unknown ones."""
    answered = [operation for operation in history if operation.outcome is Outcome.ANSWERED]
    unknown = [operation for operation in history if operation.outcome is Outcome.UNKNOWN]
    some = chain.from_iterable(combinations(unknown, size) for size in range(len(unknown) + 1))
    return any(explains(order) for chosen in some for order in permutations([*answered, *chosen]))


KEYS = st.sampled_from("xy")
VALUES = st.sampled_from(["1", "2", "3"])
PERHAPS = st.none() | VALUES
KINDS = st.sampled_from(Kind)


@st.composite
def asked(draw, at=None, span=8) -> Operation:
    """One operation of unknown outcome, perhaps invoked so that it can take effect at the time `at`."""
    kind = draw(KINDS)
    return Operation(
        f"c{draw(st.integers(1, 9))}",
        draw(KEYS),
        kind,
        draw(st.integers(0, span) if at is None else st.integers(at - span, at)),
        None,
        Outcome.UNKNOWN,
        value=draw(VALUES if kind is Kind.PUT else PERHAPS) if kind in (Kind.PUT, Kind.CAS) else None,
        expected=draw(PERHAPS) if kind is Kind.CAS else None,
    )


def answered(operation: Operation, result: Value | bool, returned: int) -> Operation:
    return replace(operation, outcome=Outcome.ANSWERED, result=result, returned_us=returned)


@st.composite
def any_histories(draw, most=5) -> list[Operation]:
    """Few operations with any results of the right type: mostly not linearizable."""
    history = []
    for operation in draw(st.lists(asked(), max_size=most)):
        results = {Kind.PUT: st.just(True), Kind.GET: PERHAPS}.get(operation.kind, st.booleans())
        if draw(st.integers(0, 3)):
            returned = operation.invoked_us + draw(st.integers(0, 8))
            operation = answered(operation, draw(results), returned)
        history.append(operation)
    return history


@st.composite
def good_histories(draw, least=0, most=5, span=40) -> list[Operation]:
    """What clients of one correct register for each key see, hinted with the true order."""
    keys: dict[str, Value] = {}
    history = []
    for place in range(draw(st.integers(least, most))):
        at = 10 * place
        operation = replace(draw(asked(at, span)), order=place)
        fate = draw(st.integers(0, 9))
        if fate == 0:
            history.append(operation)  # never happened
            continue
        result, keys[operation.key] = carried_out(operation, keys.get(operation.key))
        if fate > 1:
            operation = answered(operation, result, at + draw(st.integers(0, span)))
        history.append(operation)
    return history


@st.composite
def spoilt_histories(draw, most=5) -> list[Operation]:
    """Good histories with one answer changed: often linearizable all the same."""
    history: list[Operation] = draw(good_histories(1, most))
    place = draw(st.integers(0, len(history) - 1))
    if history[place].outcome is Outcome.ANSWERED and history[place].kind is not Kind.PUT:
        results = PERHAPS if history[place].kind is Kind.GET else st.booleans()
        history[place] = replace(history[place], result=draw(results))
    return history
