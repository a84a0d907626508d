"""`tetrarch attack`: malicious-replica tests from the command line.

What lives here: the group; each command lies in a module of its own, imported when it is called. What must
not be known here: what a command does.
"""

from importlib import import_module

import click

COMMANDS = {
    "list": (
        "byzantine.cli.listing:list_attacks",
        "Show the catalogue: every attack, and what must come of it.",
    ),
    "run": ("byzantine.cli.running:run", "Stage attacks, or scenarios in files, and judge them."),
    "campaign": ("byzantine.cli.campaigns:campaign", "Run many random schedules on all cores."),
    "replay": ("byzantine.cli.replaying:replay", "Repeat a failed run from its file, and draw it."),
    "shrink": ("byzantine.cli.replaying:shrink_replay", "Make a failed run's file as small as it gets."),
    "mutants": (
        "byzantine.cli.mutants:mutants",
        "Break each rule of the protocol, and see the campaign notice.",
    ),
}


class AttackGroup(click.Group):
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


@click.group(cls=AttackGroup)
def attack() -> None:
    """Test the ledger, or an application on it, against replicas, clients and networks that lie.

    Everything runs on this machine, in simulated or throw-away networks of its own.
    """
