"""What messages and records of the real engine tell whoever watches it."""

from consensus.contract import Record
from consensus.milestones import Step
from crypto.attestation import Height
from pbft import PbftMilestones
from pbft.records import ACCEPTED, CONTENT, PREPARED, VIEW_KEY, slot_key

READER = PbftMilestones()


def test_a_deleted_record_and_one_of_no_batch_mean_no_step() -> None:
    for kind in (ACCEPTED, CONTENT, PREPARED):
        assert READER.reached(Record(slot_key(kind, Height(3)), None)) is None
    assert READER.reached(Record(VIEW_KEY, b"x")) is None


def test_steps_and_heights_are_read_from_the_keys_alone() -> None:
    for kind, step in ((ACCEPTED, Step.ACCEPTED), (CONTENT, Step.ACCEPTED), (PREPARED, Step.PREPARED)):
        milestone = READER.reached(Record(slot_key(kind, Height(77)), b"not looked at"))
        assert milestone is not None
        assert (milestone.step, milestone.height) == (step, 77)
