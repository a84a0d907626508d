"""The checker of linearizability: histories known to be good and known to be bad, and all small ones."""

import re
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from byzantine.history import Kind, Operation, Outcome, demand
from byzantine.linearizability import check
from byzantine.verdicts import Verdict
from ledger.application import Refused, canonical_json, load_application
from tests.byzantine.histories import (
    PERHAPS,
    any_histories,
    asked,
    cas,
    delete,
    explains,
    get,
    good_histories,
    has_an_order,
    hinted,
    put,
    spoilt_histories,
)
from tests.ledger.states import DictState, context

GOOD = {
    "a read after a write sees it": [put("1", 0, 1), get("1", 2, 3)],
    "a key is absent before anything was written": [get(None, 0, 1), put("1", 2, 3)],
    "a read beside a write sees the old value": [put("1", 0, 1), put("2", 2, 9), get("1", 3, 4)],
    "a read beside a write sees the new value": [put("1", 0, 1), put("2", 2, 9), get("2", 3, 4)],
    "old, then new, while the write goes on": [put("1", 0, 9), get(None, 1, 2), get("1", 3, 4)],
    "reads beside each other see new and old": [put("1", 0, 9), get("1", 1, 5), get(None, 2, 6)],
    "the later of two writes beside each other was first": [put("1", 0, 9), put("2", 1, 8), get("1", 10, 11)],
    "of two writes beside each other the first to return was last": [
        put("1", 0, 9),
        put("2", 1, 8),
        cas("2", "3", True, 10, 11),
    ],
    "a deleted key is absent": [put("1", 0, 1), delete(True, 2, 3), get(None, 4, 5), delete(False, 6, 7)],
    "of two deletes one found the key": [put("1", 0, 1), delete(False, 2, 9), delete(True, 3, 8)],
    "a chain of cas, returned in the wrong order": [
        cas("2", "3", True, 0, 7),
        cas("1", "2", True, 1, 8),
        cas(None, "1", True, 2, 9),
        get("3", 10, 11),
    ],
    "of two cas on one value one was refused": [
        put("0", 0, 1),
        cas("0", "1", False, 2, 9),
        cas("0", "2", True, 3, 8),
        get("2", 10, 11),
    ],
    "a creation is refused where the key is there": [put("1", 0, 1), cas(None, "2", False, 2, 3)],
    "a cas to absent deletes": [put("1", 0, 1), cas("1", None, True, 2, 3), get(None, 4, 5)],
    "a cas from a value to itself": [put("1", 0, 1), cas("1", "1", True, 2, 3), get("1", 4, 5)],
    "a write of unknown outcome never happened": [put("1", 0, 1), put("2", 2, None), get("1", 3, 4)],
    "a write of unknown outcome happened late": [
        put("2", 0, None),
        put("1", 1, 2),
        get("1", 3, 4),
        get("2", 5, 6),
    ],
    "a delete of unknown outcome happened late": [
        put("1", 0, 1),
        delete(None, 2, None),
        get("1", 3, 4),
        get(None, 5, 6),
    ],
    "a cas of unknown outcome explains another": [
        cas(None, "1", None, 0, None),
        cas("1", "2", True, 1, 2),
        cas(None, "3", False, 3, 4),
    ],
    "a chain of unknown outcomes explains a read": [
        cas("2", "3", None, 0, None),
        cas("1", "2", None, 0, None),
        put("1", 0, None),
        get("3", 1, 2),
    ],
    "a read of unknown outcome says nothing": [put("1", 0, 1), get(None, 2, None), get("1", 3, 4)],
    "keys have nothing to do with each other": [
        put("1", 0, 1, key="x"),
        put("2", 2, 3, key="y"),
        get("1", 4, 5, key="x"),
        get(None, 4, 5, key="z"),
    ],
    "what expired left nothing": [
        put("1", 0, 1),
        put("2", 2, 3, outcome=Outcome.WITHOUT_EFFECT),
        get("1", 4, 5),
    ],
    "equal times are concurrent": [put("1", 0, 1), put("2", 2, 3), get("1", 3, 3)],
}

BAD = {
    # Beside each history: the operation that no order can place, where the longest order stops.
    "a stale read after a write": ([put("1", 0, 1), put("2", 2, 3), get("1", 4, 5)], 2),
    "a stale read after two fresh ones": (
        [put("1", 0, 1), put("2", 2, 3), get("2", 4, 5), get("2", 6, 7), get("1", 8, 9)],
        4,
    ),
    "a write forgotten": ([put("1", 0, 1), get(None, 2, 3)], 1),
    "a value never written": ([put("1", 0, 1), get("7", 2, 3)], 1),
    "a value of another key": ([put("1", 0, 1, key="y"), get("1", 2, 3, key="x")], 1),
    "a read from the future": ([get("1", 0, 1), put("1", 2, 3)], 0),
    "new, then old, while the write goes on": ([put("1", 0, 9), get("1", 1, 2), get(None, 3, 4)], 2),
    "new at one reader, old later at another": (
        [put("1", 0, 1), put("2", 2, 20), get("2", 3, 9, client="a"), get("1", 10, 11, client="b")],
        3,
    ),
    "two readers see two writes in two orders": (
        [
            put("1", 0, 20),
            put("2", 0, 20),
            get("1", 1, 2, client="a"),
            get("2", 3, 8, client="a"),
            get("2", 4, 5, client="b"),
            get("1", 9, 10, client="b"),
        ],
        5,
    ),
    "an update lost by two cas on one value": (
        [put("0", 0, 1), cas("0", "1", True, 2, 8), cas("0", "2", True, 3, 9)],
        2,
    ),
    "one key created twice": ([cas(None, "1", True, 0, 8), cas(None, "2", True, 1, 9)], 1),
    "a cas on a value that is not there": ([put("1", 0, 1), cas("2", "3", True, 2, 3)], 1),
    "a cas refused though the value is as expected": ([put("1", 0, 1), cas("1", "2", False, 2, 3)], 1),
    "a creation refused though the key is absent": ([cas(None, "1", False, 0, 1)], 0),
    "a refused cas that changed the key": (
        [put("1", 0, 1), cas("0", "2", False, 2, 3), get("2", 4, 5)],
        2,
    ),
    "a deleted value is back": ([put("1", 0, 1), delete(True, 2, 3), get("1", 4, 5)], 2),
    "a delete of what is not there": ([delete(True, 0, 1)], 0),
    "a delete that missed what is there": ([put("1", 0, 1), delete(False, 2, 3)], 1),
    "one value deleted twice": ([put("1", 0, 1), delete(True, 2, 8), delete(True, 3, 9)], 2),
    "a write of unknown outcome seen, then unseen": (
        [put("1", 0, 1), put("2", 2, None), get("2", 3, 4), get("1", 5, 6)],
        3,
    ),
    "a write of unknown outcome carried out twice": (
        [put("2", 0, None), get("2", 1, 2), put("1", 3, 4), get("1", 5, 6), get("2", 7, 8)],
        4,
    ),
    "a write of unknown outcome seen before it was asked for": ([get("1", 0, 1), put("1", 2, None)], 0),
    "a cas of unknown outcome that found nothing it expected": (
        [put("1", 0, 1), cas("0", "2", None, 2, None), get("2", 3, 4)],
        2,
    ),
    "what expired was seen": ([put("1", 0, 1, outcome=Outcome.WITHOUT_EFFECT), get("1", 2, 3)], 1),
    "a put that was refused": ([put("1", 0, 1, result=False)], 0),
    "a read answered with yes": ([put("1", 0, 1), get(True, 2, 3)], 1),
    "a delete answered with a text": ([put("1", 0, 1), delete("1", 2, 3)], 1),
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_a_good_history_passes_however_its_operations_are_listed(history: list[Operation]) -> None:
    assert {check(listed).verdict for listed in permutations(history)} == {Verdict.PASS}


@pytest.mark.parametrize(("history", "culprit"), BAD.values(), ids=BAD)
def test_a_bad_history_fails_and_what_cannot_be_placed_is_named(
    history: list[Operation], culprit: int
) -> None:
    answer = check(history)
    assert answer.verdict is Verdict.FAIL
    assert not answer.undecided
    (explanation,) = answer.explanations
    assert explanation.key == history[culprit].key
    assert explanation.stuck == (history[culprit],)
    others = [operation for operation in history if operation.outcome is Outcome.ANSWERED]
    placed = [operation for operation in explanation.prefix if operation.outcome is Outcome.ANSWERED]
    assert explains(explanation.prefix)
    assert history[culprit] in others
    assert history[culprit] not in placed


@pytest.mark.parametrize(("history", "culprit"), BAD.values(), ids=BAD)
def test_no_hint_makes_a_bad_history_pass(history: list[Operation], culprit: int) -> None:
    orders = permutations(range(len(history)))
    assert {check(hinted(history, order)).verdict for order in orders} == {Verdict.FAIL}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_no_hint_makes_a_good_history_fail(history: list[Operation]) -> None:
    orders = permutations(range(len(history)))
    assert {check(hinted(history, order)).verdict for order in orders} == {Verdict.PASS}


def test_a_right_hint_spares_the_search() -> None:
    history = [put("1", 0, 9), put("2", 0, 9), get("1", 10, 11), put("3", 0, None)]
    assert check(hinted(history, [0, 1, 2, 3])).explored > 0
    assert check(hinted(history, [1, 0, None, 2])).explored > 0
    for right in ([1, 0, 2, 3], [1, 0, 2, None], [70, 7, 700, None]):
        answer = check(hinted(history, right))
        assert (answer.verdict, answer.explored) == (Verdict.PASS, 0)
    assert check(hinted(GOOD["equal times are concurrent"], [0, 2, 1])).explored == 0


def test_a_hinted_operation_of_unknown_outcome_that_found_nothing_to_do_is_no_obstacle() -> None:
    history = [put("1", 0, 1), cas("0", "2", None, 2, None), delete(None, 3, None, key="y"), get("1", 4, 5)]
    answer = check(hinted(history, range(4)))
    assert (answer.verdict, answer.explored) == (Verdict.PASS, 0)


@pytest.mark.parametrize("made", [any_histories(), spoilt_histories(), good_histories()])
def test_the_verdict_is_that_of_trying_all_orders(made) -> None:
    @settings(max_examples=150)
    @given(made, st.data())
    def agrees(history: list[Operation], data: st.DataObject) -> None:
        if not any(operation.outcome is Outcome.ANSWERED for operation in history):
            expected = Verdict.INCONCLUSIVE
        else:
            expected = Verdict.PASS if has_an_order(history) else Verdict.FAIL
        assert check(history).verdict is expected
        hints = st.lists(st.none() | st.integers(0, 9), min_size=len(history), max_size=len(history))
        assert check(hinted(history, data.draw(hints))).verdict is expected

    agrees()


@given(good_histories(40, 100, span=50), st.randoms())
@settings(max_examples=20)
def test_what_a_correct_register_answers_passes_with_and_without_hints(history, random) -> None:
    history.append(put("last", 2000, 2001, order=1000))
    assert check(history).verdict is Verdict.PASS
    random.shuffle(history)
    unhinted = [replace(operation, order=None) for operation in history]
    assert check(unhinted, limit=5000).verdict is Verdict.PASS


@given(spoilt_histories())
def test_an_explanation_starts_with_an_order_that_is_possible_and_that_nothing_named_can_follow(
    history,
) -> None:
    for explanation in check(history).explanations:
        assert explains(explanation.prefix)
        assert explanation.stuck
        assert len(explanation.stuck) == len(explanation.reasons)
        for stuck in explanation.stuck:
            assert not explains([*explanation.prefix, stuck])


@given(asked(), PERHAPS)
def test_the_demands_are_those_of_kv(operation: Operation, present: str | None) -> None:
    state = DictState({} if present is None else {operation.key.encode(): canonical_json(present)})
    payload: dict[str, str | None] = {"op": str(operation.kind), "key": operation.key}
    payload |= {"value": operation.value} if operation.kind in (Kind.PUT, Kind.CAS) else {}
    payload |= {"expected": operation.expected} if operation.kind is Kind.CAS else {}
    kv = load_application("kv", {})
    kv.check(canonical_json(payload))
    try:
        given_result = kv.execute(context(), canonical_json(payload), state)
    except Refused:
        given_result = b"false"
    after = state.get(operation.key.encode())
    for result in (True, False, None, "1", "2", "3"):
        told = replace(operation, outcome=Outcome.ANSWERED, returned_us=operation.invoked_us, result=result)
        fits = demand(told).met(present)
        assert fits == (canonical_json(result) == given_result)
        if fits:
            becomes = demand(told).becomes
            now = present if not isinstance(becomes, str | None) else becomes
            assert after == (None if now is None else canonical_json(now))


def hard(size: int, key: str = "x") -> list[Operation]:
    """A bad history whose failure shows only when every order of many writes was tried."""
    names = [str(name) for name in range(size)]
    writes = [put(name, 0, 100, key=key) for name in names]
    refused = [cas(name, "no", False, 0, 100, key=key) for name in names]
    return [*writes, *refused, get("none of these", 101, 102, key=key)]


def test_a_search_that_reaches_its_limit_is_inconclusive_and_names_the_key() -> None:
    answer = check(hard(8), limit=100)
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert answer.undecided == ("x",)
    assert answer.explored == 100
    assert not answer.explanations
    assert answer.finding().verdict is Verdict.INCONCLUSIVE
    assert answer.finding().why == 'the limit was reached for "x"'
    assert check(hard(8)).verdict is Verdict.FAIL


def test_a_good_history_beyond_the_limit_is_no_pass_unless_its_hints_are_a_witness() -> None:
    history = [put("1", 0, 1), put("2", 2, 3), put("3", 4, 5), get("3", 6, 7)]
    assert check(history, limit=2).verdict is Verdict.INCONCLUSIVE
    assert check(hinted(history, range(4)), limit=2).verdict is Verdict.PASS


def test_a_key_that_failed_outweighs_one_that_is_undecided() -> None:
    answer = check([*hard(8, "x"), get("1", 0, 1, key="y")], limit=100)
    assert answer.verdict is Verdict.FAIL
    assert answer.undecided == ("x",)
    assert [explanation.key for explanation in answer.explanations] == ["y"]


def test_many_writes_of_unknown_outcome_cost_little() -> None:
    lost = [put(str(name), 0, None) for name in range(60)]
    reads = [get(str(name), 10 * name, 10 * name + 5) for name in range(20)]
    assert check([*lost, *reads], limit=100).verdict is Verdict.PASS
    assert check([*lost, *reads, get("0", 990, 991)], limit=100).verdict is Verdict.FAIL


def test_many_writes_beside_each_other_that_nobody_read_cost_little() -> None:
    history = [*(put(str(name), 0, 100) for name in range(60)), get("none of these", 101, 102)]
    assert check(history, limit=100).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "history", [[], [put("1", 0, None)], [put("1", 0, 1, outcome=Outcome.WITHOUT_EFFECT)]]
)
def test_a_history_without_an_answer_is_inconclusive(history: list[Operation]) -> None:
    assert check(history).finding().verdict is Verdict.INCONCLUSIVE
    assert check(history).finding().why == "no operation was answered"


def test_a_failure_is_explained_in_words() -> None:
    history = [
        put("1", 0, 10, client="c1"),
        cas("1", "2", True, 20, 30, client="c2"),
        get("1", 40, 50, client="c3"),
        put("3", 45, None, client="c1"),
        delete(False, 41, 60, client="c4"),
    ]
    answer = check(history)
    (explanation,) = answer.explanations
    assert explanation.text.splitlines() == [
        'No order explains what clients were told of key "x".',
        "The order that explains the most:",
        '  1. c1: put "1" -> true (0..10 us)',
        '  2. c2: cas "1" to "2" -> true (20..30 us)',
        'The key then holds "2". One of these must come next, and none can:',
        '  c3: get -> "1" (40..50 us): it needs "1"',
        "  c4: delete -> false (41..60 us): it needs absent",
    ]
    assert answer.finding().oracle == "linearizability"
    assert answer.finding().why == (
        'key "x": after 2 operations it holds "2", and c3: get -> "1" (40..50 us) cannot come next: '
        'it needs "1" (1 more cannot either)'
    )


@pytest.mark.parametrize(
    ("sin", "reason"),
    [
        ("a value never written", 'needs "7", which nothing wrote'),
        ("a read from the future", 'needs "1", which was written only after it had returned'),
        ("a delete of what is not there", "needs the key to be there"),
        ("a creation refused though the key is absent", "needs the key to be there"),
        ("a cas refused though the value is as expected", 'needs anything but "1"'),
        ("a put that was refused", "has an answer that a put never gets"),
        ("a delete that missed what is there", "needs absent"),
    ],
)
def test_the_reason_says_what_is_missing(sin: str, reason: str) -> None:
    (explanation,) = check(BAD[sin][0]).explanations
    assert explanation.reasons == (reason,)


def test_a_long_value_is_cut_in_words() -> None:
    assert str(put("a" * 41, 0, None)) == f'c: put "{"a" * 40}..." (since 0 us, unknown)'


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"returned_us": None}, "returned_us: an operation has no time of return exactly if"),
        ({"outcome": Outcome.UNKNOWN}, "returned_us: an operation has no time of return exactly if"),
        ({"returned_us": 4}, "returned_us: an operation returns no earlier"),
        ({"value": None}, "value: a put sets a text"),
        ({"expected": "1"}, "expected: a put expects nothing"),
        ({"kind": Kind.GET}, "value: a get has none"),
        ({"kind": Kind.DELETE}, "value: a delete has none"),
    ],
)
def test_an_operation_that_contradicts_itself_is_refused(fields, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        replace(put("1", 5, 6), **fields)
