"""A state for testing applications alone."""

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.keys import PublicKey
from ledger.application import ApplicationContext

ALICE = PublicKey(b"\xa1" * 32)
BOB = PublicKey(b"\xb0" * 32)


class DictState(dict[bytes, bytes]):
    """The state of one transaction in a dictionary."""

    def put(self, key: bytes, value: bytes) -> None:
        self[key] = value

    def delete(self, key: bytes) -> None:
        self.pop(key, None)


def context(sender: PublicKey = ALICE, time: int = 1000, height: int = 1) -> ApplicationContext:
    return ApplicationContext(sender, Millis(time), Height(height), TxId(bytes(32)))
