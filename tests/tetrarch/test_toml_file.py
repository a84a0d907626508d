"""TOML files: a fault names the line of its key, however the file is written."""

from pathlib import Path

import pytest

from tetrarch.errors import ConfigurationError
from tetrarch.toml_file import TomlText, read_toml

PLAIN = """\
# places
title = "x"

[[replicas]]
host = "a"
[[replicas]]
# [[replicas]]
host = "b"   # host = "c"
port = 1
[tuning]
pool = 3
"""
INLINE = """\
replicas = [
  {host = "a"},
  {host = "b", port = 1},
]
tuning.pool = 3
"""
TRICKY = '''\
text = """
[[replicas]]
host = "no"
"""
[[replicas]]
host = "a"
'''


def text(tmp_path: Path, content: str) -> TomlText:
    path = tmp_path / "file.toml"
    path.write_bytes(content.encode())
    return TomlText(path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("content", "key", "line"),
    [
        (PLAIN, "title", 2),
        (PLAIN, "replicas[0].host", 5),
        (PLAIN, "replicas[1].host", 8),
        (PLAIN, "replicas[1].port", 9),
        (PLAIN, "tuning.pool", 11),
        (INLINE, "tuning.pool", 5),
        (TRICKY, "text", 1),
        (TRICKY, "replicas[0].host", 6),
        ("a = 1", "a", 1),
    ],
)
def test_the_line_of_a_key_is_where_it_stands(
    tmp_path: Path, end: str, content: str, key: str, line: int
) -> None:
    assert text(tmp_path, content.replace("\n", end)).line_of(key) == line


@pytest.mark.parametrize(("key", "line"), [("replicas[1].name", 6), ("tuning.depth.x", 10)])
def test_what_is_missing_has_the_line_of_the_table_it_is_missing_in(
    tmp_path: Path, key: str, line: int
) -> None:
    assert text(tmp_path, PLAIN).line_of(key) == line


def test_a_value_over_several_lines_has_the_line_in_which_it_begins(tmp_path: Path) -> None:
    assert text(tmp_path, INLINE).line_of("replicas[1].port") == 1


@pytest.mark.parametrize("key", ["", "brokers", "brokers[0].host"])
def test_what_the_file_says_nothing_of_has_no_line(tmp_path: Path, key: str) -> None:
    assert text(tmp_path, PLAIN).line_of(key) is None


def test_an_error_names_file_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text("a = 1\n\nb = 'two'\n")
    with pytest.raises(ConfigurationError) as caught:
        read_toml(path, dict[str, int])
    assert caught.value.path == path
    assert text(tmp_path, "a = 1\n\nb = 'two'\n").fault("b", "is text").line == 3
    assert str(text(tmp_path, "a = 1\n\nb = 'two'\n").fault("b", "is text")) == f"{path}: line 3: b: is text"
