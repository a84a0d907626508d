"""Lying processes: when their time begins, what they know after a crash, and what their ends mean."""

import signal
from pathlib import Path
from typing import Any, cast

import pytest

from byzantine.attacks.catalogue import find_attack
from byzantine.liars.catalogue import colluders
from byzantine.liars.liar import Behaviour, Hand
from byzantine.liars.memory import Memory
from byzantine.liars.process import Mind, NodeDisk, ProcessSurroundings
from byzantine.liars.report import Line, Report, ReportReader
from byzantine.node import load_lies, save_lies
from byzantine.runners.members import Members, RealMember
from byzantine.scenario import Liar, Lie, Scenario
from byzantine.simulation.genesis import simulated_genesis
from byzantine.simulation.signatures import signatures
from crypto.attestation import Height
from crypto.digest import Digest
from crypto.roster import MemberId
from ledger.application import load_application
from ledger.engine_records import TALLY_KEY
from ledger.keyvalue import Family, MemoryKeyValue
from ledger.ledger import Ledger
from tetrarch.engines import ordering
from tetrarch.processes import KILLED, STOPPED, ReplicaProcess

KEYS = signatures("stand-in")
GENESIS = simulated_genesis(Scenario(name="liars"), KEYS)


class Recalling(Behaviour):
    """Remembers things of its own, its hand among them."""

    name = "recalling"

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self.seen: dict[Any, Any] = {}


def liars_hand(report: Report, lie: Lie | None = None, slowdown: float = 1.0) -> Hand:
    door = ordering(GENESIS, GENESIS.roster()).door
    world = ProcessSurroundings(report, slowdown)
    hand = Hand(world, GENESIS, MemberId(1), KEYS.member(1), door, Memory(), 7)
    hand.behaviours = [Recalling(hand, lie or Lie(behaviour="recalling"))]
    return hand


def recalling(hand: Hand) -> Recalling:
    return cast(Recalling, hand.behaviours[0])


def test_no_lie_is_told_before_the_run_begins() -> None:
    hand = liars_hand(Report(None))
    assert not recalling(hand).may_fire()
    cast(ProcessSurroundings, hand.world).began_ms = 0
    assert recalling(hand).may_fire()


def test_time_passes_slower_for_a_liar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic_ns", lambda: 9_000_000_000)
    surroundings = ProcessSurroundings(Report(None), 2.0)
    surroundings.began_ms = 1_000
    assert surroundings.now_ms() == 4_000


def test_a_liar_knows_after_its_own_crash_what_it_knew(tmp_path: Path) -> None:
    with Report(tmp_path / "report") as report:
        hand = liars_hand(report)
        known = recalling(hand)
        known.fire()
        known.seen["hand"] = hand
        known.seen[1] = b"x"
        chance = known.random.random()
        hand.executed, hand.hashes[3] = Height(3), Digest(bytes(32))
        hand.memory.bodies.append(b"body")
        Mind(hand, tmp_path / "mind").keep()
        again = liars_hand(report)
        Mind(again, tmp_path / "mind").recall(report)
    assert recalling(again).seen == {"hand": again, 1: b"x"}
    assert recalling(again).fired == 1
    assert (again.executed, again.hashes, list(again.memory.bodies)) == (3, {3: bytes(32)}, [b"body"])
    assert recalling(again).random.random() not in {chance, liars_hand(report).behaviours[0].random.random()}


def test_a_liar_that_others_killed_knows_how_often_it_has_lied(tmp_path: Path) -> None:
    with Report(tmp_path / "report") as report:
        recalling(liars_hand(report)).fire()
        recalling(liars_hand(report)).fire()
        again = liars_hand(report, Lie(behaviour="recalling", times=2))
        Mind(again, tmp_path / "mind").recall(report)
    assert recalling(again).fired == 2
    cast(ProcessSurroundings, again.world).began_ms = 0
    assert not recalling(again).may_fire()


def test_liars_that_plot_are_told_with_whom_in_the_file_of_their_lies(tmp_path: Path) -> None:
    scenario = find_attack("more-than-f").scenario(4, 0)
    plotting = colluders((*scenario.liars, Liar(member=1, lies=(Lie(behaviour="mute"),))))
    assert plotting == (0, 3)
    save_lies(tmp_path / "lies", scenario.liars[0].lies, plotting)
    told = load_lies(tmp_path / "lies")
    assert told.lies == scenario.liars[0].lies
    assert told.colluders == plotting
    save_lies(tmp_path / "alone", scenario.liars[0].lies)
    assert load_lies(tmp_path / "alone").colluders == ()


def test_a_reader_gets_each_whole_line_once(tmp_path: Path) -> None:
    file = tmp_path / "report"
    reader = ReportReader(file)
    assert list(reader.lines()) == []
    with Report(file) as report:
        report.write(Line(5, "mute"))
    with file.open("ab") as torn:
        torn.write(b'{"at_ms":6,')
    assert list(reader.lines()) == [Line(5, "mute")]
    with file.open("ab") as rest:
        rest.write(b'"crashed_for_ms":9}\n')
    assert list(reader.lines()) == [Line(6, crashed_for_ms=9)]


def test_a_disk_that_forgot_its_votes_opens_as_if_there_had_been_none() -> None:
    disk = MemoryKeyValue()
    application = load_application("kv", {})
    ledger = Ledger.open(GENESIS, application, disk)
    ledger.write_engine_records([(b"vote", b"1")], [(b"proof", b"2")])
    NodeDisk(disk).forget_votes(TALLY_KEY)
    assert list(disk.scan(Family.VOTES)) == list(disk.scan(Family.ARCHIVE)) == []
    assert Ledger.open(GENESIS, application, disk).engine_records() == []


class EndedProcess(ReplicaProcess):
    """A process that has ended so."""

    def __init__(self, directory: Path, exit_code: int) -> None:
        super().__init__(directory)
        self.exit_code = exit_code

    def last_words(self) -> str:
        return "the last words"


def seen_to_end(tmp_path: Path, exit_code: int, liar: Liar | None = None, **state: object) -> Members:
    member = RealMember(2, EndedProcess(tmp_path, exit_code), liar, 0, 2.0)
    member.wanted = True
    for name, value in state.items():
        setattr(member, name, value)
    later: list[float] = []
    members = Members([member], 2.0, lambda seconds, _: later.append(seconds))
    members.look()
    assert not member.wanted
    assert later == ([0.13] if member.crashed_for_ms else [])
    return members


def test_an_end_by_an_own_fault_is_the_replicas(tmp_path: Path) -> None:
    for code in (1, 2, -signal.SIGSEGV, -signal.SIGABRT):
        members = seen_to_end(tmp_path, code)
        assert "the last words" in members.stopped[0]
        assert members.lost == []


def test_an_end_from_outside_is_a_loss(tmp_path: Path) -> None:
    for code in (0, -signal.SIGKILL, -signal.SIGTERM):
        members = seen_to_end(tmp_path, code)
        assert members.stopped == []
        assert "nobody here ended it" in members.lost[0]


def test_a_liar_that_ends_is_a_loss_whatever_ended_it(tmp_path: Path) -> None:
    liar = Liar(member=2, lies=(Lie(behaviour="mute"),))
    for code in (1, -signal.SIGKILL):
        assert "the liar" in seen_to_end(tmp_path, code, liar).lost[0]


def test_a_liar_that_crashed_on_purpose_is_started_again_in_time(tmp_path: Path) -> None:
    liar = Liar(member=2, lies=(Lie(behaviour="mute"),))
    with Report(tmp_path / "liar.report") as report:
        report.write(Line(1, crashed_for_ms=65))
    members = seen_to_end(tmp_path, -signal.SIGKILL, liar)
    assert not members.broken


def test_who_had_to_be_killed_when_it_was_asked_to_stop_has_a_fault() -> None:
    member = RealMember(2, EndedProcess(Path("replica-2"), -signal.SIGKILL), None, 0, 2.0)
    for outcome, told in ((STOPPED, 0), (KILLED, 1)):
        members = Members([member], 2.0, lambda *_: None)
        members.on_stopped(member, outcome)
        assert len(members.stopped) == told


def test_who_has_no_disk_left_may_end(tmp_path: Path) -> None:
    assert not seen_to_end(tmp_path, 1, damaged=True).broken
    assert not seen_to_end(tmp_path, 1, full=True).broken
