"""What the production audit says of stores that a run left counts like an oracle's own finding."""

from byzantine.oracles import Observation
from byzantine.oracles.ledger import validity
from byzantine.runners.stores import faults
from byzantine.scenario import Scenario
from byzantine.simulation.genesis import simulated_genesis
from byzantine.simulation.signatures import signatures
from byzantine.verdicts import Verdict
from crypto.attestation import Height
from ledger.audit import report as audit


def report(verdict: audit.Verdict, *found: audit.Fault) -> audit.Report:
    none = Height(0)
    return audit.Report(verdict, "store", "full", none, "", 0, 0, none, none, none, (), (), found, 0, ())


def test_a_valid_store_has_no_faults() -> None:
    assert faults(report(audit.Verdict.VALID)) == []


def test_an_audit_that_is_not_valid_fails_a_run_even_if_it_names_no_fault() -> None:
    assert faults(report(audit.Verdict.INCOMPLETE)) == ["the audit calls it incomplete"]


def test_a_fault_is_named_and_fails_validity() -> None:
    fault = audit.Fault("store", "blocks", Height(3), "result_root", "is another one")
    found = faults(report(audit.Verdict.INVALID, fault))
    assert found == ["blocks 3 result_root: is another one"]
    keys = signatures("stand-in")
    seen = Observation(
        Scenario(name="audited"),
        simulated_genesis(Scenario(name="audited"), keys),
        {},
        keys.check,
        audit_faults=found,
    )
    finding = validity(seen)
    assert (finding.verdict, finding.why) == (Verdict.FAIL, f"the audit of {found[0]}")
