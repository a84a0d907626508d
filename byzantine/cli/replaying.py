"""`tetrarch attack replay` and `shrink`: failed runs from their files."""

import time
from pathlib import Path

import click
from msgspec import structs

from byzantine.cli.reporting import report, report_options, summarised
from byzantine.cli.saving import Saving, save_failure, writable_directory
from byzantine.verdicts import Finding, Verdict
from tetrarch.cli.output import Exit, fail, json_option, print_json, shell, system_line

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
    again = f"tetrarch attack replay {shell(file)}{' --any-commit' * any_commit}"
    saving = Saving(save, lambda _result: kept.scenario)
    return report(summary, saving, html, junit, as_json, again=lambda _result: again)


@click.command(name="shrink")
@file_argument
@commit_option
@click.option("--runs", type=click.IntRange(1, 100_000), default=600, show_default=True, help="At most.")
@click.option(
    "--save",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    default=Path("shrunk"),
    callback=writable_directory,
    show_default=True,
    help="Where the smaller replay and its pytest file go.",
)
@json_option
def shrink_replay(file: Path, any_commit: bool, runs: int, save: Path, as_json: bool) -> int:
    """Find the smallest scenario that still fails as the run in FILE does."""
    from byzantine.campaign.replay import load_replay
    from byzantine.campaign.runs import judged
    from byzantine.campaign.shrink import found_again, gravest, same_failure, shrink
    from byzantine.scenario_file import UnusableFile

    try:
        kept = load_replay(file, any_commit)
    except UnusableFile as error:
        fail(Exit.USAGE, str(error))
    first = judged(kept.scenario)
    if not first.failed:
        fail(Exit.FAILED, f"{file}: nothing fails in it any more")
    shrunk = shrink(kept.scenario, same_failure(judged, first), runs)
    result = judged(shrunk.scenario)
    left = found_again(gravest(first), result) or gravest(result)
    before, after = kept.scenario.events, shrunk.scenario.events
    if as_json:
        told = {"events_before": before, "events": after, "runs": shrunk.runs, "directory": str(save)}
        print_json(told | {"oracle": left.oracle, "why": left.why})
    else:
        click.echo(f"{before} events became {after}, in {shrunk.runs} runs.")
        click.echo(f"What still fails: {left.oracle}: {left.why or left.verdict}")
    try:
        save_failure(result, shrunk.scenario, save)
    except OSError as error:
        fail(Exit.USAGE, f"{save} was not written: {system_line(error)}")
    if not as_json:
        click.echo(f"Written to {save}/")
    return Exit.FINE
