"""Commit certificates: how a quorum of COMMITs travels as opaque bytes, and how it is judged."""

from collections.abc import Sequence

from consensus.quorum import Quorums
from crypto.attestation import Height
from crypto.codec import StrictDecoder, encode
from crypto.digest import Digest
from crypto.errors import CertificateError
from crypto.keys import Check
from crypto.roster import MemberId, Roster
from crypto.signed import Certificate, Signed, certificate_checks, certificates, make_certificate
from pbft.messages import COMMIT, Commit, View

MAX_COMMIT_BYTES = 256
"""View, sequence and digest take at most 53."""

_commits = StrictDecoder(Commit, MAX_COMMIT_BYTES)


def commit_certificate(commits: Sequence[Signed[Commit]]) -> bytes:
    """Return the certificate that a quorum of matching COMMITs makes."""
    return encode(make_certificate(commits[0].envelope, [commit.vote for commit in commits]))


def deciding_view(certificate: bytes) -> View:
    """Return the view whose COMMITs make up `certificate`, which was verified. Raises `CryptoError`."""
    return _commits.decode(certificates.decode(certificate).body).view


class CommitVerifier:
    """Judges commit certificates against one epoch's roster (`ledger.certificates.CertificateVerifier`)."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._quorum = Quorums.byzantine(roster.n).quorum

    def statement(self, certificate: bytes) -> tuple[Certificate, Commit]:
        """Return the certificate and what its members committed. Raises `CryptoError`."""
        decoded = certificates.decode(certificate)
        return decoded, _commits.decode(decoded.body)

    def checks(self, height: Height, batch: Digest, certificate: bytes) -> Sequence[Check]:
        """Return the signature checks that prove that a quorum committed `batch` at `height`.

        Raises `CryptoError` where form, members, kind, epoch or statement are wrong.
        """
        decoded, commit = self.statement(certificate)
        if commit.sequence != height or commit.digest != batch:
            raise CertificateError(f"the certificate is not for this batch at height {height}")
        return certificate_checks(self._roster, decoded, COMMIT, self._quorum)

    def signers(self, certificate: bytes) -> tuple[MemberId, ...]:
        """Return the members who signed `certificate`. Raises `CryptoError`."""
        return tuple(vote.signer for vote in certificates.decode(certificate).votes)
