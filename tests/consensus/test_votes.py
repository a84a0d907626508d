"""Votes: one per member, the first stands, the second is a conflict; counting is by content."""

from consensus.votes import Votes
from crypto.attestation import Attestation, Height
from crypto.digest import Digest
from crypto.keys import Signature
from crypto.roster import Epoch, MemberId
from crypto.signed import Envelope, Signed


def vote(member: int, said: int) -> Signed[Attestation]:
    message = Attestation(Height(said), Digest(bytes(32)))
    return Signed(message, Envelope("attestation", Epoch(0), MemberId(member), b"", Signature(bytes(64))))


def test_repeating_a_vote_is_neither_counted_nor_a_conflict() -> None:
    votes: Votes[Attestation] = Votes()
    assert votes.add(vote(1, 5)) is None
    assert votes.add(vote(1, 5)) is None
    assert votes.leading(2) == []


def test_the_first_vote_stands_and_the_second_is_given_back_as_a_conflict() -> None:
    votes: Votes[Attestation] = Votes()
    votes.add(vote(1, 5))
    assert votes.add(vote(1, 6)) == vote(1, 5)
    assert votes.matching(vote(0, 6).message) == []


def test_a_quorum_counts_distinct_members_that_say_the_same_in_ascending_order() -> None:
    votes: Votes[Attestation] = Votes()
    for member, said in ((3, 5), (0, 6), (2, 5), (1, 5)):
        votes.add(vote(member, said))
    assert [held.signer for held in votes.leading(3)] == [1, 2, 3]
    assert votes.leading(4) == []
