"""`tetrarch bench`: measures a throw-away network, and shows the figures."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tetrarch.cli.connect import transport_option
from tetrarch.cli.output import Exit, console, fail, json_option, print_json
from tetrarch.signals import end_like_interrupt

if TYPE_CHECKING:
    from tetrarch.bench.run import Figures, Plan


@click.command()
@click.option("--replicas", "-n", type=click.IntRange(1, 64), default=4, show_default=True, help="How many.")
@click.option(
    "--transactions",
    type=click.IntRange(100, 2_000_000),
    default=20_000,
    show_default=True,
    help="At full load.",
)
@click.option("--seconds", type=click.FloatRange(1, 3600), help="Full load for so long, instead.")
@click.option("--clients", type=click.IntRange(1, 64), default=1, show_default=True, help="Under full load.")
@click.option("--window", type=click.IntRange(1, 16_000), help="Transactions under way per client.")
@click.option("--memory", is_flag=True, help="Also: memory while 300,000 transactions execute.")
@click.option("--rejoin", is_flag=True, help="Also: a replica away for 50,000 transactions comes back.")
@click.option("--audit", is_flag=True, help="Also: the rate of an audit at level full.")
@transport_option
@click.option("--directory", type=click.Path(path_type=Path), help="Where stores lie: a disk to be measured.")
@json_option
def bench(
    replicas: int,
    transactions: int,
    seconds: float | None,
    clients: int,
    window: int | None,
    memory: bool,
    rejoin: bool,
    audit: bool,
    transport: str,
    directory: Path | None,
    as_json: bool,
) -> int:
    """Measure throughput and latency of a throw-away network with everything on: one process per replica,
    individually signed transactions, TLS, fsync, every reply verified.

    The limit is what signatures alone would allow on this machine: cores / (n * t_verify + t_sign).
    """
    from tetrarch.bench.load import LoadFailed
    from tetrarch.bench.run import Plan
    from tetrarch.local_network import NotRunning
    from tetrarch.setup.errors import SetupError
    from tetrarch.setup.plan import check_size

    plan = Plan(replicas, transactions, seconds, clients, window, memory, rejoin, audit, transport)
    home = Path(tempfile.mkdtemp(prefix="tetrarch-bench-", dir=directory))
    try:
        check_size(replicas, development=True)
        end_like_interrupt()
        figures = _measured(plan, home / "net")
    except SetupError as error:
        fail(Exit.USAGE, str(error))
    except (LoadFailed, NotRunning) as error:
        fail(Exit.FAILED, str(error))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if as_json:
        print_json(figures.json())
    else:
        show(figures)
    return Exit.FINE


def _measured(plan: "Plan", directory: Path) -> "Figures":
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from tetrarch.bench.run import measure

    screen = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
        task = progress.add_task("bench", total=1)

        def tell(phase: str, done: int, total: int) -> None:
            progress.update(task, description=f"{phase:<16}", completed=done, total=total)

        return measure(plan, directory, tell)


def show(figures: "Figures") -> None:
    """Print the figures for people."""
    from rich.table import Table

    values = figures.json()
    rates = figures.rates
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(style="dim")
    cpu = ", ".join(f"{each:.0f}" for each in values["replica_cpu_us"])
    rows = (
        ("throughput", f"{values['throughput_tps']:,.0f} /s", f"{values['transactions']:,} transactions"),
        (
            "limit",
            f"{values['limit_tps']:,.0f} /s",
            f"{rates.cores} cores / ({values['n']} x {rates.verify_us:.1f} us + {rates.sign_us:.1f} us)",
        ),
        ("share of limit", f"{values['share_of_limit']:.1%}", ""),
        ("one client", f"{values['single_p50_ms']:.1f} ms", f"p50; p99 {values['single_p99_ms']:.1f} ms"),
        ("full load", f"{values['load_p50_ms']:,.0f} ms", f"p50; p99 {values['load_p99_ms']:,.0f} ms"),
        ("replicas' CPU", f"{cpu} us", "per transaction, of each replica"),
        ("client's CPU", f"{values['client_cpu_us']:.0f} us", "per transaction"),
        ("replica's memory", f"{values['replica_peak_mb']:.0f} MB", "peak, the largest of all"),
        ("batches", f"{values['transactions_per_block']:,.0f}", "transactions per block"),
        (
            "everything on",
            "",
            f"fsync, {_ways[figures.plan.transport]}, {values['transaction_bytes']} bytes each",
        ),
    )
    for row in rows:
        table.add_row(*row)
    for row in _section_rows(figures):
        table.add_row(*row)
    console().print(table)


_ways = {"tcp": "TLS", "mqtt": "TLS to the broker, sealed end to end"}


def _section_rows(figures: "Figures") -> Iterator[tuple[str, str, str]]:
    """The rows of the optional sections."""
    for sample in figures.memory:
        yield "memory", f"{sample.resident_mb:.0f} MB", f"after {sample.transactions:,}"
    away, audit = figures.rejoin, figures.audit
    if away is not None:
        took = f"for {away.transactions:,} transactions that took the others {away.executing_seconds:.1f} s"
        yield "rejoin", f"{away.catching_up_seconds:.1f} s", took
    if audit is not None:
        what = f"of all cores' verifications: {audit.transactions:,} in {audit.seconds:.1f} s"
        yield "audit, full", f"{audit.share_of_limit:.1%}", what
