"""Tetrarch: a Byzantine-fault-tolerant replicated ledger. `import tetrarch` is the public API.

The names below are loaded when they are first used, so that importing the package (and every start of the
command line) costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tetrarch.client.async_client import AsyncClient
    from tetrarch.client.client import Client
    from tetrarch.client.outcome import Outcome, Submission
    from tetrarch.client.querying import Answered
    from tetrarch.client.reading import Verified
    from tetrarch.client.receipt import Receipt
    from tetrarch.errors import (
        ConfigurationError,
        Expired,
        ForkDetected,
        IdempotencyConflict,
        NotEnoughReplies,
        OutcomeUnknown,
        Rejected,
        TetrarchError,
        Unreachable,
        VerificationError,
    )
    from tetrarch.trust import TrustRoot

__all__ = [
    "Answered",
    "AsyncClient",
    "Client",
    "ConfigurationError",
    "Expired",
    "ForkDetected",
    "IdempotencyConflict",
    "NotEnoughReplies",
    "Outcome",
    "OutcomeUnknown",
    "Receipt",
    "Rejected",
    "Submission",
    "TetrarchError",
    "TrustRoot",
    "Unreachable",
    "VerificationError",
    "Verified",
]

_ELSEWHERE = {
    "Answered": "tetrarch.client.querying",
    "AsyncClient": "tetrarch.client.async_client",
    "Client": "tetrarch.client.client",
    "Outcome": "tetrarch.client.outcome",
    "Receipt": "tetrarch.client.receipt",
    "Submission": "tetrarch.client.outcome",
    "TrustRoot": "tetrarch.trust",
    "Verified": "tetrarch.client.reading",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tetrarch' has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "tetrarch.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
