"""How large the largest message can become.

What lives here: the reckoning by which a genesis is refused whose views could never change, because their
NEW-VIEWs would not fit into an envelope. What must not be known here: what a genesis is.
"""

from functools import cache

from consensus.quorum import Quorums
from crypto.attestation import ATTESTATION, MAX_HEIGHT, Attestation, Height
from crypto.batch import MAX_MILLIS, Millis
from crypto.codec import encode
from crypto.digest import ZERO_DIGEST
from crypto.keys import SIGNATURE_BYTES, Signature
from crypto.roster import MAX_EPOCH, MAX_MEMBERS, Epoch, MemberId
from crypto.signed import Certificate, Envelope, Vote
from pbft.messages import MAX_VIEW, PRE_PREPARE, VIEW_CHANGE, PreparedProof, PrePrepare, View, ViewChange

_SIGNATURE = Signature(bytes(SIGNATURE_BYTES))
_VOTE = Vote(MemberId(MAX_MEMBERS - 1), _SIGNATURE)

HEAD_BYTES = 256
"""An envelope without its body, and the heads of the arrays in it, with room."""


@cache
def largest_new_view(n: int, window: int) -> int:
    """Return a bound of the bytes of a NEW-VIEW among `n` members, whatever up to f of them put into theirs.

    A quorum of VIEW-CHANGEs, each with a full window of prepared certificates; a liar may put every member's
    vote into one, where a quorum less one would do.
    """
    proposal = PrePrepare(View(MAX_VIEW), Height(MAX_HEIGHT), ZERO_DIGEST, Millis(MAX_MILLIS), ZERO_DIGEST)
    pre_prepare = _sealed(PRE_PREPARE, encode(proposal))
    proof = len(encode(PreparedProof(pre_prepare, (_VOTE,) * (n - 1))))
    stable = encode(Attestation(Height(MAX_HEIGHT), ZERO_DIGEST))
    checkpoint = Certificate(ATTESTATION, Epoch(MAX_EPOCH), stable, (_VOTE,) * n)
    bare = ViewChange(View(MAX_VIEW), Height(MAX_HEIGHT), checkpoint, ())
    view_change = len(encode(_sealed(VIEW_CHANGE, encode(bare)))) + HEAD_BYTES + window * proof
    proposals = window * len(encode(pre_prepare))
    return HEAD_BYTES + Quorums.byzantine(n).quorum * view_change + proposals


def _sealed(kind: str, body: bytes) -> Envelope:
    return Envelope(kind, Epoch(MAX_EPOCH), MemberId(MAX_MEMBERS - 1), body, _SIGNATURE)
