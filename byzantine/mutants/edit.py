"""How one line of the product is exchanged for a wrong one, in this process and for a while.

What lives here: an edit, a mutant, and swapping the code of the functions that are edited. What must not be
known here: which mutants there are, and what finds them.

The product has no hooks for this. An edit names a text that stands exactly once in one function; the
function's module is compiled with that text exchanged, nothing of it is run, and the function gets the code
that came of it. So everybody who holds the function, tables of handlers included, calls the wrong one, and
closures and methods stay right. A text that is gone is an error: no mutant goes stale unnoticed.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import CodeType, FunctionType, ModuleType

from msgspec import Struct


class MutantError(Exception):
    """A mutant that does not exist, that does not fit the code as it is, or that comes while another is in
    force."""


class Edit(Struct, frozen=True):
    """One exchange of text in one function."""

    module: str
    function: str
    """Its qualified name in the module: `Pool.take`."""
    old: str
    """Stands exactly once in the function, its indentation included where it spans lines."""
    new: str


class Mutant(Struct, frozen=True):
    """One rule of the checklist, broken."""

    name: str
    rules: tuple[int, ...]
    """Their numbers in docs/protocol.md."""
    breaks: str
    """What goes wrong, in one sentence."""
    edits: tuple[Edit, ...]


_in_force: list[str] = []
"""The mutant that is applied now, if one is."""


@contextmanager
def put_in_force(mutant: Mutant) -> Iterator[Mutant]:
    """Break the product as `mutant` says, in the whole process, until the context ends.

    Networks are to be made inside: what was made before may have kept closures of the right code. Raises
    `MutantError` where the mutant does not fit, before anything is changed, or where one is in force already.
    """
    if _in_force:
        raise MutantError(
            f"mutant {mutant.name}: {_in_force[0]} is in force already, and two cannot be told apart"
        )
    codes = mutated(mutant.edits)
    originals = [(function, function.__code__) for function, _, _ in codes]
    _in_force.append(mutant.name)
    try:
        for function, code, forget in codes:
            function.__code__ = code
            forget()
        yield mutant
    finally:
        for function, original in originals:
            function.__code__ = original
        for _, _, forget in codes:
            forget()
        _in_force.clear()


def mutated(edits: Sequence[Edit]) -> list[tuple[FunctionType, CodeType, Callable[[], object]]]:
    """Return each edited function, its wrong code, and what empties its cache. Raises `MutantError`."""
    by_function: dict[tuple[str, str], list[Edit]] = {}
    for edit in edits:
        by_function.setdefault((edit.module, edit.function), []).append(edit)
    return [_mutate(*place, group) for place, group in by_function.items()]


def _mutate(
    module_name: str, qualified: str, edits: Sequence[Edit]
) -> tuple[FunctionType, CodeType, Callable[[], object]]:
    module = import_module(module_name)
    function, forget = _find(module, qualified)
    lines, first = inspect.getsourcelines(function.__code__)
    text = "".join(lines)
    for edit in edits:
        found = text.count(edit.old)
        if found != 1:
            raise MutantError(f"{module_name}.{qualified} holds {found} times, not once: {edit.old}")
        text = text.replace(edit.old, edit.new)
    whole = inspect.getsource(module).splitlines(keepends=True)
    source = "".join([*whole[: first - 1], text, *whole[first - 1 + len(lines) :]])
    return function, _compiled(source, function), forget


def _find(module: ModuleType, qualified: str) -> tuple[FunctionType, Callable[[], object]]:
    """Return the function behind a qualified name, decorators taken off, and what empties its cache."""
    *owners, name = qualified.split(".")
    place: object = module
    forget: Callable[[], object] = _nothing
    try:
        for owner in owners:
            place = getattr(place, owner)
        found: object = inspect.getattr_static(place, name)
    except AttributeError:
        raise MutantError(f"{module.__name__} has no {qualified}") from None
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, classmethod | staticmethod):
        found = found.__func__
    if callable(found) and hasattr(found, "cache_clear"):
        forget, found = found.cache_clear, inspect.unwrap(found)
    if not isinstance(found, FunctionType) or found.__module__ != module.__name__:
        raise MutantError(f"{module.__name__}.{qualified} is no function of that module")
    return found, forget


def _nothing() -> None:
    """What has no cache need not forget."""


def _compiled(source: str, function: FunctionType) -> CodeType:
    """Return the code that `function` has in `source`, in the place of the code it has now."""
    old, name = function.__code__, function.__qualname__
    try:
        whole = compile(source, old.co_filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise MutantError(f"{function.__module__}.{name} does not compile when edited: {error}") from None
    new = next((code for code in _nested(whole) if _is_of(code, name, old.co_firstlineno)), None)
    if new is None or _shape(new) != _shape(old):
        raise MutantError(f"{function.__module__}.{name} takes or encloses something else when edited")
    return new


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _is_of(code: CodeType, name: str, line: int) -> bool:
    return code.co_qualname == name and code.co_firstlineno == line


def _shape(code: CodeType) -> tuple[object, ...]:
    """What callers, defaults and closures depend on."""
    count = code.co_argcount + code.co_kwonlyargcount
    kind = code.co_flags & (
        inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
    )
    return code.co_argcount, code.co_kwonlyargcount, code.co_varnames[:count], kind, code.co_freevars
