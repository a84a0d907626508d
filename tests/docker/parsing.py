"""Asking the command line whether it would take arguments, without doing what they say."""

import click

from tetrarch.cli import cli


def accepted(*arguments: str) -> None:
    """Parse arguments as `tetrarch` would. Raises `click.UsageError` for what it would refuse."""
    context = click.Context(cli, info_name="tetrarch")
    name, command, rest = cli.resolve_command(context, list(arguments))
    assert command is not None
    command.make_context(name, rest, parent=context)
