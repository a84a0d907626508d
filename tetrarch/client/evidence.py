"""Evidence of a fork, as clients meet it: two certificates that exclude each other.

What lives here: what is shown to people and to auditors. What must not be known here: how it was found.
"""

from msgspec import Struct

from crypto.attestation import attested
from crypto.signed import Certificate
from ledger.block import Header


class ForkEvidence(Struct, frozen=True):
    """Two statements, each signed by as many members as a client believes.

    Without `header` they name two blocks at one height. With it, `second` attests the block of this header,
    whose parent is not the block that `first` attests one height below.
    """

    first: Certificate
    second: Certificate
    header: Header | None = None

    @property
    def members(self) -> tuple[int, ...]:
        """Those who signed both, ascending: proven liars where the two name one height."""
        return tuple(sorted(_signers(self.first) & _signers(self.second)))

    def __str__(self) -> str:
        one, two = attested(self.first), attested(self.second)
        if self.header is None:
            return f"two blocks at height {one.height}: {one.block_hash.hex()} and {two.block_hash.hex()}"
        parent = self.header.parent.hex()
        return f"block {two.height} has the parent {parent}, block {one.height} is {one.block_hash.hex()}"


def _signers(certificate: Certificate) -> set[int]:
    return {vote.signer for vote in certificate.votes}
