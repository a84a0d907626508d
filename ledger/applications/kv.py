"""`kv`: a map of texts. Operations, in JSON, one per transaction:

| operation | fields | value of the result | refused when |
|---|---|---|---|
| `put` | `key`, `value` | `true` | |
| `get` | `key` | the value, or `null` | |
| `delete` | `key` | whether the key was there | |
| `cas` | `key`, `expected`, `value` | `true` | the present value is not `expected` |

In `cas` (compare and set) `null` stands for an absent key: `expected: null` creates, `value: null` deletes.
`get` reads at its place in the order. In the state a key is its own name, its value a JSON text. Anybody may
write.
"""

import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from ledger.application import (
    ApplicationContext,
    Invalid,
    PayloadDecoder,
    Refused,
    StateReader,
    StateView,
    canonical_json,
    refuse_parameters,
)
from ledger.result import MAX_VALUE_BYTES

MAX_KEY_CHARACTERS = 64
"""At most 256 bytes of UTF-8: what the state holds as a key."""

MAX_TEXT_CHARACTERS = 12 * 1024
"""What fits into a transaction of the default limit; as JSON it must fit into a result as well."""

Key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARACTERS)]
"""A name; without control characters, which `_state_key` checks: a pattern here would cost 1 us."""

Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARACTERS)]


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Operation(Struct, frozen=True, tag_field="op", forbid_unknown_fields=True):
    """The base of all operations."""


class Put(Operation, frozen=True, tag="put"):
    """Set a key."""

    key: Key
    value: Text


class Get(Operation, frozen=True, tag="get"):
    """Read a key, in the order."""

    key: Key


class Delete(Operation, frozen=True, tag="delete"):
    """Remove a key."""

    key: Key


class CompareAndSet(Operation, frozen=True, tag="cas"):
    """Change a key that still has the value expected; `None` is for an absent key."""

    key: Key
    expected: Text | None
    value: Text | None


Payload: TypeAlias = Put | Get | Delete | CompareAndSet


class KeyValueMap:
    """The application."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        refuse_parameters("kv", parameters, frozenset())
        self._payloads: PayloadDecoder[Payload] = PayloadDecoder(Payload)
        self._questions: PayloadDecoder[Get] = PayloadDecoder(Get)

    def check(self, payload: bytes) -> None:
        """Raise `Invalid` unless `payload` is an operation in canonical JSON."""
        operation = self._payloads.check(payload)
        _state_key(operation.key)
        if isinstance(operation, Put | CompareAndSet) and operation.value is not None:
            _state_value(operation.value)

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:  # noqa: ARG002
        """Carry out one operation. Raises `Refused`, `Invalid`."""
        operation = self._payloads.decode(payload)
        key = _state_key(operation.key)
        if isinstance(operation, Put):
            state.put(key, _state_value(operation.value))
            return b"true"
        present = state.get(key)
        if isinstance(operation, Get):
            return b"null" if present is None else present
        if isinstance(operation, Delete):
            state.delete(key)
            return b"false" if present is None else b"true"
        return _compare_and_set(operation, key, present, state)

    def query(self, question: bytes, state: StateReader) -> bytes:
        """Answer `{"op": "get", "key": ...}`. Raises `Invalid`."""
        value = state.get(_state_key(self._questions.decode(question).key))
        return b"null" if value is None else value


def _compare_and_set(operation: CompareAndSet, key: bytes, present: bytes | None, state: StateView) -> bytes:
    expected = None if operation.expected is None else _state_value(operation.expected)
    if present != expected:
        raise Refused("the key is absent" if present is None else "the key has another value")
    if operation.value is None:
        state.delete(key)
    else:
        state.put(key, _state_value(operation.value))
    return b"true"


def _state_key(name: str) -> bytes:
    # The short cut holds for ASCII only: what else is printable depends on the version of Unicode.
    if not (name.isascii() and name.isprintable()) and _CONTROL.search(name):
        raise Invalid("a key with a control character")
    return name.encode()


def _state_value(text: str) -> bytes:
    value = canonical_json(text)
    if len(value) > MAX_VALUE_BYTES:
        raise Invalid(f"a value of {len(value)} bytes as JSON, more than the {MAX_VALUE_BYTES} allowed")
    return value
