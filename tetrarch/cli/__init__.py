"""The command line, `tetrarch`: parses arguments, prints, and turns outcomes into exit codes.

Each command lives in a module of its own, which is imported when the command is called: `tetrarch --help` and
wrong arguments cost nothing more than click.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from tetrarch.cli.output import (
    INTERRUPTED,
    NOT_RUNNING,
    Exit,
    Stop,
    colours,
    error_line,
    exit_code_of,
    system_line,
)

COMMANDS = {
    "init": ("tetrarch.cli.init:init", "Make a network: keys, certificates, configuration."),
    "up": ("tetrarch.cli.run:up", "Run all replicas of a network on this machine."),
    "down": ("tetrarch.cli.run:down", "Stop all replicas of a network on this machine."),
    "node": ("tetrarch.cli.run:node", "Run one replica in the foreground."),
    "dev": ("tetrarch.cli.run:dev", "A throw-away network in one word."),
    "status": ("tetrarch.cli.status:status", "Show what every replica is doing."),
    "top": ("tetrarch.cli.top:top", "Watch all replicas, live."),
    "logs": ("tetrarch.cli.logs:logs", "Follow one transaction through all replicas' logs."),
    "tx": ("tetrarch.cli.tx:tx", "Submit transactions, and look them up."),
    "get": ("tetrarch.cli.get:get", "Read a key, with its proof verified."),
    "receipt": ("tetrarch.cli.receipt:receipt", "Fetch receipts, and verify them offline."),
    "audit": ("tetrarch.cli.audit:audit", "Verify the stores of replicas offline."),
    "evidence": ("tetrarch.cli.evidence:evidence", "List and verify proofs of misbehaviour."),
    "attack": ("byzantine.cli:attack", "Test against replicas, clients and networks that lie."),
    "bench": ("tetrarch.cli.bench:bench", "Measure throughput and latency with everything on."),
    "demo": ("tetrarch.cli.demo:demo", "The whole story in one run."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"tetrarch {version('tetrarch')}")
        except PackageNotFoundError:
            click.echo("tetrarch, not installed: run from its source")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
def cli() -> None:
    """A ledger that several replicas keep together, some of which may lie.

    Every command takes --json. Exit codes: 0 fine, 1 the check failed, 2 usage, 3 unreachable, 4 incomplete.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        code: Any = cli.main(arguments, prog_name="tetrarch", standalone_mode=False, color=colours())
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except Stop as stop:
        click.echo(f"tetrarch: {stop}", err=True)
        return stop.code
    except BrokenPipeError:
        _silence()  # who reads has seen enough
        return Exit.INCOMPLETE
    except Exception as error:
        known = exit_code_of(error)
        if known is None and isinstance(error, OSError):
            return _system_error(error)
        if known is None:
            raise
        click.echo(f"tetrarch: {error_line(error)}", err=True)
        if known == Exit.UNREACHABLE:
            click.echo(NOT_RUNNING, err=True)
        return known
    return code if isinstance(code, int) else Exit.FINE


def _system_error(error: OSError) -> int:
    """Tell what the operating system refused: a file of the user's, or room for what is printed."""
    with suppress(OSError):
        click.echo(f"tetrarch: {system_line(error)}", err=True)
    if error.filename is None:
        _silence()
    return Exit.USAGE


def _silence() -> None:
    """Let nothing more be printed: else the interpreter would complain once more at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_standard_streams() -> None:
    """Connect to nobody what the caller closed of stdin, stdout and stderr: else the next file or socket that
    is opened would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def main() -> None:
    """The console script."""
    _open_standard_streams()
    sys.exit(run())
