"""Signed statements of a chain's members for tests, one pair for each kind of contradiction."""

from crypto.attestation import Attestation, Height
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.digest import digest
from crypto.roster import MemberId
from crypto.signed import Envelope
from ledger.genesis import Genesis
from pbft.messages import Commit, NewView, Prepare, PrePrepare, View, ViewChange, kinds
from tests.tetrarch.node.support import KEYS
from tetrarch.engines import ordering
from tetrarch.evidence import Evidence


def sign(genesis: Genesis, member: int, message: object) -> Envelope:
    return kinds.seal(genesis.roster(), MemberId(member), KEYS[member], message).envelope


def proposal(genesis: Genesis, name: bytes, sequence: int = 7) -> PrePrepare:
    stamp, root = Millis(5), transaction_root([digest("transaction", name)])
    batch = batch_digest(genesis.chain_id, Height(sequence), stamp, root)
    return PrePrepare(View(0), Height(sequence), batch, stamp, root)


def pairs(genesis: Genesis) -> dict[str, tuple[Envelope, Envelope]]:
    """One contradiction of each kind; the accused is member 0 or 2."""
    a, b = (proposal(genesis, name) for name in (b"a", b"b"))
    votes = [(Prepare(p.view, p.sequence, p.digest), Commit(p.view, p.sequence, p.digest)) for p in (a, b)]
    empty = ViewChange(View(2), Height(0), None, ())
    changes = [tuple(sign(genesis, m, empty) for m in members) for members in ((0, 1, 2), (1, 2, 3))]
    starts = [sign(genesis, 2, NewView(View(2), change, ())) for change in changes]
    blocks = [sign(genesis, 2, Attestation(Height(8), p.digest)) for p in (a, b)]
    prepare, commit = ([sign(genesis, 2, vote) for vote in both] for both in zip(*votes, strict=True))
    other = ViewChange(View(2), Height(4), None, ())
    return {
        "pre-prepares": (sign(genesis, 0, a), sign(genesis, 0, b)),
        "prepares": (prepare[0], prepare[1]),
        "commits": (commit[0], commit[1]),
        "votes": (prepare[0], commit[1]),
        "attestations": (blocks[0], blocks[1]),
        "view-changes": (sign(genesis, 2, empty), sign(genesis, 2, other)),
        "new-views": (starts[0], starts[1]),
        "hidden-commit": (commit[0], sign(genesis, 2, empty)),
    }


def evidence(genesis: Genesis, first: Envelope, second: Envelope) -> Evidence:
    found = ordering(genesis, genesis.roster()).evidence.contradiction(first, second)
    assert found is not None
    return Evidence.of(genesis, found)
