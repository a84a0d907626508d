"""Rules of the third runner: attacks where members and clients meet at a broker, which may be the liar."""

from pathlib import Path

import pytest

from byzantine.attacks.catalogue import find_attack
from byzantine.attacks.stage import staged, work
from byzantine.runners.processes import AT_BROKER, as_sealed, run_on_processes, unplayable
from byzantine.scenario import Cut, Expect, Links, Mend
from byzantine.verdicts import Result, Verdict
from tests.byzantine.test_processes_runner import SAMPLE
from tests.network.mqtt.brokers import require_mosquitto

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def _broker_is_installed() -> None:
    require_mosquitto()


def played(name: str, directory: Path) -> Result:
    return run_on_processes(find_attack(name).scenario(4, 1), directory, keep=True, runner=AT_BROKER)


@pytest.mark.parametrize("name", [*SAMPLE.values(), "odd-client-encodings"])
def test_an_attack_by_way_of_a_broker_comes_to_the_outcome_that_is_stated_for_it(
    name: str, tmp_path: Path
) -> None:
    result = played(name, tmp_path)
    assert result.failed == ()
    assert result.verdict is Verdict.PASS
    assert result.runner == "mqtt"


def test_a_broker_that_drops_repeats_reorders_delays_and_forges_can_only_delay(tmp_path: Path) -> None:
    result = played("lying-broker", tmp_path)
    assert result.failed == ()
    assert result.blamed == ()
    assert result.fired["lying-broker"]


def test_what_a_lying_broker_changes_must_be_seen_to_stay_unopened() -> None:
    scenario = find_attack("lying-broker").scenario(4, 1)
    assert as_sealed(scenario).expect.refused == ("member connection: sealed_undecryptable",)
    honest = find_attack("equivocate").scenario(4, 1)
    assert as_sealed(honest) == honest


def test_links_by_way_of_a_broker_do_what_a_scenario_says(tmp_path: Path) -> None:
    spoilt = Links(low_us=5_000, high_us=30_000, loss=0.05, repeat=0.05, reorder=0.5)
    steps = (*work(1, rounds=8), Cut(at_ms=300, source=1, target=2), Mend(at_ms=500))
    expect = Expect(fired=("lost", "repeated", "reordered", "delayed", "cut"), live_within_ms=4_000)
    scenario = staged("spoilt", 4, 1, steps=steps, links=spoilt, heal_at_ms=1_000, expect=expect)
    result = run_on_processes(scenario, tmp_path, keep=True, runner=AT_BROKER)
    assert result.failed == ()
    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("half-open", "clients have no connection to a replica"),
        ("slow-reader", "clients have no connection to a replica"),
    ],
)
def test_what_cannot_be_done_by_way_of_a_broker_is_inconclusive_with_the_reason(
    name: str, why: str, tmp_path: Path
) -> None:
    scenario = find_attack(name).scenario(4, 1)
    assert any(why in each for each in unplayable(scenario, AT_BROKER))
    result = run_on_processes(scenario, tmp_path, runner=AT_BROKER)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert not unplayable(scenario)
