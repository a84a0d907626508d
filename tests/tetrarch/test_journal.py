"""Files of transactions: every line has its own outcome, whatever the others are; no rerun repeats any."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrarch.client.outcome import Submission
from tetrarch.errors import ConfigurationError
from tetrarch.journal import MAX_LINE_BYTES, Journal, Line


def journal(path: Path, content: bytes) -> Journal:
    (path / "f.jsonl").write_bytes(content)
    return Journal(path / "f.jsonl")


def lines(path: Path, content: bytes) -> list[Line]:
    return list(journal(path, content).lines())


def test_a_line_is_a_payload_and_its_key_is_the_files_digest_and_the_lines_number(tmp_path: Path) -> None:
    found = journal(tmp_path, b'{"op": "a"}\n\n  \n{"op": "b"}')
    assert [line.number for line in found.lines()] == [1, 4]
    assert [line.submission for line in found.lines()] == [
        Submission({"op": "a"}, f"{found.digest[:32]}:1"),
        Submission({"op": "b"}, f"{found.digest[:32]}:4"),
    ]
    assert found.count == 4


def test_a_line_may_bring_its_own_key(tmp_path: Path) -> None:
    [line] = lines(tmp_path, b'{"key": "order-17", "payload": {"op": "a"}}')
    assert line.submission == Submission({"op": "a"}, "order-17")


def test_a_payload_that_has_a_field_named_key_is_not_mistaken_for_a_line_with_one(tmp_path: Path) -> None:
    [line] = lines(tmp_path, b'{"op": "put", "key": "a", "value": "1"}')
    assert line.submission is not None
    assert line.submission.payload == {"op": "put", "key": "a", "value": "1"}


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"a": 1, "a": 2}',
        b'{"a": Infinity}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"key": 7, "payload": {}}',
        b'{"key": "k", "payload": []}',
        b'{"payload": "text"}',
        b'{"a": "' + b"x" * MAX_LINE_BYTES + b'"}',
        b"\x00",
    ],
)
def test_a_line_that_cannot_be_a_transaction_is_refused_by_itself(tmp_path: Path, line: bytes) -> None:
    before, bad, after = lines(tmp_path, b'{"op": "a"}\n' + line + b'\n{"op": "b"}\n')
    assert (bad.number, bad.submission) == (2, None)
    assert bad.fault
    assert (before.number, after.number) == (1, 3)
    assert before.submission
    assert after.submission


def test_a_line_too_long_costs_no_more_memory_than_the_limit(tmp_path: Path) -> None:
    import tracemalloc

    found = journal(tmp_path, b"x" * (40 * MAX_LINE_BYTES) + b'\n{"op": "a"}\n')
    tracemalloc.start()
    try:
        assert [line.submission is None for line in found.lines()] == [True, False]
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()


@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3), max_size=8
    )
)
def test_whatever_json_writes_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[dict[str, object]]
) -> None:
    content = "".join(json.dumps({"payload": payload}) + "\n" for payload in payloads)
    read = lines(tmp_path_factory.mktemp("journal"), content.encode())
    assert [line.submission and line.submission.payload for line in read] == payloads


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    found = journal(tmp_path_factory.mktemp("journal"), content)
    numbers = [line.number for line in found.lines()]
    assert numbers == sorted(set(numbers))
    assert all(1 <= number <= found.count for number in numbers)


def test_the_same_content_gives_the_same_keys_and_other_content_other_ones(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = lines(tmp_path, b'{"a": 1}\n'), lines(tmp_path / "other", b'{"a": 1}\n')
    assert first == second
    changed = lines(tmp_path, b'{"a": 1}\n\n')
    assert changed[0].submission != first[0].submission


@pytest.mark.parametrize("name", ["none.jsonl", "."])
def test_what_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Journal(tmp_path / name)
    assert caught.value.path == tmp_path / name
