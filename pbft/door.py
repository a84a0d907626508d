"""The door: what an envelope must be before the engine sees it.

Bytes from outside become `Signed[Message]` here, once. The door checks form, members, epoch, and all
that can be checked without the engine's state, and lists the signatures that must verify, those of
nested certificates included. It holds no state itself.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from consensus.quorum import Quorums
from crypto import merkle
from crypto.attestation import ATTESTATION, Height, attested
from crypto.batch import TxId, batch_digest
from crypto.codec import encode
from crypto.digest import DIGEST_BYTES
from crypto.errors import CertificateError
from crypto.keys import Check
from crypto.roster import Roster
from crypto.signed import Certificate, Envelope, Signed, certificate_checks, envelope_check
from pbft.messages import (
    PRE_PREPARE,
    PREPARE,
    VIEW_CHANGE,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    Proposal,
    Stable,
    View,
    ViewChange,
    kinds,
    primary_of,
)
from pbft.new_view import implied, repeats


def split_ids(beside: bytes) -> list[TxId]:
    """Return the ids that travel beside a proposal. Raises `CertificateError` for a ragged length."""
    if len(beside) % DIGEST_BYTES:
        raise CertificateError("the list of ids is not a whole number of ids")
    return [TxId(beside[at : at + DIGEST_BYTES]) for at in range(0, len(beside), DIGEST_BYTES)]


class Door:
    """Opens envelopes of one epoch."""

    def __init__(self, roster: Roster, window: int, max_batch: int) -> None:
        self._roster = roster
        self._quorums = Quorums.byzantine(roster.n)
        self._window = window
        self._max_batch = max_batch
        self._judges: dict[type, Callable[[Envelope, Any], list[Check]]] = {
            PrePrepare: self._pre_prepare,
            Proposal: self._proposal,
            ViewChange: self._view_change,
            NewView: self._new_view,
            Stable: self._stable,
        }

    def open(self, envelope: Envelope) -> tuple[Signed[Any], list[Check]]:
        """Return the message and the signature checks it needs, nested ones included.

        Raises `CryptoError` for anything malformed, of another epoch, by a stranger, or by a member
        whose part it is not.
        """
        message = kinds.decode(envelope)
        checks = [envelope_check(self._roster, envelope)]
        judge = self._judges.get(type(message))
        if judge is not None:
            checks += judge(envelope, message)
        elif envelope.beside:
            raise CertificateError(f"{envelope.kind} carries data beside it")
        return Signed(message, envelope), checks

    def _pre_prepare(self, envelope: Envelope, message: PrePrepare) -> list[Check]:
        if envelope.signer != primary_of(message.view, self._roster.n):
            raise CertificateError("a PRE-PREPARE by a backup")
        self.require_digest(message, message.digest)
        self._require_ids(envelope, message.root)
        return []

    def _proposal(self, envelope: Envelope, message: Proposal) -> list[Check]:
        self._require_ids(envelope, message.root)
        return []

    def require_digest(self, message: PrePrepare, digest: bytes) -> None:
        """Raise `CertificateError` unless `digest` is the batch digest of what `message` proposes."""
        bound = batch_digest(self._roster.chain_id, message.sequence, message.timestamp, message.root)
        if bound != digest:
            raise CertificateError("the digest is not that of chain, sequence, timestamp and root")

    def _require_ids(self, envelope: Envelope, root: bytes) -> None:
        """The ids beside a proposal are distinct, few enough, and hash to the signed root."""
        ids = split_ids(envelope.beside)
        if len(ids) > self._max_batch:
            raise CertificateError(f"{len(ids)} transactions, at most {self._max_batch} are allowed")
        if len(set(ids)) != len(ids):
            raise CertificateError("a transaction is listed twice")
        if merkle.root(ids) != root:
            raise CertificateError("the ids do not hash to the transaction root")

    def _stable(self, envelope: Envelope, message: Stable) -> list[Check]:
        if envelope.beside:
            raise CertificateError("STABLE carries data beside it")
        return self.checkpoint(message.checkpoint)

    def checkpoint(self, certificate: Certificate) -> list[Check]:
        """Return the checks of a stable checkpoint's certificate: attestations by a quorum."""
        attested(certificate)
        return certificate_checks(self._roster, certificate, ATTESTATION, self._quorums.quorum)

    def _view_change(self, envelope: Envelope, message: ViewChange) -> list[Check]:
        if envelope.beside:
            raise CertificateError("VIEW-CHANGE carries data beside it")
        if message.view == 0:
            raise CertificateError("a VIEW-CHANGE to view 0")
        checks = self._certified_stable(message)
        if len(message.prepared) > self._window:
            raise CertificateError("more prepared certificates than the window holds")
        last = message.stable
        for proof in message.prepared:
            sequence, more = self.prepared(proof, message.view)
            if not last < sequence <= message.stable + self._window:
                raise CertificateError("prepared certificates out of order or outside the window")
            last = sequence
            checks += more
        return checks

    def _certified_stable(self, message: ViewChange) -> list[Check]:
        if message.checkpoint is None:
            if message.stable != 0:
                raise CertificateError("a stable checkpoint without its certificate")
            return []
        checks = self.checkpoint(message.checkpoint)
        if attested(message.checkpoint).height != message.stable or message.stable == 0:
            raise CertificateError("the certificate is of another checkpoint")
        return checks

    def prepared(self, proof: PreparedProof, view: View) -> tuple[Height, list[Check]]:
        """Return the sequence of a prepared certificate for a view below `view`, and its checks."""
        envelope = proof.pre_prepare
        if envelope.kind != PRE_PREPARE or envelope.beside:
            raise CertificateError("a prepared certificate without its bare PRE-PREPARE")
        message = kinds.decode(envelope)
        if not isinstance(message, PrePrepare) or message.view >= view:
            raise CertificateError("a prepared certificate of no earlier view")
        primary = primary_of(message.view, self._roster.n)
        if envelope.signer != primary:
            raise CertificateError("a prepared certificate on a backup's PRE-PREPARE")
        if any(vote.signer == primary for vote in proof.prepares):
            raise CertificateError("the primary's own PREPARE never counts")
        self.require_digest(message, message.digest)
        body = encode(Prepare(message.view, message.sequence, message.digest))
        votes = Certificate(PREPARE, envelope.epoch, body, proof.prepares)
        checks = certificate_checks(self._roster, votes, PREPARE, self._quorums.quorum - 1)
        return message.sequence, [envelope_check(self._roster, envelope), *checks]

    def _new_view(self, envelope: Envelope, message: NewView) -> list[Check]:
        if envelope.beside:
            raise CertificateError("NEW-VIEW carries data beside it")
        if envelope.signer != primary_of(message.view, self._roster.n):
            raise CertificateError("a NEW-VIEW by a backup")
        changes, checks = self._view_changes(message)
        expected = implied(self._roster.chain_id, changes)
        if len(message.pre_prepares) != len(expected.proposals):
            raise CertificateError("NEW-VIEW proposes other sequences than its VIEW-CHANGEs imply")
        for bare, proposal in zip(message.pre_prepares, expected.proposals, strict=True):
            checks.append(self._proposed_again(bare, envelope))
            pre_prepare = kinds.decode(bare)
            if not isinstance(pre_prepare, PrePrepare) or not repeats(proposal, message.view, pre_prepare):
                raise CertificateError(f"NEW-VIEW changes what sequence {proposal.sequence} must be")
        return checks

    def _proposed_again(self, bare: Envelope, new_view: Envelope) -> Check:
        if bare.kind != PRE_PREPARE or bare.beside or bare.signer != new_view.signer:
            raise CertificateError("NEW-VIEW holds something else than its primary's PRE-PREPAREs")
        return envelope_check(self._roster, bare)

    def _view_changes(self, message: NewView) -> tuple[list[ViewChange], list[Check]]:
        signers = [nested.signer for nested in message.view_changes]
        if any(a >= b for a, b in pairwise(signers)):
            raise CertificateError("VIEW-CHANGEs repeated or out of order")
        self._roster.require(signers, self._quorums.quorum)
        changes: list[ViewChange] = []
        checks: list[Check] = []
        for nested in message.view_changes:
            if nested.kind != VIEW_CHANGE:
                raise CertificateError("NEW-VIEW holds something else than VIEW-CHANGEs")
            signed, more = self.open(nested)
            if signed.message.view != message.view:
                raise CertificateError("a VIEW-CHANGE for another view")
            changes.append(signed.message)
            checks += more
        return changes, checks
