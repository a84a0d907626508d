"""What the ledger needs of an ordering engine's certificates, without knowing the engine."""

from collections.abc import Sequence
from typing import Protocol

from crypto.attestation import Height
from crypto.digest import Digest
from crypto.keys import Check
from crypto.roster import MemberId


class CertificateVerifier(Protocol):
    """Judges the opaque certificate that lies beside a block. Implemented by each engine."""

    def checks(self, height: Height, batch: Digest, certificate: bytes) -> Sequence[Check]:
        """Return the signature checks that must all hold for `certificate` to prove `batch` at `height`.

        Raises `CryptoError` where its form, members, kind, epoch or statement are wrong.
        """
        ...

    def signers(self, certificate: bytes) -> tuple[MemberId, ...]:
        """Return the members who signed `certificate`. Raises `CryptoError`."""
        ...
