"""A simulated network that a test drives: its client, its faults, what is staged beside, and its audit."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from byzantine.attacks.catalogue import find_attack
from byzantine.attacks.stage import QUIET, liar, lie
from byzantine.liars.liar import BEHAVIOURS, Behaviour
from byzantine.oracles.elsewhere import Elsewhere, Unavailable
from byzantine.scenario import Expect, Scenario
from byzantine.simulation.recorder import Recorder
from byzantine.simulation.session import Session
from byzantine.trace import fingerprint
from byzantine.verdicts import Finding, Verdict
from byzantine.workload import RAISING
from tetrarch import Expired, IdempotencyConflict, NotEnoughReplies, OutcomeUnknown, Rejected

APPLICATIONS = "tests.byzantine.applications"


def put(key: str, value: str) -> dict[str, str]:
    return {"op": "put", "key": key, "value": value}


def honest(application: str = "kv", **more) -> Scenario:
    return Scenario(name="honest", application=application, links=QUIET, **more)


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(honest()) as session:
        yield session


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    other = Elsewhere()
    yield other
    other.close()


def by_oracle(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.oracle: finding for finding in findings}


def failed(findings: tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is not Verdict.PASS]


# The client.


def test_a_client_is_given_what_the_production_client_gives(session: Session) -> None:
    client = session.client()
    receipt = client.submit(put("a", "1"))
    assert (receipt.value, receipt.height) == (True, 1)
    assert receipt.verify(client.trust).signers == receipt.signers
    assert client.get("a", min_height=receipt.height).value == "1"
    assert client.get("b").present is False
    assert client.query({"op": "get", "key": "a"}, min_height=receipt.height).value == "1"
    assert [replica.reachable for replica in client.status()] == [True] * 4
    assert failed(session.finish()) == []


def test_many_are_under_way_at_once(session: Session) -> None:
    outcomes = session.client().submit_many([put("a", str(number)) for number in range(30)])
    assert [outcome.status for outcome in outcomes] == ["committed"] * 30
    assert max(outcome.height for outcome in outcomes) < 30
    assert failed(session.finish()) == []


def test_one_key_stands_for_one_transaction(session: Session) -> None:
    client = session.client()
    first = client.submit(put("a", "1"), idempotency_key="order-1")
    assert client.submit(put("a", "1"), idempotency_key="order-1").tx_id == first.tx_id
    with pytest.raises(IdempotencyConflict):
        client.submit(put("a", "2"), idempotency_key="order-1")
    assert failed(session.finish()) == []


def test_errors_are_those_of_the_production_client(session: Session) -> None:
    client = session.client()
    client.submit(put("a", "1"))
    with pytest.raises(Rejected, match="invalid"):
        client.submit({"op": "steal"})
    with pytest.raises(Expired):
        client.submit(put("a", "2"), valid_until=1)
    with pytest.raises(NotEnoughReplies):
        client.get("a", min_height=100, timeout=1)
    assert failed(session.finish()) == []


def test_what_was_unknown_when_a_test_ended_is_settled_by_the_audit(session: Session) -> None:
    with session.client() as client:
        session.faults.partition([0, 1], [2, 3])
        with pytest.raises(OutcomeUnknown):
            client.submit(put("a", "1"), timeout=3)
    assert client.operations[0].outcome == ""
    assert failed(session.finish()) == []
    assert client.operations[0].outcome == "committed"


# Faults.


def test_faults_happen_at_once_and_end_with_the_test(session: Session) -> None:
    client = session.client()
    session.faults.crash(0)
    session.faults.isolate(1)
    with pytest.raises(OutcomeUnknown):
        client.submit(put("a", "1"), idempotency_key="k", timeout=5)
    session.faults.mend()
    assert client.submit(put("a", "1"), idempotency_key="k").height == 1
    assert session.heights()[0] is None
    assert failed(session.finish()) == []
    assert session.heights()[0] is not None


def test_a_replica_that_starts_at_once_after_a_crash_has_its_alarms() -> None:
    # Whoever the primary left out has nothing but its own clock to tell it that something is missing.
    with Session(find_attack("exclude").scenario(4, 0)) as session:
        client = session.client()
        client.submit(put("a", "1"))
        session.faults.power_cut()
        client.submit(put("a", "2"))
        assert 0 in session.heights().values()
        assert failed(session.finish()) == []


def test_a_disk_that_is_lost_is_filled_again(session: Session) -> None:
    client = session.client()
    client.submit(put("a", "1"))
    session.faults.disk(3, "lose")
    client.submit(put("a", "2"))
    assert failed(session.finish()) == []
    assert session.heights()[3] == session.heights()[0]


def test_time_passes_as_it_is_told_to(session: Session) -> None:
    session.faults.run(1_234)
    assert session.now_ms == 1_234


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (lambda faults: faults.crash(4), "crash: member: member 4 does not exist"),
        (lambda faults: faults.links(loss=2), r"loss"),
        (lambda faults: faults.disk(0, "melt"), r"what"),
    ],
)
def test_faults_that_cannot_be_are_refused(session: Session, fault, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        fault(session.faults)


# What is staged.


@pytest.mark.parametrize(
    "name", ["equivocate", "equivocate-with-votes", "censor", "one-way-cuts", "cut-primary", "lossy-links"]
)
@pytest.mark.parametrize("n", [4, 7])
def test_an_attack_fires_beside_other_work_and_is_withstood(name: str, n: int) -> None:
    with Session(find_attack(name).scenario(n, 3)) as session:
        client = session.client()
        for number in range(8):
            client.submit(put("a", str(number)))
        assert failed(session.finish()) == []
        assert session.silent == ()
        assert set(session.honest) | set(session.liars) == set(range(n))


def test_who_does_nothing_is_told() -> None:
    with Session(find_attack("wrong-digest").scenario(4, 0)) as session:
        assert failed(session.finish()) == []
        assert session.silent == ("wrong-digest",)


def test_an_audit_in_between_asks_for_nothing_that_takes_time(session: Session) -> None:
    client = session.client()
    client.submit(put("a", "1"))
    session.faults.crash(2)
    found = by_oracle(session.audit())
    assert failed(tuple(found.values())) == []
    assert "liveness" not in found
    assert "agreement" in found
    session.faults.restart(2)
    assert "liveness" in by_oracle(session.finish())


def test_a_session_may_be_finished_again_and_what_came_in_between_is_judged() -> None:
    with Session(honest(f"{APPLICATIONS}:Remembering")) as session:
        client = session.client()
        client.submit(b"ann")
        assert failed(session.finish()) == []
        client.submit(b"bob")
        found = by_oracle(session.finish())
    assert found["validity"].verdict is Verdict.FAIL
    assert found["liveness"].verdict is Verdict.PASS


def test_faults_between_two_ends_of_a_session_end_as_well(session: Session) -> None:
    client = session.client()
    assert failed(session.finish()) == []
    session.faults.crash(2)
    session.faults.isolate(3)
    with pytest.raises(OutcomeUnknown):
        client.submit(put("a", "1"), timeout=3)
    assert failed(session.finish()) == []
    assert client.operations[0].outcome == "committed"
    assert set(session.heights().values()) == {session.heights()[0]}


class Mute(Behaviour):
    """Says nothing about ordering."""

    name = "mute"

    def on_message(self, to, envelope, message):
        if not self.may_fire(to=to):
            return None
        self.fire()
        return ()


def test_a_network_that_orders_nothing_any_more_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, "mute", Mute)
    liars = (liar(2, "mute"), liar(3, "mute"))
    with Session(honest(liars=liars, expect=Expect(safe=False, live_within_ms=5_000))) as session:
        liveness = by_oracle(session.finish())["liveness"]
    assert liveness.verdict is Verdict.FAIL
    assert "all had converged, and nothing was ordered any more" in liveness.why


def test_what_was_found_stays_found_when_a_session_is_finished_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, "mute", Mute)
    liars = tuple(liar(member, lie("mute", to_ms=60_000)) for member in (2, 3))
    with Session(honest(liars=liars, expect=Expect(safe=False, live_within_ms=5_000))) as session:
        first = by_oracle(session.finish())["liveness"]
        session.run(200_000)
        converged = [session.world.observed.converged_us]
        assert by_oracle(session.finish())["liveness"] == first
        converged.append(session.world.observed.converged_us)
    assert first.verdict is Verdict.FAIL
    assert [each is None for each in converged] == [True, False]


def test_what_an_application_raises_at_one_place_is_one_fault() -> None:
    with Session(honest(f"{APPLICATIONS}:Picky")) as session:
        client = session.client()
        codes = [str(client.submit(name).result.code) for name in (b"ann", b"bob", b"cid")]
        (fault,) = session.application_errors
    assert codes == ["error"] * 3
    assert (fault.what.partition(" at ")[0], len(fault.asked)) == ("KeyError: b'ann'", 3)


def test_what_an_application_raises_is_kept_with_its_traceback() -> None:
    with Session(honest(RAISING)) as session:
        client = session.client()
        for value in ("3", "4", "6"):
            client.submit(put("a", value))
        assert failed(session.finish()) == []
        (fault,) = session.application_errors
    assert (fault.method, len(fault.asked)) == ("execute", 2)
    assert fault.what.startswith("ZeroDivisionError at ")
    assert "raise ZeroDivisionError" in fault.traceback


TRACED = """
from tests.byzantine.test_session import traced
print(traced())
"""


def traced() -> str:
    recorder = Recorder()
    with Session(find_attack("equivocate").scenario(4, 7), recorder=recorder) as session:
        client = session.client()
        session.faults.links(loss=0.2, repeat=0.2, reorder=0.5)
        for number in range(4):
            client.submit(put("a", str(number)))
        client.query({"op": "get", "key": "a"})
        session.finish()
    return fingerprint(recorder.events)


def test_the_same_seed_gives_the_same_events_in_every_process() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "99", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", TRACED]
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert traced() == other.stdout.strip()


# Applications of one's own.


def judged(application: str, elsewhere: Elsewhere, **parameters: str) -> dict[str, Finding]:
    scenario = honest(f"{APPLICATIONS}:{application}", parameters=parameters)
    with Session(scenario, elsewhere=elsewhere) as session:
        client = session.client()
        for name in (b"ann", b"bob", b"cid"):
            client.submit(name)
        return by_oracle(session.finish())


def test_an_application_of_ones_own_is_executed_anew(elsewhere: Elsewhere) -> None:
    found = judged("Names", elsewhere)
    assert failed(tuple(found.values())) == []
    assert "linearizability" not in found
    assert "determinism" in found


def test_an_application_is_given_its_parameters() -> None:
    with Session(honest(f"{APPLICATIONS}:Names", parameters={"greeting": "number "})) as session:
        client = session.client()
        assert client.submit(b"ann").value == "number 1"
        assert client.query(b"{}", min_height=1).value == "ann"
        assert failed(session.finish()) == []


def test_what_is_kept_beside_the_state_is_found(elsewhere: Elsewhere) -> None:
    validity = judged("Remembering", elsewhere)["validity"]
    assert validity.verdict is Verdict.FAIL
    assert validity.why.endswith('came to ok "2", and executed anew to ok "1"')


@pytest.mark.parametrize("application", ["Unordered", "LocalTime"])
def test_what_differs_between_machines_is_found(elsewhere: Elsewhere, application: str) -> None:
    found = judged(application, elsewhere)
    assert found["validity"].verdict is Verdict.PASS
    assert found["determinism"].verdict is Verdict.FAIL
    assert found["determinism"].why.startswith("in another process, block 1: ")


def test_replicas_that_look_at_their_clocks_disagree() -> None:
    with Session(honest(f"{APPLICATIONS}:Clocked")) as session:
        with pytest.raises(OutcomeUnknown):
            session.client().submit(b"ann", timeout=5)
        found = by_oracle(session.finish())
    assert found["agreement"].verdict is Verdict.FAIL
    assert found["validity"].verdict is Verdict.FAIL


def test_an_application_that_cannot_be_found_elsewhere_is_inconclusive(elsewhere: Elsewhere) -> None:
    with Session(honest(f"{APPLICATIONS}:Names")) as session:
        genesis = session.genesis
    hidden = type(genesis)(1, "hidden", 0, "pbft", "not_there:Application", genesis.members)
    with pytest.raises(Unavailable, match="cannot be imported"):
        elsewhere.first_difference(hidden, [], [])
