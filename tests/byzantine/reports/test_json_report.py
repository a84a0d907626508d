from pathlib import Path

import msgspec
import pytest

from byzantine.reports import json_report
from byzantine.verdicts import Finding
from tests.byzantine.reports.traces import INCONCLUSIVE, make_failure, make_result, make_summary

SCHEMA = Path(__file__).parents[3] / "docs" / "schemas" / "attack-report.schema.json"
SUMMARY = make_summary(make_result("mute", blamed=(1,), liars=(1,)), make_failure("two-faced"))


def test_the_published_schema_is_the_one_that_the_code_makes():
    """After a change: python -m byzantine.reports.json_report > docs/schemas/attack-report.schema.json"""
    assert SCHEMA.read_bytes() == json_report.schema()


def test_the_promised_keys_are_there_and_required():
    document = msgspec.json.decode(json_report.render(SUMMARY))
    promised = {"schedules", "schedules_per_minute", "failures"}
    of_each = {"name", "n", "seed", "fired", "safe", "live", "blamed", "verdict"}
    assert promised <= document.keys()
    assert all(of_each <= row.keys() for row in document["scenarios"])
    definitions = msgspec.json.decode(json_report.schema())["$defs"]
    assert promised <= set(definitions["Report"]["required"])
    assert of_each <= set(definitions["ReportedRun"]["required"])


def test_a_report_says_what_the_summary_says():
    report = json_report.parse(json_report.render(SUMMARY))
    assert (report.schedules, report.failures, report.schedules_per_minute) == (2, 1, 80.0)
    passed, failed = report.scenarios
    assert (passed.safe, passed.live, passed.recovered_ms, passed.blamed) == (True, True, 870, (1,))
    assert (failed.safe, failed.live, failed.verdict) == (False, None, "fail")
    assert [finding.oracle for finding in failed.findings] == ["agreement", "liveness"]


def test_inconclusive_is_never_true_and_counts_as_a_failure():
    unsure = make_result(findings=(Finding("agreement", INCONCLUSIVE), Finding("liveness", INCONCLUSIVE)))
    report = json_report.parse(json_report.render(make_summary(unsure)))
    assert report.failures == 1
    assert report.scenarios[0].safe is None
    assert report.scenarios[0].live is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"schedules": 2', b'"schedules": -2'),
        (b'"format": 1', b'"format": 2'),
        (b'"verdict": "fail"', b'"verdict": "maybe"'),
        (b'"failures": 1,', b'"failures": 1, "surprise": 0,'),
        (b'"failures": 1,', b""),
    ],
)
def test_what_the_schema_does_not_allow_is_refused(old, new):
    document = json_report.render(SUMMARY)
    assert old in document
    with pytest.raises(msgspec.MsgspecError):
        json_report.parse(document.replace(old, new))


def test_what_commands_print_is_what_files_hold():
    assert json_report.value(SUMMARY) == msgspec.json.decode(json_report.render(SUMMARY))
