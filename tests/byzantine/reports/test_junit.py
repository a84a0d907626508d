from xml.etree import ElementTree

from byzantine.reports import junit
from byzantine.verdicts import Finding
from tests.byzantine.reports.traces import INCONCLUSIVE, make_failure, make_result, make_summary

UNSURE = make_result("odd", findings=(Finding("liveness", INCONCLUSIVE, "a process was lost"),))
SUMMARY = make_summary(
    make_result("mute", seed=1), make_result("mute", seed=2), make_failure("two-faced"), UNSURE
)


def parsed(summary):
    return ElementTree.fromstring(junit.render(summary))


def test_there_is_a_suite_per_scenario_and_a_case_per_run():
    root = parsed(SUMMARY)
    assert root.tag == "testsuites"
    assert [(suite.get("name"), len(suite.findall("testcase"))) for suite in root] == [
        ("mute", 2),
        ("two-faced", 1),
        ("odd", 1),
    ]


def test_the_counts_are_those_of_the_cases():
    root = parsed(SUMMARY)
    assert [root.get(key) for key in ("tests", "failures", "errors")] == ["4", "1", "1"]
    for element in (root, *root):
        assert int(element.get("tests")) == len(element.findall(".//testcase"))
        assert int(element.get("failures")) == len(element.findall(".//failure"))
        assert int(element.get("errors")) == len(element.findall(".//error"))


def test_cases_can_be_told_apart():
    names = [(case.get("classname"), case.get("name")) for case in parsed(SUMMARY).iter("testcase")]
    assert len(set(names)) == len(names)
    assert ("byzantine.mute", "n=4 seed=1 simulated") in names


def test_a_failure_says_why_and_how_to_repeat_it():
    failure = parsed(SUMMARY).find(".//failure")
    assert failure.get("message").startswith("agreement: replicas 2 and 3")
    assert "liveness: the run was stopped" in failure.text
    assert "again: tetrarch attack run two-faced --seed 7" in failure.text


def test_members_are_told_from_numbers_of_them():
    told = parsed(make_summary(make_result(blamed=(0,), liars=(0, 2)))).find(".//system-out").text
    assert "blamed: replica 0\n" in told
    assert "liars: replicas 0 and 2\n" in told


def test_an_inconclusive_run_is_an_error_and_no_skip():
    root = parsed(make_summary(UNSURE))
    assert root.find(".//error").get("message") == "liveness: a process was lost"
    assert root.find(".//skipped") is None


def test_a_run_that_no_oracle_looked_at_is_an_error():
    assert parsed(make_summary(make_result(findings=()))).find(".//error") is not None


def test_what_xml_cannot_hold_is_replaced():
    odd = make_failure("<a>&\x00\x1b\ud800", fired={"\x01": 1})
    root = parsed(make_summary(odd))
    assert root[0].get("name").startswith("<a>&")
