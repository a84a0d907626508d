"""`kv` with a fault: now and then it writes, and then raises what no application should.

What lives here: the fault. What must not be known here: what a ledger makes of it.
"""

from byzantine.workload import RAISING
from ledger.application import ApplicationContext, StateView
from ledger.applications.kv import KeyValueMap

NAME = RAISING
EVERY = 3


def raises(payload: bytes) -> bool:
    """Whether the application fails after it has carried out `payload`."""
    last = payload.rstrip(b'"}')[-1:]
    return b'"put"' in payload and last.isdigit() and int(last) % EVERY == 0


class RaisingMap(KeyValueMap):
    """Raises `ZeroDivisionError` after every write of a value that ends with a multiple of three."""

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        """Carry out one operation, and fail after some."""
        result = super().execute(context, payload, state)
        if raises(payload):
            raise ZeroDivisionError
        return result
