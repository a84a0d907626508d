"""The simulator: a seed is a run, stand-ins cannot be forged, disks go wrong as disks do."""

import subprocess
import sys

import pytest
from msgspec import structs

from byzantine.attacks.catalogue import find_attack
from byzantine.runners.simulated import simulate
from byzantine.scenario import Disk, Mend, Partition, PowerCut, Scenario, Submit
from byzantine.simulation.recorder import Recorder
from byzantine.simulation.signatures import RealSignatures, Signatures, StandInSignatures
from byzantine.simulation.world import World
from byzantine.trace import What, fingerprint, line, parse
from crypto.keys import Check
from tests.byzantine.runs import short_scenario


def trace_of(scenario: Scenario) -> str:
    recorder = Recorder()
    assert simulate(scenario, recorder).failed == ()
    return fingerprint(recorder.events)


def test_the_same_scenario_gives_the_same_trace_byte_for_byte() -> None:
    assert trace_of(short_scenario(3)) == trace_of(short_scenario(3))


def test_another_seed_gives_another_trace() -> None:
    assert trace_of(short_scenario(3)) != trace_of(short_scenario(4))


def test_the_trace_does_not_depend_on_the_order_in_which_a_process_hashes() -> None:
    code = "from tests.byzantine.test_simulator import *; print(trace_of(short_scenario(3)))"
    traces = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert traces == {trace_of(short_scenario(3)) + "\n"}


def test_a_trace_survives_being_written_and_read() -> None:
    recorder = Recorder()
    simulate(short_scenario(), recorder)
    assert [parse(line(event)) for event in recorder.events] == recorder.events
    assert {What.SENT, What.DELIVERED, What.CRASHED, What.RESTARTED, What.EXECUTED, What.BELIEVED} <= {
        event.what for event in recorder.events
    }


def test_a_run_with_real_signatures_ends_as_well() -> None:
    assert simulate(short_scenario(signatures="ed25519")).failed == ()


@pytest.mark.parametrize("keys", [StandInSignatures(), RealSignatures()])
def test_a_signature_verifies_for_its_signer_and_its_bytes_alone(keys: Signatures) -> None:
    one, other = keys.member(0), keys.member(1)
    signed = one.sign(b"a statement")
    right = Check(one.public_key, b"a statement", signed)
    wrong = [
        right._replace(key=other.public_key),
        right._replace(signed=b"another"),
        right._replace(signature=type(signed)(bytes([signed[0] ^ 1]) + signed[1:])),
        right._replace(key=type(one.public_key)(bytes(32))),
    ]
    assert keys.check([right, *wrong]) == [True, False, False, False, False]


def test_clients_and_members_have_keys_of_their_own() -> None:
    keys = StandInSignatures()
    assert len({keys.member(0).public_key, keys.member(1).public_key, keys.client(0).public_key}) == 3


def work(*more: object) -> Scenario:
    steps = [Submit(at_ms=20 + 40 * number, count=3, client=number % 2) for number in range(10)]
    return structs.replace(
        short_scenario(), steps=tuple(sorted([*steps, *more], key=lambda step: step.at_ms)), heal_at_ms=700
    )


def test_what_was_acknowledged_survives_a_power_cut_of_all() -> None:
    result = simulate(work(PowerCut(at_ms=200), PowerCut(at_ms=330, surviving=2)))
    assert result.failed == ()
    assert result.blocks >= 10


@pytest.mark.parametrize("what", ["full", "lose"])
def test_a_replica_whose_disk_fails_comes_back(what) -> None:
    assert simulate(work(Disk(at_ms=200, member=2, what=what))).failed == ()


def test_a_replica_whose_disk_is_put_back_is_marked_and_votes_again() -> None:
    result = simulate(work(Disk(at_ms=100, member=2, what="keep"), Disk(at_ms=300, member=2, what="old")))
    assert result.failed == ()


def test_a_flipped_bit_never_gets_into_what_others_believe() -> None:
    for seed in range(6):
        scenario = structs.replace(
            work(Disk(at_ms=200, member=2, what="flip"), PowerCut(at_ms=300)), seed=seed
        )
        assert simulate(scenario).failed == ()


def test_a_network_that_is_never_healed_does_not_converge_and_is_not_called_live() -> None:
    split = Partition(at_ms=100, groups=((0, 1), (2, 3)))
    world = World(work(split))
    world.heal = lambda: None  # type: ignore[method-assign]
    world.play()
    assert world.observed.converged_us is None


def test_a_partition_without_a_quorum_stops_everything_until_it_is_mended() -> None:
    result = simulate(work(Partition(at_ms=60, groups=((0, 1), (2, 3))), Mend(at_ms=500)))
    assert result.failed == ()


def test_what_each_of_several_liars_and_clients_did_is_counted_apart() -> None:
    result = simulate(find_attack("two-commits").scenario(7, 1))
    assert list(result.fired_by) == [f"member {member}" for member in result.liars]
    assert len(result.liars) == 2
    assert sum(counts["two-commits"] for counts in result.fired_by.values()) == result.fired["two-commits"]
    flooded = simulate(find_attack("flood").scenario(4, 1))
    assert flooded.fired_by == {"hostile client 0": {"flood": 4}, "hostile client 1": {"flood": 4}}
