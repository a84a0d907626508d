"""Campaigns: seeds are scenarios, all cores agree, failures shrink and come back from files."""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import structs

from byzantine.attacks.catalogue import find_attack
from byzantine.campaign.byzzfuzz import byzzfuzz_scenario
from byzantine.campaign.generator import random_scenario
from byzantine.campaign.kinds import Schedules
from byzantine.campaign.parallel import run_all
from byzantine.campaign.replay import as_test, commit_of, load_replay, replay_of, save_replay
from byzantine.campaign.runs import judged, recorded
from byzantine.campaign.shrink import same_failure, shrink
from byzantine.campaign.twins import divisions, twins_count, twins_scenario
from byzantine.liars.catalogue import BEHAVIOURS
from byzantine.oracles import judge
from byzantine.runners.simulated import observe
from byzantine.scenario import Crash, Disk, Expect, Scenario, require_consistent
from byzantine.scenario_file import UnusableFile
from byzantine.simulation.world import World
from byzantine.trace import fingerprint
from byzantine.verdicts import Finding, Result, Verdict
from ledger.applications.kv import KeyValueMap
from tests.byzantine.runs import short_scenario

SEEDS = range(200)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_schedules_of_faults_and_lies_pass_all_oracles(seed: int) -> None:
    assert judged(random_scenario(seed, (4, 4, 4, 5, 6, 7)[seed % 6])).failed == ()


@pytest.mark.parametrize("seed", range(12))
def test_mutated_messages_break_nothing(seed: int) -> None:
    assert judged(byzzfuzz_scenario(seed, (4, 4, 7)[seed % 3])).failed == ()


@pytest.mark.parametrize("number", range(12))
def test_twins_break_nothing(number: int) -> None:
    result = judged(twins_scenario(number * 1_361))
    assert result.failed == ()
    assert result.fired["twin"] > 0


def test_random_schedules_differ_and_are_consistent() -> None:
    scenarios = [random_scenario(seed, 4 + seed % 4) for seed in range(200)]
    for scenario in scenarios:
        require_consistent(scenario)
    assert len({scenario.steps for scenario in scenarios}) == 200
    assert {len(scenario.liars) for scenario in scenarios} == {0, 1, 2}
    assert random_scenario(5) == random_scenario(5)


def test_no_random_schedule_has_more_faulty_members_than_f() -> None:
    for seed in range(300):
        scenario = random_scenario(seed, 4)
        disks = [step for step in scenario.steps if isinstance(step, Disk)]
        forgetful = {disk.member for disk in disks if disk.what in ("lose", "flip")}
        assert len(forgetful | set(scenario.lying_members)) <= scenario.f


def test_divisions_are_all_ways_into_two_groups_or_one() -> None:
    ways = divisions(3)
    assert len(ways) == 4
    assert {frozenset(map(frozenset, way)) for way in ways} == {
        frozenset({frozenset({0, 1, 2})}),
        frozenset({frozenset({0}), frozenset({1, 2})}),
        frozenset({frozenset({0, 1}), frozenset({2})}),
        frozenset({frozenset({0, 2}), frozenset({1})}),
    }


def test_twins_scenarios_are_enumerated_each_once() -> None:
    total = twins_count(4, rounds=1)
    assert total == 4 * 16
    seen = {repr((s.liars, s.steps)) for s in (twins_scenario(number, rounds=1) for number in range(total))}
    assert len(seen) == total


def _verdict(seed: int) -> tuple[int, Verdict]:
    return seed, judged(random_scenario(seed)).verdict


def test_all_cores_give_the_same_results_as_one() -> None:
    alone = list(run_all(_verdict, range(4), _gone, processes=1))
    assert sorted(run_all(_verdict, range(4), _gone, processes=2, chunk=1)) == alone


def _gone(number: int) -> tuple[int, Verdict]:
    return number, Verdict.INCONCLUSIVE


def _dies_at_five(number: int) -> tuple[int, Verdict]:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number, Verdict.PASS


def test_a_run_that_kills_its_process_is_inconclusive_and_no_other_is_lost() -> None:
    results = sorted(run_all(_dies_at_five, range(40), _gone, processes=2, chunk=3))
    assert [number for number, _ in results] == list(range(40))
    assert [number for number, verdict in results if verdict is Verdict.INCONCLUSIVE] == [5]


def test_a_run_without_end_is_ended_and_inconclusive() -> None:
    result = judged(random_scenario(1), cpu_seconds=0.01)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "not finished after" in result.failed[0].why
    assert judged(random_scenario(1)).verdict is Verdict.PASS


def test_a_mixed_campaign_takes_all_kinds_and_sizes_in_turn_and_gives_each_again() -> None:
    made = Schedules("mixed", (4, 7))
    scenarios = list(made.take(100, 20))
    assert {(each.name, each.replicas) for each in scenarios} == {
        (kind, n) for kind in ("random", "byzzfuzz", "twins") for n in (4, 7)
    }
    assert [made.again(each.name, each.replicas, each.seed) for each in scenarios] == scenarios
    assert {each.signatures for each in Schedules("mixed", signatures="ed25519").take(0, 5)} == {"ed25519"}


def failing() -> Scenario:
    """A schedule that cannot converge in the time it is given, since a replica is down when faults end."""
    scenario = short_scenario(3)
    steps = (*scenario.steps, Crash(at_ms=scenario.heal_at_ms, member=2))
    return structs.replace(scenario, steps=steps, expect=Expect(live_within_ms=1))


def test_shrinking_keeps_the_failure_and_little_else() -> None:
    scenario = failing()
    first = judged(scenario)
    assert "liveness" in {finding.oracle for finding in first.failed}
    shrunk = shrink(scenario, same_failure(judged, first), max_runs=200)
    assert shrunk.scenario.events < scenario.events
    assert shrunk.scenario.events <= 3
    assert "liveness" in {finding.oracle for finding in judged(shrunk.scenario).failed}


def test_shrinking_does_not_take_another_failure_for_the_same() -> None:
    scenario = failing()

    def other(tried: Scenario) -> Result:
        result = judged(tried)
        changed = tuple(structs.replace(finding, oracle="agreement") for finding in result.findings)
        return result if tried == scenario else structs.replace(result, findings=changed)

    assert shrink(scenario, same_failure(other, judged(scenario)), max_runs=20).scenario == scenario


def saved(tmp_path: Path) -> Path:
    scenario = failing()
    result, events = recorded(scenario)
    path = tmp_path / "a.replay.json"
    save_replay(replay_of(scenario, result, fingerprint(events)), path)
    return path


def test_a_replay_file_gives_the_same_run_again(tmp_path: Path) -> None:
    replay = load_replay(saved(tmp_path))
    result, events = recorded(replay.scenario)
    assert fingerprint(events) == replay.trace
    assert result.failed == replay.failed


@pytest.mark.parametrize("field", ["format", "version", "commit"])
def test_a_replay_of_another_version_or_commit_is_refused(tmp_path: Path, field: str) -> None:
    path = saved(tmp_path)
    values = json.loads(path.read_text())
    values[field] = 99 if field == "format" else "another"
    path.write_text(json.dumps(values))
    with pytest.raises(UnusableFile, match=field):
        load_replay(path)


@pytest.mark.parametrize("change", [{"scenario": {"name": "x", "replicas": 2}}, {"trace": 5}, {"more": 1}])
def test_a_damaged_replay_is_refused_and_the_field_named(tmp_path: Path, change) -> None:
    path = saved(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UnusableFile, match=next(iter(change)) if "scenario" not in change else "replicas"):
        load_replay(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "no replay file"),
        (b"", "no replay file"),
        (b"[1]", "no replay file"),
        (b"{}", "format: is missing"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a":' * 50_000, "nested too deeply"),
        (b" " * 4_200_000, "more than 4194304 bytes"),
    ],
)
def test_what_is_no_replay_at_all_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(UnusableFile, match=words):
        load_replay(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scenario": None}, "scenario: must be a table, and is nothing"),
        ({"scenario": {"name": "x", "heal_at_ms": 1, "replicas": 2}}, "scenario.replicas: must be"),
        ({"failed": [{"oracle": "a", "verdict": "maybe"}]}, "'maybe' is none of pass, fail, inconclusive"),
        ({"commit": "another"}, "--any-commit plays it anyway"),
    ],
)
def test_a_field_of_a_replay_that_is_wrong_is_named_whole(tmp_path: Path, change, words: str) -> None:
    path = saved(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UnusableFile, match=words):
        load_replay(path)


def test_the_pytest_file_of_a_failure_fails_as_long_as_it_does(tmp_path: Path) -> None:
    text = as_test(load_replay(saved(tmp_path)))
    names: dict[str, object] = {}
    exec(compile(text, "test_it.py", "exec"), names)
    test = next(value for name, value in names.items() if name.startswith("test_"))
    with pytest.raises(AssertionError):
        test()  # type: ignore[operator]


def test_an_application_that_catches_the_alarm_does_not_hide_that_a_run_never_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(_self: KeyValueMap, *_arguments: object) -> bytes:
        until = time.process_time() + 0.3
        with suppress(BaseException):
            while time.process_time() < until:
                pass
        return b"true"

    monkeypatch.setattr(KeyValueMap, "execute", slow)
    result = judged(short_scenario(), cpu_seconds=0.2)
    assert [(each.oracle, each.verdict) for each in result.failed] == [("runner", Verdict.INCONCLUSIVE)]


def test_what_was_seen_to_be_wrong_stands_though_the_run_was_broken_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumbling(world: World) -> None:
        world.observed.forks.append("block 1: two")
        raise ZeroDivisionError

    monkeypatch.setattr(World, "play", stumbling)
    result = judged(short_scenario())
    assert result.verdict is Verdict.FAIL
    assert {each.oracle for each in result.failed} == {"agreement", "runner"}


def test_a_replica_that_halted_is_remembered_when_its_process_ends() -> None:
    world = World(short_scenario())
    replica = world.replicas[2]
    assert replica.heart is not None
    replica.heart.engine.halt("without a reason")
    world.crash(replica)
    world.revive(replica)
    world.play()
    assert any("without a reason" in finding.why for finding in judge(observe(world)))


def test_a_liar_that_stumbles_is_no_liar(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbling(*_arguments: object) -> bool:
        raise KeyError("a fault of the lie")

    scenario = find_attack("two-commits").scenario(4, 1)
    monkeypatch.setattr(BEHAVIOURS["two-commits"], "hears", stumbling)
    assert "a fault of the lie" in next(
        each.why for each in judged(scenario).failed if each.verdict is Verdict.INCONCLUSIVE
    )


def test_no_smaller_scenario_is_kept_for_a_lesser_failure() -> None:
    first = judged(failing())
    grave = Finding("agreement", Verdict.FAIL, "block 3: two")
    both = structs.replace(first, findings=(*first.findings, grave))
    assert not same_failure(judged, both)(failing())
    assert same_failure(lambda _scenario: both, both)(failing())


def test_no_smaller_scenario_is_kept_that_fails_for_another_reason() -> None:
    first = judged(failing())

    def with_outcome(why: str) -> Result:
        return structs.replace(first, findings=(Finding("outcome", Verdict.FAIL, why),))

    wanted = with_outcome("view 0 was left needlessly, for 3")

    def kept(why: str) -> bool:
        return same_failure(lambda _scenario: with_outcome(why), wanted)(failing())

    assert kept("view 0 was left needlessly, for 12")
    assert not kept("equivocate never fired")
    assert not kept("the highest view was 3, and was to lie between 1 and 2")


@pytest.mark.parametrize(
    ("oracle", "before", "after"),
    [
        (
            "liveness",
            "no convergence within 60 ms: clients wait for 3",
            "no convergence within 1 ms: 2: down",
        ),
        ("validity", "block 3: 3f0c12aa came to ok 1", "block 12: 77e012ab came to ok 2"),
        ("accountability", "the stores convict only [0, 1, 2]", "the stores convict only [3]"),
    ],
)
def test_numbers_digests_and_where_all_stand_are_no_other_reason(
    oracle: str, before: str, after: str
) -> None:
    first, second = (
        structs.replace(judged(failing()), findings=(Finding(oracle, Verdict.FAIL, why),))
        for why in (before, after)
    )
    assert same_failure(lambda _scenario: second, first)(failing())


def _repository(root: Path) -> None:
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(root), *who, *command], check=True, capture_output=True)


def test_working_copies_that_differ_from_one_commit_differently_are_told_apart(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""
    file = tmp_path / "code.py"
    file.write_text("first")
    _repository(tmp_path)
    clean = commit_of(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", clean)
    found = []
    for text in ("second", "third", "second"):
        file.write_text(text)
        found.append(commit_of(tmp_path))
    assert found[0] == found[2] != found[1]
    assert all(re.fullmatch(re.escape(clean) + r"\+[0-9a-f]{8}", each) for each in found)
    file.write_text("first")
    assert commit_of(tmp_path) == clean
