"""`tetrarch top`: what all replicas do, live in the terminal."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrarch.cli.connect import network_argument
from tetrarch.cli.output import NOT_RUNNING, Exit, console, json_option, print_json
from tetrarch.signals import end_like_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tetrarch.cli.top_view import Frame
    from tetrarch.client.states import ReplicaStatus

REFRESHES_PER_S = 4
"""How often the screen is drawn anew between two looks: a terminal may have changed its size."""


@click.command()
@network_argument
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Look twice, an interval apart, print, and end.")
@json_option
def top(directory: Path, interval: float, once: bool, as_json: bool) -> int:
    """Watch all replicas: role, height, speed, memory, what they refuse, and who is connected to whom.

    DIR is a network, or its client.toml. Ctrl-C ends it. Replicas say this of themselves; nothing of it is
    proven. With --json, one object for each look. With --once, exit codes as for status.
    """
    from tetrarch.event_loop import run

    end_like_interrupt()
    with suppress(KeyboardInterrupt):
        watch = Looks(directory, interval)
        if once:
            frame = run(watch.second())
            _print(frame, as_json)
            return _exit_code(frame)
        if as_json or not console().is_terminal:
            run(watch.follow(lambda frame: _print(frame, as_json)))
        else:
            _live(watch)
    return Exit.FINE


class Looks:
    """Asks all replicas again and again, each by itself: one that hangs does not delay the others' rows."""

    def __init__(self, directory: Path, interval: float) -> None:
        from tetrarch.cli.connect import dialer_of, genesis_of
        from tetrarch.cli.top_view import History
        from tetrarch.rates import Rates

        self._genesis = genesis_of(directory)
        self._dialer = dialer_of(directory)
        self._interval = interval
        self._rates = Rates()
        self._history = History()
        self._reports: list[ReplicaStatus] = []

    async def second(self) -> "Frame":
        """Look twice, and return what was found the second time."""
        await self._look()
        self._frame()
        await asyncio.sleep(self._interval)
        await self._look()
        return self._frame()

    async def follow(self, show: "Callable[[Frame], None]") -> None:
        """Show what is known, once in every interval, until it is cancelled."""
        await self._look()
        asking = asyncio.gather(*(self._ask_on(report.member, report.name) for report in self._reports))
        try:
            while not asking.done():
                show(self._frame())
                await asyncio.wait((asking,), timeout=self._interval)
            asking.result()
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking

    async def _look(self) -> None:
        from tetrarch.survey import survey

        self._reports = await survey(self._genesis, self._dialer)

    async def _ask_on(self, member: int, name: str) -> None:
        from crypto.roster import MemberId
        from tetrarch.survey import ask

        while True:
            await asyncio.sleep(self._interval)
            self._reports[member] = await ask(MemberId(member), name, self._dialer)

    def _frame(self) -> "Frame":
        from tetrarch.cli.top_view import Frame

        reports = tuple(self._reports)
        rates, now = self._rates.next(reports), datetime.now(UTC)
        frame = Frame(self._genesis, reports, rates, self._history, now, self._interval)
        self._history.add(frame.transactions_per_s, frame.rates)
        return frame


def _live(watch: Looks) -> None:
    from rich.live import Live

    from tetrarch.event_loop import run

    with Live(console=console(), screen=True, refresh_per_second=REFRESHES_PER_S) as live:
        run(watch.follow(lambda frame: live.update(frame, refresh=True)))


def _print(frame: "Frame", as_json: bool) -> None:
    if as_json:
        print_json(_plain(frame))
    else:
        console().print(frame)


def _plain(frame: "Frame") -> dict[str, Any]:
    from tetrarch.cli.status import rows

    replicas = [
        row
        | {
            "tx_per_s": _rounded(rate.transactions_per_s),
            "blocks_per_s": _rounded(rate.blocks_per_s),
            "refused_lately": dict(rate.refused),
        }
        for row, rate in zip(rows(frame.reports), frame.rates, strict=True)
    ]
    return {
        "time": frame.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "height": frame.height,
        "tx_per_s": _rounded(frame.transactions_per_s),
        "blocks_per_s": _rounded(frame.blocks_per_s),
        "replicas": replicas,
    }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 2)


def _exit_code(frame: "Frame") -> Exit:
    from consensus.quorum import Quorums

    reached = sum(report.reply is not None for report in frame.reports)
    if reached < Quorums.byzantine(len(frame.reports)).weak:
        click.echo(NOT_RUNNING, err=True)
        return Exit.UNREACHABLE
    return Exit.FINE if reached == len(frame.reports) else Exit.INCOMPLETE
