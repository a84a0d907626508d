"""Models of applications, written apart from them: what each result must be, given all before it.

What lives here: `kv`, as docs and the application's own table describe it, over a plain dictionary. What must
not be known here: the ledger's state and how it is stored.
"""

from typing import Protocol

from msgspec import MsgspecError
from msgspec.json import Decoder, Encoder

from byzantine import raising
from crypto.digest import Digest
from ledger.application import canonical_json
from ledger.result import Result, ResultCode
from ledger.state import state_root
from ledger.transaction import ParsedTransaction


class Model(Protocol):
    """One application computed anew."""

    def apply(self, transaction: ParsedTransaction, result: Result, height: int, time: int) -> str | None:
        """Carry out the next transaction; return what is wrong with `result`, or `None`."""
        ...

    def root(self) -> Digest:
        """Return the root of the state, computed from nothing but the state."""
        ...


def make_model(application: str) -> Model | None:
    """Return a new model of an application; `None` where there is none."""
    kind = MODELS.get(application)
    return None if kind is None else kind()


_payloads = Decoder(dict[str, str | None])
_json = Encoder()


class KeyValueModel:
    """`kv`: put, get, delete, cas over texts."""

    def __init__(self) -> None:
        self.state: dict[str, str] = {}
        self._executed: dict[bytes, int] = {}

    def apply(self, transaction: ParsedTransaction, result: Result, height: int, time: int) -> str | None:
        """Carry out the next transaction; return what is wrong with `result`, or `None`."""
        first = self._executed.get(transaction.id)
        if first is not None:
            right = result.code is ResultCode.REPEATED and result.first_height == first
            return None if right else f"a repeat of block {first} has the result {result.code}"
        if transaction.transaction.valid_until < time:
            return None if result.code is ResultCode.EXPIRED else f"expired, and has the result {result.code}"
        self._executed[transaction.id] = height
        if self.raises(transaction.transaction.payload):
            return None if result.code is ResultCode.ERROR else f"must be an error, and is {result.code}"
        try:
            operation = _payloads.decode(transaction.transaction.payload)
        except MsgspecError:
            return None if result.code is not ResultCode.OK else "is no operation, and has a result"
        expected = self._carry_out(operation)
        if expected is None:
            return None if result.code is ResultCode.FAILED else f"must be refused, and is {result.code}"
        if result.code is not ResultCode.OK or result.value != expected:
            return f"must give {expected.decode()}, and is {result.code} {result.value.decode()}"
        return None

    def root(self) -> Digest:
        """Return the root of the state, computed from nothing but the state."""
        return state_root((key.encode(), canonical_json(value)) for key, value in self.state.items())

    def raises(self, payload: bytes) -> bool:  # noqa: ARG002  # of those that do
        """Whether the application fails at `payload`, and so leaves nothing behind."""
        return False

    def _carry_out(self, operation: dict[str, str | None]) -> bytes | None:
        """Return the value; `None`: refused."""
        key, state = operation["key"] or "", self.state
        present = state.get(key)
        match operation["op"]:
            case "put":
                state[key] = operation["value"] or ""
                return b"true"
            case "get":
                return _json.encode(present)
            case "delete":
                state.pop(key, None)
                return _json.encode(present is not None)
            case _:
                if present != operation["expected"]:
                    return None
                if operation["value"] is None:
                    state.pop(key, None)
                else:
                    state[key] = operation["value"]
                return b"true"


class RaisingModel(KeyValueModel):
    """`kv` that now and then raises what it should not."""

    def raises(self, payload: bytes) -> bool:
        """As the application does."""
        return raising.raises(payload)


MODELS: dict[str, type[KeyValueModel]] = {"kv": KeyValueModel, raising.NAME: RaisingModel}
