"""Events become messages, and what contradicts itself is found from the trace alone."""

from typing import Any

from byzantine.reports.frames import Fate, conflicts, read
from byzantine.trace import Event, What
from tests.byzantine.reports.traces import Maker, equivocation, fork, quiet


def sent(number: int, kind: str, source: str = "0", target: str = "1", at: int = 10, **fields: Any) -> Event:
    return Event(at, What.SENT, source, target, number, kind, **fields)


def versions(*events: Event, n: int = 4) -> list[str]:
    return [message.version for message in read(events, n)]


def test_a_message_ends_where_and_when_its_frame_did():
    events = [
        sent(1, "prepare"),
        sent(2, "prepare", target="2"),
        sent(3, "prepare", target="3"),
        sent(4, "commit"),
        Event(12, What.CUT, "0", "3", 3),
        Event(15, What.DELIVERED, "0", "1", 1),
        Event(16, What.LOST, "0", "2", 2),
    ]
    assert [(message.number, message.fate, message.ended_us) for message in read(events, 4)] == [
        (1, Fate.DELIVERED, 15),
        (2, Fate.LOST, 16),
        (3, Fate.CUT, 12),
        (4, Fate.UNDER_WAY, 10),
    ]


def test_a_frame_that_is_delivered_twice_is_two_messages():
    events = [
        sent(1, "prepare"),
        Event(15, What.DELIVERED, "0", "1", 1),
        Event(19, What.DELIVERED, "0", "1", 1),
    ]
    assert [message.ended_us for message in read(events, 4)] == [15, 19]


def test_what_arrives_without_having_been_sent_is_kept_and_says_so():
    (message,) = read([Event(15, What.DELIVERED, "0", "1", 9, "prepare")], 4)
    assert "not in the trace" in message.note


def test_two_proposals_for_one_slot_contradict_each_other():
    place: dict[str, Any] = {"view": 0, "sequence": 5}
    assert versions(
        sent(1, "pre-prepare", digest="aa", **place),
        sent(2, "pre-prepare", target="2", digest="bb", **place),
        sent(3, "pre-prepare", target="3", digest="bb", **place),
    ) == ["A", "B", "B"]


def test_another_view_slot_kind_or_signer_is_no_contradiction():
    assert not any(
        versions(
            sent(1, "prepare", view=0, sequence=5, digest="aa"),
            sent(2, "prepare", view=1, sequence=5, digest="bb"),
            sent(3, "prepare", view=0, sequence=6, digest="cc"),
            sent(4, "commit", view=0, sequence=5, digest="dd"),
            sent(5, "prepare", source="1", view=0, sequence=5, digest="ee"),
        )
    )


def test_attestations_contradict_by_height_alone_and_view_changes_by_view_alone():
    assert versions(
        sent(1, "attestation", sequence=8, digest="aa"), sent(2, "attestation", sequence=8, digest="bb")
    ) == ["A", "B"]
    assert versions(
        sent(1, "view-change", view=2, digest="aa"), sent(2, "view-change", view=2, digest="bb")
    ) == [
        "A",
        "B",
    ]


def test_what_may_differ_each_time_is_no_contradiction():
    assert not any(
        versions(
            *(
                sent(number, kind, view=0, sequence=1, digest=f"d{number}")
                for number, kind in enumerate(
                    ("status", "status", "bodies", "bodies", "proposal", "proposal")
                )
            )
        )
    )


def test_who_passes_on_what_another_signed_does_not_contradict_itself():
    own = sent(1, "view-change", source="2", view=1, digest="aa")
    passed_on = sent(2, "view-change", source="2", view=1, digest="bb", signer="3")
    assert versions(own, passed_on) == ["", ""]


def test_new_views_are_their_primarys_whoever_passes_them_on():
    events = [
        sent(1, "new-view", source="1", view=1, digest="aa"),
        sent(2, "new-view", source="3", view=1, digest="bb"),
    ]
    messages = read(events, 4)
    assert [message.version for message in messages] == ["A", "B"]
    assert {message.signer for message in messages} == {"1"}


def test_a_kind_may_be_written_as_the_engine_or_the_wire_does():
    messages = read([sent(1, "pbft/pre-prepare", view=0), sent(2, "AskBodies")], 4)
    assert [message.family.key for message in messages] == ["pre-prepare", "bodies"]


def test_all_that_clients_send_and_get_is_theirs():
    messages = read(
        [sent(1, "submit", source="client"), sent(2, "attested", target="client"), sent(3, "odd")], 4
    )
    assert [message.family.key for message in messages] == ["client", "client", "other"]


def test_a_lie_marks_what_its_member_sent_at_that_moment():
    lie = Event(10, What.LIED, "0", kind="equivocate")
    messages = read([lie, sent(1, "prepare"), sent(2, "prepare", source="1"), sent(3, "prepare", at=11)], 4)
    assert [message.lie for message in messages] == ["equivocate", "", ""]


def test_a_lie_that_names_a_receiver_slot_or_frame_means_no_other():
    events = [
        Event(10, What.LIED, "0", target="2", kind="for two"),
        Event(10, What.LIED, "0", kind="in nine", sequence=9),
        Event(10, What.LIED, "0", kind="frame three", number=3),
        sent(1, "prepare", sequence=1),
        sent(2, "prepare", target="2", sequence=1),
        sent(3, "prepare", sequence=9),
    ]
    assert [message.lie for message in read(events, 4)] == ["", "for two", "in nine, frame three"]


def test_honest_runs_hold_no_contradiction():
    assert not conflicts(read(quiet(), 4))


def test_each_contradiction_of_a_run_is_found_once():
    (group,) = conflicts(read(equivocation(), 4))
    assert [(one.kind, one.version, one.digest) for one in group] == [
        ("pre-prepare", "A", "aaaa0002"),
        ("pre-prepare", "B", "bbbb0002"),
    ]
    assert {(group[0].signer, group[0].kind) for group in conflicts(read(fork(), 4))} == {
        ("0", "pre-prepare"),
        ("1", "prepare"),
        ("0", "commit"),
        ("1", "commit"),
    }


def test_votes_for_a_slot_with_two_proposals_tell_which_one_they_are_for():
    messages = [
        message for message in read(equivocation(), 4) if message.kind == "prepare" and message.view == 0
    ]
    assert {(message.digest, message.side) for message in messages if message.sequence == 2} == {
        ("aaaa0002", "A"),
        ("bbbb0002", "B"),
    }
    assert {message.side for message in messages if message.sequence == 1} == {""}


def test_a_trace_of_seven_is_read_as_well():
    maker = Maker(7)
    maker.run_slots(0, 0, range(1, 3))
    messages = read(maker.events, 7)
    assert len(messages) == sum(event.what is What.SENT for event in maker.events)
