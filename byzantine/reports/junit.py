"""A summary for CI systems: JUnit XML, a suite per scenario and a case per run.

A run that failed is a failure; an inconclusive one is an error, so that no CI takes it for a pass. The shape
is what Jenkins, GitLab and the like read: testsuites, testsuite, testcase with failure or error, system-out.
"""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from byzantine.reports.groups import Group, grouped
from byzantine.reports.wording import Replay, clean, fired, fired_by, live, named, replay_command
from byzantine.verdicts import Result, Summary, Verdict


def render(summary: Summary, replay: Replay = replay_command) -> bytes:
    """Return a summary as an XML document."""
    root = Element("testsuites", {"name": "tetrarch attack", **_counts(summary.results)})
    root.set("time", f"{summary.seconds:.3f}")
    for group in grouped(summary.results):
        root.append(_suite(group, replay))
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _suite(group: Group, replay: Replay) -> Element:
    suite = Element("testsuite", {"name": clean(group.name), **_counts(group.results), "skipped": "0"})
    suite.set("time", f"{sum(result.seconds for result in group.results):.3f}")
    for result in group.results:
        suite.append(_case(result, replay))
    return suite


def _counts(results: tuple[Result, ...]) -> dict[str, str]:
    verdicts = [result.verdict for result in results]
    return {
        "tests": str(len(results)),
        "failures": str(verdicts.count(Verdict.FAIL)),
        "errors": str(verdicts.count(Verdict.INCONCLUSIVE)),
    }


def _case(result: Result, replay: Replay) -> Element:
    name = f"n={result.n} seed={result.seed} {clean(result.runner)}"
    case = Element("testcase", {"classname": f"byzantine.{_dotless(clean(result.name))}", "name": name})
    case.set("time", f"{result.seconds:.3f}")
    if result.verdict is not Verdict.PASS:
        tag = "failure" if result.verdict is Verdict.FAIL else "error"
        reasons = [
            f"{clean(finding.oracle)}: {clean(finding.why) or finding.verdict}" for finding in result.failed
        ]
        reasons = reasons or ["no oracle looked at this run"]
        wrong = SubElement(case, tag, {"message": reasons[0], "type": result.verdict.value})
        wrong.text = "\n".join([*reasons, f"again: {clean(replay(result))}"])
    SubElement(case, "system-out").text = _facts(result)
    return case


def _facts(result: Result) -> str:
    return "\n".join(
        (
            f"fired: {fired(result.fired) or 'nothing'}",
            *(f"fired at {line}" for line in (fired_by(result),) if line),
            f"live: {live(result)}",
            f"blamed: {named(result.blamed) or 'nobody'}",
            f"liars: {named(result.liars) or 'nobody'}",
            f"blocks: {result.blocks}, views: {result.views}",
        )
    )


def _dotless(name: str) -> str:
    """CI systems take dots for packages."""
    return name.replace(".", "_")
