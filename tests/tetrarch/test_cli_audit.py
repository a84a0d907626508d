"""tetrarch audit on stores that a real replica wrote: exit codes, keys, and every flipped byte found."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.running import Running, puts, running, submit
from tests.tetrarch.command_line import ran
from tetrarch.processes import LocalNetwork
from tetrarch.setup.network import make_network
from tetrarch.setup.places import local_hosts
from tetrarch.setup.plan import NetworkPlan

pytestmark = [pytest.mark.processes, pytest.mark.slow]

KEYS = {"verdict", "height", "head", "blocks", "transactions", "checked", "not_checked", "faults", "blamed"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stopped network of one, with 300 transactions in several blocks."""
    directory = tmp_path_factory.mktemp("audit") / "net"
    with running(directory, replicas=1) as network:
        with network.client() as client:
            for part in range(3):
                submit(client, puts(100, f"part{part}-"))
        network.network.stop()
        yield directory


def audited(net: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    result = ran("audit", *arguments, "--genesis", str(net / "genesis.json"), "--json")
    return result.code, json.loads(result.out)


def test_a_good_store_is_valid_by_each_of_its_names(net: Path) -> None:
    for path in (net / "replica-0" / "store", net / "replica-0", net):
        code, report = audited(net, str(path))
        assert code == 0
        assert report.keys() >= KEYS
        assert (report["verdict"], report["transactions"], report["faults"]) == ("valid", 300, [])


def test_each_level_says_what_it_left_out(net: Path) -> None:
    left_out = []
    for level in ("headers", "certificates", "full"):
        code, report = audited(net, str(net), "--level", level)
        assert code == 0
        left_out.append(set(report["not_checked"]))  # type: ignore[call-overload]
    assert left_out[0] > left_out[1] > left_out[2]
    assert "client signatures" in left_out[1] - left_out[2]


def test_a_bit_flipped_in_any_data_file_is_found_with_its_place(net: Path, tmp_path: Path) -> None:
    store = net / "replica-0" / "store"
    files = [file for file in store.iterdir() if file.suffix in (".sst", ".log") and file.stat().st_size]
    choose = random.Random(11)
    for number in range(16):
        copy = tmp_path / str(number)
        shutil.copytree(store, copy)
        file = copy / choose.choice(files).name
        data = bytearray(file.read_bytes())
        offset = choose.randrange(len(data))
        data[offset] ^= 1 << choose.randrange(8)
        file.write_bytes(data)
        code, report = audited(net, str(copy))
        assert (code, report["verdict"]) == (1, "invalid"), (file.name, offset)
        faults = report["faults"]
        assert isinstance(faults, list)
        assert {"store", "height", "field", "what"} <= faults[0].keys()
        assert faults[0]["store"] == str(copy)


def test_an_audit_changes_nothing(net: Path) -> None:
    store = net / "replica-0" / "store"
    before = {file.name: file.read_bytes() for file in store.iterdir()}
    audited(net, str(store))
    assert {file.name: file.read_bytes() for file in store.iterdir()} == before


def test_a_store_of_another_chain_is_invalid(net: Path, tmp_path: Path) -> None:
    make_network(tmp_path / "other", NetworkPlan(local_hosts(1), development=True))
    result = ran("audit", str(net), "--genesis", str(tmp_path / "other" / "genesis.json"), "--json")
    assert (result.code, json.loads(result.out)["verdict"]) == (1, "invalid")


def test_a_second_run_goes_on_from_the_resume_file(net: Path, tmp_path: Path) -> None:
    resume = str(tmp_path / "progress.json")
    first_code, _ = audited(net, str(net), "--resume", resume)
    assert first_code == 0
    second_code, second = audited(net, str(net), "--resume", resume)
    assert (second_code, second["verdict"]) == (0, "valid")
    assert "earlier" in json.dumps(second)


def test_for_people_the_first_line_is_the_verdict(net: Path) -> None:
    result = ran("audit", str(net), "--genesis", str(net / "genesis.json"))
    assert result.out.startswith(f"VALID {net / 'replica-0' / 'store'}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere"],
        ["{net}/certificates"],
        ["{net}", "--level", "deep"],
        ["{net}", "--genesis", "nowhere"],
        [],
    ],
)
def test_wrong_usage_is_exit_code_2(net: Path, arguments: list[str]) -> None:
    given = [argument.format(net=net) for argument in arguments]
    if "--genesis" not in given:
        given += ["--genesis", str(net / "genesis.json")]
    result = ran("audit", *given)
    assert result.code == 2
    assert result.err.strip()
    assert "Traceback" not in result.err


def test_a_running_replica_can_be_audited(tmp_path: Path) -> None:
    with running(tmp_path / "net", replicas=1) as network, network.client() as client:
        submit(client, puts(50))
        code, report = audited(tmp_path / "net", str(tmp_path / "net"))
        assert (code, report["verdict"], report["transactions"]) == (0, "valid", 50)
        submit(client, puts(50, "more"))


def test_two_histories_of_one_chain_are_told_apart_and_their_author_is_blamed(tmp_path: Path) -> None:
    with running(tmp_path / "one", replicas=1) as one:
        one.network.stop()
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        for name in ("one", "two"):
            network = Running(LocalNetwork(tmp_path / name))
            try:
                network.up()
                with network.client() as client:
                    submit(client, puts(70, f"{name}-"))
            finally:
                network.network.stop()
    paths = [str(tmp_path / name) for name in ("one", "two")]
    genesis = str(tmp_path / "one" / "genesis.json")
    alone = ran("audit", *paths, "--genesis", genesis, "--json")
    assert (alone.code, json.loads(alone.out)["blamed"]) == (0, [])
    compared = ran("audit", *paths, "--genesis", genesis, "--compare", "--json")
    report = json.loads(compared.out)
    assert (compared.code, report["verdict"], report["blamed"]) == (1, "invalid", [0])
    assert report["comparison"]["difference"]["height"] == 1


def test_comparing_takes_two_stores(net: Path) -> None:
    result = ran("audit", str(net), "--genesis", str(net / "genesis.json"), "--compare")
    assert result.code == 2


@pytest.fixture
def two(net: Path, tmp_path: Path) -> Path:
    """What looks like a network of two replicas, both with the same store."""
    for name in ("replica-0", "replica-1"):
        shutil.copytree(net / "replica-0", tmp_path / "two" / name)
    return tmp_path / "two"


def test_a_store_whose_first_file_is_gone_is_invalid_and_not_passed_over(net: Path, two: Path) -> None:
    (two / "replica-1" / "store" / "CURRENT").unlink()
    for path in (two, two / "replica-1"):
        code, report = audited(net, str(path))
        assert (code, report["verdict"]) == (1, "invalid")


def test_a_replica_without_a_store_does_not_go_unnoticed(net: Path, two: Path) -> None:
    shutil.rmtree(two / "replica-1" / "store")
    result = ran("audit", str(two), "--genesis", str(net / "genesis.json"))
    assert result.code == 2
    assert "replica-1: holds no store" in result.err


def test_what_was_audited_is_told_also_where_comparing_fails(net: Path, two: Path) -> None:
    for file in (two / "replica-1" / "store").glob("*.sst"):
        file.unlink()
    result = ran("audit", str(two), "--genesis", str(net / "genesis.json"), "--compare")
    assert result.code == 1
    assert "VALID" in result.out.splitlines()[0]
    assert "INVALID" in result.out
    assert "cannot be compared" in result.err
