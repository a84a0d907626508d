"""JSON that people write: one encoding, and no number that is not one."""

from pathlib import Path
from typing import Any

import pytest

from ledger.jsonfile import FileFault, parse_json

HERE = Path("f.json")


def parsed(data: bytes) -> dict[str, Any]:
    return parse_json(data, dict[str, Any], HERE)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_another_encoding_than_utf_8_is_refused(encoding: str) -> None:
    with pytest.raises(FileFault):
        parsed('{"a": "1"}'.encode(encoding))


def test_bytes_that_are_no_text_are_named_by_their_place() -> None:
    with pytest.raises(FileFault, match="is not UTF-8 at byte 7"):
        parsed(b'{"a": "\xff"}')


def test_the_mark_that_some_editors_write_first_is_passed_over() -> None:
    assert parsed(b'\xef\xbb\xbf{"a": "\xc3\xbc"}') == {"a": "\u00fc"}


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_infinite_or_none_is_refused(number: str) -> None:
    with pytest.raises(FileFault, match=number):
        parsed(f'{{"a": {number}}}'.encode())
