"""All commands of `berth`."""

from __future__ import annotations

import typer

from berth.cli.controller import controller_command
from berth.cli.crds import crds_command

app = typer.Typer(
    name="berth",
    help="Keeps units of work placed on the processes that do it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("controller")(controller_command)
app.command("crds")(crds_command)


def main() -> None:
    """The entry point."""
    app()
