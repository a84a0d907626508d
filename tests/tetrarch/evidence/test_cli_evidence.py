"""tetrarch evidence: lists, saves and verifies; exit codes and keys."""

import json
from pathlib import Path

import pytest

from crypto.codec import encode
from ledger.application import load_application
from ledger.keyvalue import Family, MemoryKeyValue
from ledger.ledger import Ledger
from pbft.records import ACCEPTED, slot_key
from tests.ledger.audit.chains import put_sealed, tally_anew
from tests.tetrarch.command_line import ran
from tests.tetrarch.evidence import forks
from tests.tetrarch.evidence.statements import proposal, sign
from tests.tetrarch.node.support import make_genesis
from tetrarch.genesis_file import save_genesis
from tetrarch.layout import NODE_FILE, STORE


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What looks like a network: the stores of the honest after a fork."""
    directory = tmp_path_factory.mktemp("evidence")
    fork = forks.in_one_view()
    save_genesis(fork.genesis, directory / "genesis.json")
    for name, disk in fork.honest.items():
        forks.on_disk(disk, directory / name / STORE)
        (directory / name / NODE_FILE).touch()
    return directory


def listed(net: Path, *arguments: str) -> tuple[int, dict]:
    result = ran("evidence", "list", *arguments, "--genesis", str(net / "genesis.json"), "--json")
    return result.code, json.loads(result.out)


def verified(net: Path, file: Path) -> tuple[int, dict]:
    result = ran("evidence", "verify", str(file), "--genesis", str(net / "genesis.json"), "--json")
    return result.code, json.loads(result.out)


@pytest.fixture(scope="module")
def files(net: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("saved") / "new"
    code, _ = listed(net, str(net), "--save", str(directory))
    assert code == 0
    return sorted(directory.iterdir())


def test_a_forked_networks_liars_are_listed(net: Path) -> None:
    code, told = listed(net, str(net))
    assert (code, told["blamed"]) == (0, list(forks.LIARS))
    assert {each["name"] for each in told["evidence"]} == {"replica-0", "replica-1"}
    keys = {"member", "name", "kind", "what", "why", "says", "stores", "archived", "digest", "file"}
    assert all(each.keys() == keys for each in told["evidence"])
    assert told["faults"] == []


def test_a_replica_or_a_store_alone_may_be_given(net: Path) -> None:
    for path in (net / "replica-2", net / "replica-2" / STORE):
        code, told = listed(net, str(path))
        assert (code, told["evidence"]) == (0, [])
    result = ran("evidence", "list", str(net / "replica-2"), "--genesis", str(net / "genesis.json"))
    assert (result.code, result.out) == (0, "no evidence against anybody\n")


def test_each_saved_file_verifies_and_names_its_member(net: Path, files: list[Path]) -> None:
    _, told = listed(net, str(net))
    assert len(files) == len(told["evidence"])
    whats = set()
    for file in files:
        code, proven = verified(net, file)
        assert (code, proven["valid"], proven["failed_check"]) == (0, True, None)
        assert file.name.startswith(f"member-{proven['member']}-{proven['kind']}-")
        whats.add(proven["what"])
    assert whats == {each["what"] for each in told["evidence"]}


def test_saving_again_writes_the_same_files(net: Path, files: list[Path]) -> None:
    before = {file.name: file.read_bytes() for file in files}
    listed(net, str(net / "replica-3"), str(net / "replica-2"), "--save", str(files[0].parent))
    assert {file.name: file.read_bytes() for file in files[0].parent.iterdir()} == before


def test_for_people_one_line_says_who_did_what(net: Path, files: list[Path]) -> None:
    what = "replica-0 signed two different COMMITs for view 0, sequence 1"
    commits = next(file for file in files if json.loads(file.read_text())["what"] == what)
    result = ran("evidence", "verify", str(commits), "--genesis", str(net / "genesis.json"))
    assert (result.code, result.out.splitlines()[0]) == (0, f"VALID: {what}")
    table = ran("evidence", "list", str(net), "--genesis", str(net / "genesis.json"))
    assert "they convict members 0, 1" in table.out


def changed(file: Path, tmp_path: Path, **changes: object) -> Path:
    plain = json.loads(file.read_text()) | changes
    (tmp_path / "changed.json").write_text(json.dumps(plain))
    return tmp_path / "changed.json"


def test_evidence_that_does_not_hold_is_exit_code_1_with_the_check(
    net: Path, files: list[Path], tmp_path: Path
) -> None:
    file = changed(files[0], tmp_path, chain_id="00" * 32)
    code, told = verified(net, file)
    assert (code, told["valid"], told["failed_check"]) == (1, False, "chain")
    result = ran("evidence", "verify", str(file), "--genesis", str(net / "genesis.json"))
    assert result.code == 1
    assert result.out.startswith("NOT VALID: chain\n")


@pytest.mark.parametrize(("field", "value"), [("version", 9), ("format", "other"), ("statements", [])])
def test_another_form_is_exit_code_2_with_file_and_field(
    net: Path, files: list[Path], tmp_path: Path, field: str, value: object
) -> None:
    file = changed(files[0], tmp_path, **{field: value})
    result = ran("evidence", "verify", str(file), "--genesis", str(net / "genesis.json"))
    assert result.code == 2
    assert result.err.startswith(f"tetrarch: {file}: {field}: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "nowhere"],
        ["verify", "nowhere"],
        ["list", "{net}", "--genesis", "nowhere"],
        ["nothing"],
    ],
)
def test_wrong_usage_is_exit_code_2(net: Path, arguments: list[str]) -> None:
    given = [argument.format(net=net) for argument in arguments]
    if "--genesis" not in given:
        given += ["--genesis", str(net / "genesis.json")]
    result = ran("evidence", *given)
    assert result.code == 2
    assert result.err.strip()


def test_a_directory_that_cannot_be_written_is_exit_code_2(net: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    genesis = str(net / "genesis.json")
    result = ran("evidence", "list", str(net), "--genesis", genesis, "--save", str(tmp_path / "file" / "new"))
    assert result.code == 2
    assert "Traceback" not in result.err


def test_what_could_not_be_read_is_told_and_is_exit_code_4(net: Path, tmp_path: Path) -> None:
    fork = forks.in_one_view(blocks=1)
    disk = fork.honest["replica-2"]
    disk.write([(Family.CERTIFICATES, b"\0" * 7 + b"\1", b"damaged")])
    store = forks.on_disk(disk, tmp_path / "store")
    code, told = listed(net, str(store))
    assert code == 4
    assert [fault["family"] for fault in told["faults"]] == ["certificates"]
    result = ran("evidence", "list", str(store), "--genesis", str(net / "genesis.json"))
    assert result.code == 4
    assert "not read" in result.out


def test_the_audits_comparison_blames_by_the_same_evidence(tmp_path: Path) -> None:
    """Here neither blocks nor attestations differ: only the proposals that the two accepted do."""
    genesis = make_genesis(4)
    save_genesis(genesis, tmp_path / "genesis.json")
    paths = []
    for name in ("one", "two"):
        disk = MemoryKeyValue()
        Ledger.open(genesis, load_application("kv", {}), disk)
        accepted = proposal(genesis, name.encode())
        put_sealed(
            disk, Family.VOTES, slot_key(ACCEPTED, accepted.sequence), encode(sign(genesis, 0, accepted))
        )
        tally_anew(disk)
        paths.append(str(forks.on_disk(disk, tmp_path / name)))
    result = ran("audit", *paths, "--genesis", str(tmp_path / "genesis.json"), "--compare", "--json")
    told = json.loads(result.out)
    assert told["blamed"] == told["comparison"]["blamed"] == [0]
