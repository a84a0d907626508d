"""What is wrong with plain values, in words for whoever wrote them: which field, why, and what it may be.

What lives here: from `msgspec`'s errors to these words. What must not be known here: files, and any one type.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from enum import EnumType
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "date": "a date",
    "datetime": "a date",
    "time": "a time",
}


def field_and_reason(error: msgspec.ValidationError, kind: Any = None) -> tuple[str, str]:
    """Return the field that an error of decoding is about, as people write it, and what is wrong.

    `kind`: the type that was asked for, where choices are to be named."""
    what, _, place = str(error).partition(" - at `")
    field = re.sub(r"\A\$\.?|\[\.\.\.\]|`\Z", "", place)
    there = list(_kinds_at(kind, field))
    named = re.search(r"field `([^`]+)`", what)
    if named is None:
        return field, _reason(what, there)
    name = named.group(1)
    whole = f"{field}.{name}" if field else name
    return whole, "is missing" if "missing" in what else _unknown(name, there)


def _reason(what: str, there: list[Any]) -> str:
    invalid = re.fullmatch(r"Invalid (?:enum )?value (.*)", what)
    if invalid is not None:
        choices = ", ".join(str(choice) for choice in _choices(there))
        return f"{invalid.group(1)} is none of {choices}" if choices else f"{invalid.group(1)} is unknown"
    if "matching regex" in what:
        return "must be lower-case letters, digits, - and _, and begin with a letter or digit"
    expected = re.fullmatch(r"Expected `([^`]+)`(?:(.*), got (.*)|(.*))", what)
    if expected is None:
        return what[:1].lower() + what[1:]
    kinds, bound, got, only = expected.groups()
    must = f"must be {_in_words(kinds)}{bound or only or ''}"
    if got is None:
        return must
    if got.isdigit():
        return f"{must}, and has {got}"
    hint = "; begin each of its entries with [[...]]" if (kinds, got) == ("array", "`object`") else ""
    got = got.strip("`")
    return f"{must}, and is {'a number with a fraction' if got == 'float' else _in_words(got)}{hint}"


def _unknown(name: str, there: list[Any]) -> str:
    known = list(dict.fromkeys(field for kind in there for field in getattr(kind, "__struct_fields__", ())))
    like = get_close_matches(name, known, 1)
    if like:
        return f"there is no such field; did you mean {like[0]}?"
    return f"there is no such field; there are {', '.join(known)}" if known else "there is no such field"


def _in_words(kinds: str) -> str:
    names = [name for name in kinds.split(" | ") if name != "null"] or ["null"]
    return " or ".join(_WORDS.get(name, name) for name in names)


def _kinds_at(kind: Any, field: str) -> Iterator[Any]:
    """Yield the types that a field may have; the last name of a union's tag yields its structs."""
    found = list(_parts(kind))
    for name in re.findall(r"[^.\[\]]+(?![^\[]*\])", field):
        if any(name == getattr(getattr(one, "__struct_config__", None), "tag_field", None) for one in found):
            break
        hints = [get_type_hints(one, include_extras=True) for one in found if isinstance(one, type)]
        found = [part for each in hints if name in each for part in _parts(each[name])]
    yield from found


def _parts(kind: Any) -> Iterator[Any]:
    """Yield what a type is made of, without what surrounds it: lists, tables, unions, bounds."""
    origin = get_origin(kind)
    if origin in (Union, UnionType, tuple):
        for part in get_args(kind):
            yield from _parts(part)
    elif origin is Annotated:
        yield from _parts(get_args(kind)[0])
    elif kind is not None and kind is not Ellipsis:
        yield kind


def _choices(there: list[Any]) -> Iterator[Any]:
    for kind in there:
        if get_origin(kind) is Literal:
            yield from get_args(kind)
        elif isinstance(kind, EnumType):
            yield from kind
        elif (tag := getattr(getattr(kind, "__struct_config__", None), "tag", None)) is not None:
            yield tag
