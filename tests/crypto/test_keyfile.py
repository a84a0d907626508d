"""Rules of crypto.keyfile: who may open a key file, what a hostile one can do, and what is written."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.keyfile import (
    MAX_KEY_FILE_BYTES,
    KeyFileError,
    Password,
    ScryptCost,
    read_key_file,
    read_private_file,
    write_key_file,
    write_private_file,
)
from crypto.keys import SigningKey

SEED = bytes(range(32))
PASSWORD = b"correct horse"
CHEAP = ScryptCost(n=16, r=1, p=1)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "sealed.key"
    write_key_file(path, SEED, PASSWORD, cost=CHEAP)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.key"
    write_key_file(path, SEED, None)
    return path


def refusal(path: Path, password: Password = PASSWORD) -> str:
    """The one line with which reading `path` is refused; it must name the file."""
    with pytest.raises(KeyFileError) as caught:
        read_key_file(path, password)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    after = change(before)
    assert after != before
    path.write_text(after)


def test_a_sealed_file_gives_the_seed_back_for_its_password(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    write_key_file(path, SEED, PASSWORD)
    assert read_key_file(path, PASSWORD) == SEED
    assert read_key_file(path, lambda: PASSWORD) == SEED


def test_a_plain_file_gives_the_seed_back_without_asking_for_a_password(plain: Path) -> None:
    def ask() -> bytes:
        raise AssertionError("asked")

    assert read_key_file(plain) == read_key_file(plain, ask) == read_key_file(plain, b"unused") == SEED


def test_a_plain_file_says_that_it_is_not_encrypted(plain: Path) -> None:
    assert "PLAIN, NOT ENCRYPTED" in plain.read_text()


def test_a_sealed_file_shows_its_public_key_and_not_its_seed(sealed: Path) -> None:
    text = sealed.read_text()
    assert SigningKey(SEED).public_key.hex() in text
    assert SEED.hex() not in text
    assert "NOT ENCRYPTED" not in text


def test_one_seed_is_never_sealed_twice_alike(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_key_file(tmp_path / name, SEED, PASSWORD, cost=CHEAP)
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_files_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_key_file(tmp_path / "open", SEED, None)
        os.umask(0o777)
        write_key_file(tmp_path / "shut", SEED, None)
    finally:
        os.umask(before)
    for name in ("open", "shut"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_an_existing_file_is_never_overwritten(sealed: Path) -> None:
    before = sealed.read_bytes()
    with pytest.raises(KeyFileError, match="exists already"):
        write_key_file(sealed, bytes(32), None)
    assert sealed.read_bytes() == before


def test_a_dangling_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "node.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="exists already"):
        write_key_file(tmp_path / "node.key", SEED, None)
    assert not (tmp_path / "elsewhere").exists()


def test_writing_leaves_nothing_beside_the_file(sealed: Path) -> None:
    with pytest.raises(KeyFileError):
        write_private_file(sealed, b"again")
    assert list(sealed.parent.iterdir()) == [sealed]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"no-such-directory.*cannot be written"):
        write_key_file(tmp_path / "no-such-directory" / "node.key", SEED, None)
    with pytest.raises(KeyFileError, match="cannot be written"):
        write_private_file(tmp_path / "null\0byte", b"")


def test_an_empty_password_is_refused_on_both_sides(tmp_path: Path, sealed: Path) -> None:
    with pytest.raises(KeyFileError, match="empty password"):
        write_key_file(tmp_path / "new.key", SEED, b"")
    assert not (tmp_path / "new.key").exists()
    assert "empty password" in refusal(sealed, b"")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.key")


def test_a_wrong_password_is_refused(sealed: Path) -> None:
    assert "password is wrong" in refusal(sealed, b"incorrect horse")


def test_a_missing_password_is_refused(sealed: Path) -> None:
    assert "a password is needed" in refusal(sealed, None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_file_open_to_others_is_refused_with_the_command_that_closes_it(mode: int, plain: Path) -> None:
    plain.chmod(mode)
    line = refusal(plain)
    assert f"chmod 600 {plain}" in line
    assert f"{mode:04o}" in line
    plain.chmod(0o600)
    assert read_key_file(plain) == SEED


def test_a_file_that_only_its_owner_may_read_is_accepted(plain: Path) -> None:
    plain.chmod(0o400)
    assert read_key_file(plain) == SEED


def test_a_directory_or_pipe_in_the_files_place_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "directory").mkdir(0o700)
    assert "not a regular file" in refusal(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "directory")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n",
        b'format = "something else"\n',
        b"[" * 4000,
        b'format = ["tetrarch-signing-key-1"]\n',
    ],
)
def test_what_is_no_key_file_is_called_that(content: bytes, tmp_path: Path) -> None:
    write_private_file(tmp_path / "other", content)
    assert "is not a Tetrarch key file" in refusal(tmp_path / "other")


def test_a_file_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    write_private_file(tmp_path / "large", b"#" * (MAX_KEY_FILE_BYTES + 1))
    assert f"more than {MAX_KEY_FILE_BYTES} bytes" in refusal(tmp_path / "large")
    assert len(read_private_file(tmp_path / "large", MAX_KEY_FILE_BYTES + 1)) == MAX_KEY_FILE_BYTES + 1


def test_a_file_cut_short_anywhere_is_refused(plain: Path, sealed: Path) -> None:
    for path in (plain, sealed):
        whole = path.read_bytes()
        for length in range(len(whole.rstrip())):
            path.write_bytes(whole[:length])
            line = refusal(path)
            if b"protection" in whole[:length]:
                assert "truncated or damaged" in line


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('protection = "password"', 'protection = "none"'),
        lambda text: text.replace("scrypt-chacha20poly1305", "rot13"),
        lambda text: text.replace("scrypt = {", "scrypt = { q = 1,"),
        lambda text: text.replace("n = 16", 'n = "16"'),
        lambda text: text.replace("n = 16", "n = 1"),
        lambda text: text.replace("n = 16", "n = -16"),
        lambda text: text.replace("n = 16", "n = 0x" + "f" * 3000),
        lambda text: text.replace('salt = "', 'salt = "00'),
        lambda text: text + "[" * 3000,
        lambda text: text + "note = 1\n",
        lambda text: text + 'seed = "' + "00" * 32 + '"\n',
    ],
)
def test_a_field_missing_surplus_or_ill_typed_is_called_damage(
    change: Callable[[str], str], sealed: Path
) -> None:
    rewrite(sealed, change)
    assert "truncated or damaged" in refusal(sealed)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("n = 16", "n = 4294967296"),
        lambda text: text.replace("n = 16, r = 1", "n = 2097152, r = 8"),
        lambda text: text.replace("r = 1", "r = 1000000000"),
        lambda text: text.replace("p = 1 ", "p = 1000000000 "),
    ],
)
def test_a_file_cannot_make_its_reader_spend_gigabytes_or_hours(
    change: Callable[[str], str], sealed: Path
) -> None:
    rewrite(sealed, change)
    assert "more than its reader allows" in refusal(sealed)


def test_a_cost_that_scrypt_does_not_know_is_refused_on_both_sides(sealed: Path) -> None:
    rewrite(sealed, lambda text: text.replace("n = 16", "n = 17"))
    assert "power of two" in refusal(sealed)
    with pytest.raises(KeyFileError, match="power of two"):
        write_key_file(sealed.parent / "new", SEED, PASSWORD, cost=ScryptCost(n=17, r=1, p=1))


def test_another_public_key_cannot_be_put_beside_a_seed(plain: Path, sealed: Path) -> None:
    mine, other = SigningKey(SEED).public_key.hex(), SigningKey(bytes(32)).public_key.hex()
    for path in (plain, sealed):
        rewrite(path, lambda text: text.replace(mine, other))
    assert "does not belong to its public key" in refusal(plain)
    # Sealed together with the seed: the file does not even open.
    assert "the password is wrong, or the file was altered" in refusal(sealed)


def test_another_cost_or_salt_cannot_be_put_beside_a_seed(sealed: Path) -> None:
    whole = sealed.read_text()
    for old, new in (("n = 16", "n = 32"), ('salt = "', 'salt = "00')):
        changed = whole.replace(old, new)
        if "salt" in old:
            start = changed.index(new) + len(new) + 30
            changed = changed[:start] + changed[start + 2 :]
        sealed.write_text(changed)
        assert "was altered" in refusal(sealed)


@settings(max_examples=60)
@given(place=st.integers(0, 5000), bit=st.integers(0, 7))
def test_a_flipped_bit_never_yields_another_seed(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flipped") / "node.key"
    write_key_file(path, SEED, PASSWORD, cost=CHEAP)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    # A comment may change; anything else is an error.
    with suppress(KeyFileError):
        assert read_key_file(path, PASSWORD) == SEED


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_nothing_but_a_key_file_error_leaves_the_reading_of_arbitrary_bytes(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("arbitrary") / "node.key"
    write_private_file(path, b'format = "tetrarch-signing-key-1"\n' + content)
    with pytest.raises(KeyFileError):
        read_key_file(path, PASSWORD)
