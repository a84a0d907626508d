"""`tetrarch attack`: what its commands print, write, and refuse."""

import errno
import html
import io
import json
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec import structs
from rich.console import Console

from byzantine.attacks.attack import LETTERS
from byzantine.attacks.catalogue import ATTACKS
from byzantine.campaign.generator import random_scenario
from byzantine.campaign.replay import load_replay, replay_of, save_replay
from byzantine.campaign.runs import judged
from byzantine.known import REGISTERS
from byzantine.mutants import MUTANTS
from byzantine.scenario import Expect, Scenario, Submit
from tests.tetrarch.command_line import ran


def test_the_list_names_every_attack_once() -> None:
    listed = json.loads(ran("attack", "list", "--json").out)
    assert [each["name"] for each in sorted(listed, key=lambda each: each["name"])] == sorted(ATTACKS)
    assert {each["number"] for each in listed} == set(range(1, 69))


def test_behaviours_are_listed_with_their_parameters_and_what_they_do() -> None:
    listed = {each["name"]: each for each in json.loads(ran("attack", "list", "--behaviours", "--json").out)}
    assert listed["slow-proposals"]["parameters"] == {"delay_ms": 600}
    assert {each["of"] for each in listed.values()} == {"member", "client", "network"}
    assert all(each["does"].endswith(".") for each in listed.values())
    assert "leading = false" in ran("attack", "list", "--behaviours").out
    assert ran("attack", "list", "--behaviours", "equivocate").code == 2


def test_one_attack_is_shown_in_full() -> None:
    shown = ran("attack", "list", "equivocate")
    assert shown.code == 0
    for text in ("equivocate", "Castro and Liskov", "two different batches"):
        assert text in shown.out


def test_a_group_is_listed_alone_and_an_unknown_one_is_refused_with_the_choices() -> None:
    listed = json.loads(ran("attack", "list", "replies", "collusion", "--json").out)
    assert {each["group"] for each in listed} == {"replies", "collusion"}
    assert {each["name"] for each in listed} == {
        each.name for each in ATTACKS.values() if each.group in ("replies", "collusion")
    }
    refused = ran("attack", "list", "repliez")
    assert refused.code == 2
    assert "did you mean replies?" in refused.err
    assert "primary, backup, view-change" in refused.err


def test_letters_and_rules_are_explained_where_they_are_listed() -> None:
    listed = ran("attack", "list").out
    assert all(f"{letter} {words}" in listed for letter, words in LETTERS.items())
    shown = ran("attack", "list", "exclude").out
    assert "L liveness, X what clients are told" in shown
    for out in (shown, ran("attack", "mutants", "--list").out):
        assert "docs/protocol.md" in out


@pytest.mark.parametrize(
    ("module", "arguments", "names"),
    [
        ("listing", ("list",), ATTACKS),
        ("listing", ("list", "--behaviours"), [name for kinds in REGISTERS.values() for name in kinds]),
        ("mutants", ("mutants", "--list"), MUTANTS),
        ("reporting", ("run", "consecutive-primaries", "more-than-f"), ["consecutive-primaries"]),
    ],
)
def test_no_name_is_cut_on_a_terminal_of_80_columns(
    module: str, arguments: tuple[str, ...], names: Iterable[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    narrow = Console(file=out, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    monkeypatch.setattr(
        f"byzantine.cli.{module}.console", lambda stderr=False: Console(quiet=True) if stderr else narrow
    )
    assert ran("attack", *arguments).code == 0
    lines = out.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert set(names) <= {word for line in lines for word in line.split()}


def test_a_run_tells_what_fired_and_what_came_of_it() -> None:
    result = ran("attack", "run", "equivocate", "no-proposals", "--seed", "3", "--json")
    assert result.code == 0
    told = json.loads(result.out)
    assert (told["schedules"], told["failures"]) == (2, 0)
    assert told["schedules_per_minute"] > 0
    first = next(each for each in told["scenarios"] if each["name"] == "equivocate")
    assert (first["n"], first["seed"], first["blamed"], first["verdict"]) == (4, 3, [0], "pass")
    assert (first["safe"], first["live"]) == (True, True)
    assert first["fired"]["equivocate"] > 0


def test_a_run_in_the_simulator_leaves_nothing_that_could_be_kept(tmp_path: Path) -> None:
    result = ran("attack", "run", "no-proposals", "--keep", str(tmp_path))
    assert result.code == 2
    assert "--runner processes" in result.err


def test_a_run_for_people_is_a_table_and_totals() -> None:
    result = ran("attack", "run", "no-proposals", "-n", "4", "-n", "7")
    assert result.code == 0
    assert result.out.count("no-proposals") >= 2
    assert "2 passed, 0 failed" in result.out


def test_reports_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    page, xml = tmp_path / "page.html", tmp_path / "junit.xml"
    assert ran("attack", "run", "no-proposals", "--html", str(page), "--junit", str(xml)).code == 0
    assert "<svg" in page.read_text()
    assert ElementTree.parse(xml).getroot().tag == "testsuites"


FAILING = """
format = 1
name = "too-strict"
heal_at_ms = 100
[[steps]]
do = "submit"
at_ms = 10
[expect]
view = "changed"
"""


def test_a_failure_is_told_saved_replayed_and_shrunk(tmp_path: Path) -> None:
    scenario, kept, small = tmp_path / "strict.toml", tmp_path / "kept", tmp_path / "small"
    scenario.write_text(FAILING)
    result = ran("attack", "run", str(scenario), "--save", str(kept))
    assert result.code == 1
    assert "view 0 was never left" in result.out
    assert f"again: tetrarch attack run {scenario} --seed 0" in result.out
    replay = next(kept.glob("*.replay.json"))
    again = ran("attack", "replay", str(replay))
    assert again.code == 1
    assert "view 0 was never left" in again.out
    shrunk = ran("attack", "shrink", str(replay), "--save", str(small), "--json")
    assert shrunk.code == 0
    told = json.loads(shrunk.out)
    assert (told["events"], told["oracle"], told["why"]) == (0, "outcome", "view 0 was never left")
    assert len(list(small.glob("test_*.py"))) == 1


def test_reports_of_a_file_name_the_file_in_the_command_that_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a file.toml").write_text(FAILING)
    reports = ("--html", "page.html", "--junit", "junit.xml")
    assert ran("attack", "run", "a file.toml", *reports, "--save", "kept").code == 1
    again = "tetrarch attack run 'a file.toml' --seed 0"
    assert f"again: {again}" in Path("junit.xml").read_text()
    assert html.unescape(Path("page.html").read_text()).count(again) == 2
    replay = str(next(Path("kept").glob("*.replay.json")))
    result = ran("attack", "replay", replay, *reports)
    for text in (result.out, Path("junit.xml").read_text(), Path("page.html").read_text()):
        assert f"tetrarch attack replay {replay}" in text
        assert "attack run" not in text


def test_what_was_saved_is_said_and_where_nothing_failed_too(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    passed = ran("attack", "run", "no-proposals", "--save", str(kept))
    assert passed.code == 0
    assert f"Nothing was saved to {kept}: nothing failed." in passed.out
    assert not kept.exists()
    campaign = ("campaign", "--schedules", "1", "--processes", "1", "--save", str(kept))
    assert "nothing failed" in ran("attack", *campaign).out
    (tmp_path / "strict.toml").write_text(FAILING)
    failed = ran("attack", "run", str(tmp_path / "strict.toml"), "--save", str(kept))
    assert f"Saved 1 of 1 failure to {kept}" in failed.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "no-proposals", "--save", "file/kept"),
        ("run", "no-proposals", "--html", "none/page.html"),
        ("run", "no-proposals", "--junit", "file/junit.xml"),
        ("campaign", "--save", "file/kept"),
        ("shrink", "a.json", "--save", "file/kept"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_runs(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    result = ran("attack", *arguments)
    assert (result.code, result.out) == (2, "")
    assert f"{arguments[-2]}: {arguments[-1]} cannot be written" in result.err


def full(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_up_costs_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("byzantine.campaign.kinds.random_scenario", _too_strict)
    monkeypatch.setattr("byzantine.campaign.replay.save_replay", full)
    command = ("campaign", "--kind", "random", "--schedules", "2", "--processes", "1")
    result = ran("attack", *command, "--save", str(tmp_path / "kept"))
    assert result.code == 1
    assert "0 passed, 2 failed" in result.out
    assert "not all could be saved" in result.err
    assert "(0 of 2 failures)" in result.err
    assert "No space left on device" in result.err


def test_whoever_interrupts_the_shrinking_still_gets_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("byzantine.campaign.kinds.random_scenario", _too_strict)
    monkeypatch.setattr("byzantine.campaign.shrink.shrink", interrupted)
    command = ("campaign", "--kind", "random", "--schedules", "1", "--processes", "1")
    result = ran("attack", *command, "--save", str(tmp_path / "kept"))
    assert result.code == 130
    assert "0 passed, 1 failed" in result.out


def test_a_report_that_cannot_be_written_costs_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byzantine.reports.junit.render", full)
    result = ran("attack", "run", "no-proposals", "--junit", str(tmp_path / "junit.xml"))
    assert result.code == 2
    assert "1 passed" in result.out
    assert "junit.xml was not written: No space left on device" in result.err


def test_a_file_of_the_other_kind_is_refused_with_the_command_that_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario, replay, renamed = Path("strict.toml"), Path("a.replay.json"), Path("replay.toml")
    scenario.write_text(FAILING)
    save_replay(replay_of(Scenario(name="plain"), judged(Scenario(name="plain")), ""), replay)
    renamed.write_bytes(replay.read_bytes())
    for path in (replay, renamed):
        refused = ran("attack", "run", str(path))
        assert refused.code == 2
        assert "tetrarch attack replay FILE" in refused.err
    for command in ("replay", "shrink"):
        refused = ran("attack", command, str(scenario))
        assert refused.code == 2
        assert "tetrarch attack run FILE.toml" in refused.err


def test_a_file_is_run_over_as_many_seeds_as_are_asked_for(tmp_path: Path) -> None:
    scenario, same = tmp_path / "strict.toml", tmp_path / "same.toml"
    for path in (scenario, same):
        path.write_text(FAILING.replace('view = "changed"', 'view = "kept"'))
    told = json.loads(ran("attack", "run", str(scenario), "--seed", "5", "--seeds", "3", "--json").out)
    assert [each["seed"] for each in told["scenarios"]] == [5, 6, 7]
    assert told["failures"] == 0
    sized = ran("attack", "run", str(scenario), "-n", "7")
    assert (sized.code, "-n:" in sized.err) == (2, True)
    twice = ran("attack", "run", str(scenario), str(same))
    assert (twice.code, "name:" in twice.err) == (2, True)


def _too_strict(seed: int, n: int, _liars: bool, signatures: str) -> Scenario:
    scenario = random_scenario(seed, n, False, signatures)
    return structs.replace(scenario, expect=Expect(view="changed", fired=()))


def test_a_failing_campaign_keeps_what_failed_and_says_how_to_see_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byzantine.campaign.kinds.random_scenario", _too_strict)
    keep = tmp_path / "kept"
    command = ("campaign", "--kind", "random", "--no-liars", "--schedules", "2", "--processes", "1")
    xml = tmp_path / "junit.xml"
    result = ran("attack", *command, "--save", str(keep), "--junit", str(xml))
    assert result.code == 1
    first = int(next(keep.glob("random-n4-seed*.replay.json")).name.split("seed")[1].split(".")[0])
    again = f"tetrarch attack campaign --kind random --first {first} --schedules 1 --no-liars"
    assert again in result.out
    assert again in xml.read_text()
    small = load_replay(next((keep / "shrunk").glob("*.replay.json")))
    assert small.scenario.events <= 20


def test_a_campaign_counts_its_schedules() -> None:
    result = ran("attack", "campaign", "--schedules", "3", "--processes", "1", "--json")
    assert result.code == 0
    told = json.loads(result.out)
    assert (told["schedules"], told["failures"]) == (3, 0)


def test_mutants_are_listed_with_the_rules_that_they_break() -> None:
    listed = json.loads(ran("attack", "mutants", "--list", "--json").out)
    assert {rule for each in listed for rule in each["rules"]} == set(range(1, 34))
    assert len(listed) == len(MUTANTS)


def test_a_mutant_is_killed_and_told_by_what() -> None:
    result = ran("attack", "mutants", "stamp-old-batches-anew", "--processes", "1", "--json")
    assert result.code == 0
    told = json.loads(result.out)
    assert (told["total"], told["killed"], told["survivors"]) == (1, 1, [])
    assert told["mutants"][0]["oracle"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "attack list"),
        (("run", "equivocte"), "did you mean equivocate"),
        (("run", "none.toml"), "none.toml"),
        (("run", "--group", "nobody"), "--group"),
        (("list", "equivocte"), "did you mean equivocate"),
        (("mutants", "no-such-mutant"), "no-such-mutant"),
        (("mutants", "--patience", "nan"), "--patience"),
        (("run", "./equivocate"), ".toml"),
        (("campaign", "--no-liars"), "--no-liars"),
        (("replay", "none.json"), "none.json"),
        (("shrink", "none.json"), "none.json"),
        (("run", "equivocate", "-n", "3"), "3"),
        (("explode",), "explode"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = ran("attack", *arguments)
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err


def test_a_scenario_for_whose_application_there_is_no_work_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('format = 1\nname = "mine"\napplication = "assets"\n')
    refused = ran("attack", "run", str(path))
    assert refused.code == 2
    assert f"{path}: application: " in refused.err
    assert "'assets'" in refused.err


def test_a_replay_of_another_commit_is_refused_unless_that_is_asked_for(tmp_path: Path) -> None:
    scenario = Scenario(name="plain", steps=(Submit(at_ms=10),), heal_at_ms=50, expect=Expect())
    path = tmp_path / "a.replay.json"
    save_replay(replay_of(scenario, judged(scenario), ""), path)
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"commit": "0" * 40}))
    refused = ran("attack", "replay", str(path))
    assert refused.code == 2
    assert "commit" in refused.err
    assert ran("attack", "replay", str(path), "--any-commit").code == 0
