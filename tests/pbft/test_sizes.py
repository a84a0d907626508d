"""The bound of a NEW-VIEW's size holds, and is no more than a few times too large."""

import pytest

from consensus.quorum import Quorums
from crypto.codec import encode
from crypto.signed import MAX_ENVELOPE_BYTES
from pbft import Limits, largest_new_view
from tests.pbft.bench import Bench


@pytest.mark.parametrize("n", [4, 7])
def test_a_new_view_with_every_slot_prepared_keeps_within_the_bound(n: int) -> None:
    window = 16
    b = Bench(me=3, n=n, limits=Limits(checkpoint_interval=window // 2, window=window))
    quorum = Quorums.byzantine(n).quorum
    # A liar shows more PREPAREs than a certificate needs: those of all backups.
    proofs = [b.proof(b.proposal(sequence, sequence), *range(1, n)) for sequence in range(1, window + 1)]
    new_view = b.new_view(1, *(b.view_change(member, 1, *proofs) for member in range(quorum)))
    b.open(new_view)
    assert len(encode(new_view)) <= largest_new_view(n, window) <= 2 * len(encode(new_view))


@pytest.mark.parametrize(("interval", "members"), [(64, 51), (32, 73), (16, 103), (8, 145)])
def test_an_interval_serves_as_many_members_as_the_protocols_document_says(
    interval: int, members: int
) -> None:
    window = 2 * interval
    assert largest_new_view(members, window) <= MAX_ENVELOPE_BYTES < largest_new_view(members + 1, window)
