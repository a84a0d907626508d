"""A summary for programs: JSON, with a schema made from the types below.

The keys are those that `tetrarch attack run --json` and `tetrarch attack campaign --json` promise. More may
be added; none changes its meaning within a format. docs/schemas/attack-report.schema.json is what `schema`
returns.
"""

import sys
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from byzantine.verdicts import FORMAT, Result, Summary, Verdict

Count = Annotated[int, Meta(ge=0)]
Answer = bool | None


class ReportedFinding(Struct, frozen=True, forbid_unknown_fields=True):
    """What one oracle says of a run."""

    oracle: str
    verdict: Verdict
    why: Annotated[str, Meta(description="One line; empty for a pass that needs no words.")]


class ReportedRun(Struct, frozen=True, forbid_unknown_fields=True):
    """One run of one scenario."""

    name: Annotated[str, Meta(description="The scenario.")]
    n: Annotated[int, Meta(ge=1, description="How many replicas it had.")]
    seed: int
    runner: Annotated[str, Meta(description="simulated or processes.")]
    fired: Annotated[
        dict[str, Count], Meta(description="How often each behaviour really did what it is named for.")
    ]
    fired_by: Annotated[
        dict[str, dict[str, Count]],
        Meta(
            description="The same for each who has a behaviour: member N, hostile client N, network. Hostile"
            " clients are numbered apart from honest ones."
        ),
    ]
    safe: Annotated[
        Answer, Meta(description="Whether all oracles of safety passed; null where that is inconclusive.")
    ]
    live: Annotated[
        Answer, Meta(description="Whether it converged in time; null where that is inconclusive.")
    ]
    recovered_ms: Annotated[
        int | None,
        Meta(description="From the end of all faults to convergence; null where it did not converge."),
    ]
    within_ms: Annotated[
        int | None,
        Meta(
            description="How long that might have taken, by the same clock; null where it was not expected."
        ),
    ]
    blamed: Annotated[
        tuple[Count, ...], Meta(description="Members that honest replicas hold evidence against.")
    ]
    liars: Annotated[tuple[Count, ...], Meta(description="Members that lied.")]
    verdict: Annotated[Verdict, Meta(description="The worst of all findings; inconclusive is no pass.")]
    findings: tuple[ReportedFinding, ...]
    blocks: Annotated[int, Meta(ge=0, description="The height that the longest honest chain reached.")]
    views: Annotated[int, Meta(ge=0, description="The highest view that an honest replica was in.")]
    seconds: Annotated[float, Meta(ge=0, description="How long the run took on its machine.")]


class Report(Struct, frozen=True, forbid_unknown_fields=True):
    """What runs of malicious-replica scenarios came to."""

    format: Annotated[int, Meta(description="Of this file.", ge=FORMAT, le=FORMAT)]
    version: Annotated[str, Meta(description="Of the program that ran.")]
    commit: Annotated[str, Meta(description="Of the code that ran; empty outside a working copy.")]
    runner: str
    seconds: Annotated[float, Meta(ge=0, description="How long all runs took together.")]
    schedules: Annotated[int, Meta(ge=0, description="How many runs there were.")]
    schedules_per_minute: Annotated[float, Meta(ge=0)]
    failures: Annotated[int, Meta(ge=0, description="How many runs are no pass, inconclusive ones included.")]
    scenarios: Annotated[
        tuple[ReportedRun, ...], Meta(description="The runs, in the order in which they ended.")
    ]


def report(summary: Summary) -> Report:
    """Return a summary as what is written."""
    return Report(
        format=FORMAT,
        version=summary.version,
        commit=summary.commit,
        runner=summary.runner,
        seconds=round(summary.seconds, 3),
        schedules=len(summary.results),
        schedules_per_minute=round(summary.schedules_per_minute, 1),
        failures=len(summary.failures),
        scenarios=tuple(_run(result) for result in summary.results),
    )


def value(summary: Summary) -> dict[str, Any]:
    """Return a summary as plain values, as commands print them."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(report(summary)))
    return plain


def render(summary: Summary) -> bytes:
    """Return a summary as one JSON document, indented, with a line's end."""
    return msgspec.json.format(msgspec.json.encode(report(summary)), indent=2) + b"\n"


def parse(document: bytes) -> Report:
    """Return what a document says. Raises `msgspec.MsgspecError` where the schema does not allow it."""
    return msgspec.json.decode(document, type=Report)


def schema() -> bytes:
    """Return the JSON Schema of a report, indented, with a line's end."""
    made = msgspec.json.schema(Report)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Tetrarch attack report"}
    return msgspec.json.format(msgspec.json.encode(head | made), indent=2) + b"\n"


def _run(result: Result) -> ReportedRun:
    return ReportedRun(
        name=result.name,
        n=result.n,
        seed=result.seed,
        runner=result.runner,
        fired=dict(result.fired),
        fired_by=result.fired_by,
        safe=_answer(result.safe),
        live=_answer(result.live),
        recovered_ms=result.recovered_ms,
        within_ms=result.within_ms,
        blamed=result.blamed,
        liars=result.liars,
        verdict=result.verdict,
        findings=tuple(
            ReportedFinding(finding.oracle, finding.verdict, finding.why) for finding in result.findings
        ),
        blocks=result.blocks,
        views=result.views,
        seconds=round(result.seconds, 3),
    )


def _answer(verdict: Verdict) -> Answer:
    """Inconclusive is null: what tests it for truth never takes it for a pass."""
    return None if verdict is Verdict.INCONCLUSIVE else verdict is Verdict.PASS


if __name__ == "__main__":
    sys.stdout.buffer.write(schema())
