"""Results: what executing one transaction came to, as it is stored, proven and read by clients.

What lives here: the struct, its codes, its limits. What must not be known here: how results come about. The
canonical bytes of a `Result` stand beside the transaction's id in the block's result tree.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from crypto.attestation import Height, HeightField
from crypto.codec import StrictDecoder, encode

MAX_VALUE_BYTES = 16 * 1024
"""The longest value an application may return: a transaction's default limit, so what was put can be got."""

MAX_REASON_CHARACTERS = 200
"""Of an application's reason: a sentence for people. It is stored with every refusal."""

MAX_RESULT_BYTES = MAX_VALUE_BYTES + 4 * MAX_REASON_CHARACTERS + 64
"""A whole result, encoded."""


class ResultCode(StrEnum):
    """What became of a transaction in its block."""

    OK = "ok"
    """Executed; its writes stand."""
    FAILED = "failed"
    """Refused by the application at execution, for the reason given; it wrote nothing."""
    ERROR = "error"
    """The application raised what it must not, or broke a limit; it wrote nothing."""
    REPEATED = "repeated"
    """Executed before: `first_height` says where. It was not executed again."""
    EXPIRED = "expired"
    """Its valid_until lies before the block's time. It was not executed, and never will be."""


class Result(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The result of one transaction in one block."""

    code: ResultCode
    value: Annotated[bytes, Meta(max_length=MAX_VALUE_BYTES)] = b""
    """What the application returned: JSON."""
    reason: Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS)] = ""
    """Why it failed, for people; the same on every replica."""
    first_height: HeightField = Height(0)
    """Where a repeated transaction was executed; 0 for all others."""

    @property
    def executed(self) -> bool:
        """Whether the id counts as executed from this block on."""
        return self.code not in _NOT_EXECUTED


_NOT_EXECUTED = frozenset({ResultCode.REPEATED, ResultCode.EXPIRED})

results = StrictDecoder(Result, MAX_RESULT_BYTES)
"""Decodes a result's canonical bytes. Raises `CodecError`."""

_OK = ResultCode.OK  # looking a member up costs as much as making the result
EXPIRED_RESULT = encode(Result(ResultCode.EXPIRED))


def ok_result(value: bytes) -> bytes:
    """Return the canonical bytes of a success. `value` has at most MAX_VALUE_BYTES."""
    return encode(Result(_OK, value))


def bounded_reason(reason: str) -> str:
    """Return a reason that an application gave, cut at MAX_REASON_CHARACTERS and made encodable."""
    return reason[:MAX_REASON_CHARACTERS].encode("utf-8", "replace").decode()


def given_reason(error: BaseException, otherwise: str) -> str:
    """Return the bounded reason that an application raised `error` with; `otherwise` where it is no text.

    It is not asked for by `str`, which could be the application's own and raise in its turn.
    """
    reason = error.args[0] if error.args else None
    return bounded_reason(reason) if isinstance(reason, str) else otherwise


def failed_result(reason: str) -> bytes:
    """Return the canonical bytes of a refusal at execution, for a reason of the application's own."""
    return encode(Result(ResultCode.FAILED, reason=bounded_reason(reason)))


def error_result(reason: str) -> bytes:
    """Return the canonical bytes of an application's fault. `reason` is one of this package's own texts."""
    return encode(Result(ResultCode.ERROR, reason=reason))


def repeated_result(first_height: Height) -> bytes:
    """Return the canonical bytes of the marker for a transaction that was executed at `first_height`."""
    return encode(Result(ResultCode.REPEATED, first_height=first_height))
