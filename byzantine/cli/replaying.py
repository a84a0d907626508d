"""`tetrarch attack replay` and `shrink`: failed runs from their files."""

import time
from pathlib import Path

import click
from msgspec import structs

from byzantine.cli.reporting import report, report_options, save_failures, summarised
from byzantine.verdicts import Finding, Verdict
from tetrarch.cli.output import Exit, fail, json_option, print_json

file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
commit_option = click.option(
    "--any-commit", is_flag=True, help="Also where the file is of another commit: the run may be another one."
)


@click.command()
@file_argument
@commit_option
@report_options
def replay(
    file: Path, any_commit: bool, html: Path | None, junit: Path | None, save: Path | None, as_json: bool
) -> int:
    """Repeat the run in FILE exactly, and judge it anew."""
    from byzantine.campaign.replay import load_replay
    from byzantine.campaign.runs import recorded
    from byzantine.scenario_file import UnusableFile
    from byzantine.trace import fingerprint

    try:
        kept = load_replay(file, any_commit)
    except UnusableFile as error:
        fail(Exit.USAGE, str(error))
    began = time.perf_counter()
    result, events = recorded(kept.scenario)
    if kept.trace and fingerprint(events) != kept.trace:
        why = "the trace is another one than in the file: this is not the same run"
        finding = Finding("repeatability", Verdict.INCONCLUSIVE, why)
        result = structs.replace(result, findings=(*result.findings, finding))
    summary = summarised("simulated", began, [result])
    return report(summary, lambda _result: kept.scenario, html, junit, save, as_json)


@click.command(name="shrink")
@file_argument
@commit_option
@click.option("--runs", type=click.IntRange(1, 100_000), default=600, show_default=True, help="At most.")
@click.option(
    "--save",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    default=Path("shrunk"),
    show_default=True,
    help="Where the smaller replay and its pytest file go.",
)
@json_option
def shrink_replay(file: Path, any_commit: bool, runs: int, save: Path, as_json: bool) -> int:
    """Find the smallest scenario that still fails as the run in FILE does."""
    from byzantine.campaign.replay import load_replay
    from byzantine.campaign.runs import judged
    from byzantine.campaign.shrink import same_failure, shrink
    from byzantine.scenario_file import UnusableFile

    try:
        kept = load_replay(file, any_commit)
    except UnusableFile as error:
        fail(Exit.USAGE, str(error))
    first = judged(kept.scenario)
    if not first.failed:
        fail(Exit.FAILED, f"{file}: nothing fails in it any more")
    shrunk = shrink(kept.scenario, same_failure(judged, first), runs)
    save_failures([judged(shrunk.scenario)], lambda _result: shrunk.scenario, save)
    before, after = kept.scenario.events, shrunk.scenario.events
    if as_json:
        print_json({"events_before": before, "events": after, "runs": shrunk.runs, "directory": str(save)})
    else:
        click.echo(f"{before} events became {after}, in {shrunk.runs} runs. Written to {save}/")
    return Exit.FINE
