"""The application: a deterministic state machine behind a small interface, and how one is found by name.

What lives here: the interface, what an application may raise, strict JSON for payloads, the loader. What must
not be known here: blocks, stores, how writes are layered.

The rules for an application, which no code can enforce: the same payload, context and state must give the
same bytes and the same writes on every machine and every Python version. So no clock (the block's time is in
the context), no randomness, no floats in results or state, no order of sets or of `hash()`, no text of
somebody else's exceptions, no network, no files, and no loop that input can make endless.
"""

import importlib
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.keys import PublicKey
from ledger.errors import ApplicationError, LedgerError

T = TypeVar("T")

MAX_QUESTION_BYTES = 16 * 1024
"""A question's length: as much as a transaction may have by default."""

MAX_ANSWER_BYTES = 256 * 1024
"""An answer's length: a few values of the largest size, and little enough for several replicas to send."""


class Invalid(LedgerError):
    """The payload is wrong whatever the state: it is refused for good. The reason is for people."""


class Refused(LedgerError):
    """The state does not allow it: the result is `failed`, with this reason, and no write stands.

    The reason is part of the result: it must be the same on every replica. It is cut at 200 characters.
    """


class ApplicationContext(msgspec.Struct, frozen=True):
    """Whose transaction is executed, where and when. `time` is the block's, in ms since the epoch."""

    sender: PublicKey
    time: Millis
    height: Height
    tx_id: TxId


class StateReader(Protocol):
    """Read access to the state."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`. A key has at most 256 bytes."""
        ...


class StateView(StateReader, Protocol):
    """The state as one transaction sees it: earlier ones' writes, those of its own block included, and its
    own."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of `key`: at most 64 KiB, and 256 KiB in all in one transaction."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove `key`, whether or not it is there."""
        ...


class Application(Protocol):
    """A state machine. Made once with the genesis' parameters, as `Class(parameters)`.

    State keys are UTF-8 names that a person would type, state values are JSON: readers see both.
    """

    def check(self, payload: bytes) -> None:
        """Raise `Invalid` for a payload that no state would allow. Looks at nothing but the payload."""
        ...

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        """Carry out `payload` and return the result's value (JSON, at most 16 KiB).

        Raises `Refused`, or `Invalid` for a payload that `check` would not have let through: a faulty
        proposer can have such a one ordered. Whatever else it raises becomes the result `error`.
        """
        ...

    def query(self, question: bytes, state: StateReader) -> bytes:
        """Answer a question (JSON, at most 16 KiB) about the state, in JSON of at most 256 KiB, changing
        nothing.

        Raises `Invalid` for a question that is wrong whatever the state. Clients believe an answer when
        enough replicas give the same bytes, so the rules above hold here too. And it must be quick: nothing
        else happens at the replica meanwhile, and anybody who can connect may ask.
        """
        ...


class PayloadDecoder(Generic[T]):
    """Strict JSON for payloads: one typed form, known fields only, bounded numbers and texts.

    `decode` accepts what the type allows; `check` moreover insists on the canonical form (sorted keys, no
    white space, no key twice, no needless escapes), so that no two readers can understand one payload
    differently.
    """

    __slots__ = ("_decoder",)

    def __init__(self, target: Any) -> None:
        """`target` is a struct or a union of tagged structs, with `forbid_unknown_fields=True`."""
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(target)

    def decode(self, payload: bytes) -> T:
        """Return the value in `payload`. Raises `Invalid`."""
        try:
            return self._decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Invalid(f"{error}") from None

    def check(self, payload: bytes) -> T:
        """Return the value in `payload`, which must be canonical. Raises `Invalid`."""
        value = self.decode(payload)
        if canonical_json(msgspec.json.decode(payload)) != payload:
            raise Invalid("not canonical JSON: keys sorted, each once, no white space, no needless escapes")
        return value


_json = msgspec.json.Encoder(order="sorted")


def canonical_json(value: object) -> bytes:
    """Return the canonical JSON of plain values: UTF-8, keys sorted, no white space."""
    return _json.encode(value)


def load_application(name: str, parameters: Mapping[str, str]) -> Application:
    """Return the application that a genesis names: `kv`, `assets`, `notary`, or one's own as `module:Class`.

    A module named in a genesis is imported and run: whoever starts a replica trusts its genesis. Raises
    `ApplicationError` for a name that leads nowhere, a class without the interface, or wrong parameters.
    """
    module_name, separator, class_name = SHIPPED.get(name, name).partition(":")
    if not separator or not module_name or not class_name:
        raise ApplicationError(
            f"application {name!r}: neither one of {', '.join(sorted(SHIPPED))} nor of the form module:Class"
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module runs its own code when imported
        absent = isinstance(error, ModuleNotFoundError)
        hint = " (is the directory that holds it on PYTHONPATH?)" if absent else ""
        raise ApplicationError(
            f"application {name!r}: the module cannot be imported: {error}{hint}"
        ) from error
    factory = getattr(module, class_name, None)
    if not isinstance(factory, type):
        raise ApplicationError(f"application {name!r}: {module_name} has no class {class_name}")
    missing = [method for method in _METHODS if not callable(getattr(factory, method, None))]
    if missing:
        raise ApplicationError(f"application {name!r}: {class_name} has no method {', '.join(missing)}")
    try:
        application: Application = factory(dict(parameters))
    except ApplicationError:
        raise
    except Exception as error:  # and so does a class when made
        raise ApplicationError(f"application {name!r}: its parameters are refused: {error}") from error
    return application


SHIPPED: Mapping[str, str] = {
    "assets": "ledger.applications.assets:Assets",
    "kv": "ledger.applications.kv:KeyValueMap",
    "notary": "ledger.applications.notary:Notary",
}
"""The applications that come with this package."""

_METHODS = ("check", "execute", "query")


def refuse_parameters(application: str, parameters: Mapping[str, str], known: frozenset[str]) -> None:
    """Raise `ApplicationError` for parameters that an application does not know."""
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise ApplicationError(f"application {application!r}: unknown parameter {', '.join(unknown)}")
