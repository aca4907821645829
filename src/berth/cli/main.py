"""All commands of `berth`. What a command needs is loaded when it runs, so that each starts fast."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from berth.cli.agent import agent_command
from berth.cli.controller import controller_command
from berth.cli.crds import crds_command
from berth.cli.drain import drain_command, undrain_command
from berth.cli.errors import complain, nobody_reads
from berth.cli.explain import explain_app
from berth.cli.plan import plan_command
from berth.cli.status import status_command

app = typer.Typer(
    name="berth",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("plan", rich_help_panel="Look")(plan_command)
app.command("status", rich_help_panel="Look")(status_command)
app.add_typer(explain_app, name="explain", rich_help_panel="Look")
app.command("drain", rich_help_panel="Act")(drain_command)
app.command("undrain", rich_help_panel="Act")(undrain_command)
app.command("controller", rich_help_panel="Run")(controller_command)
app.command("agent", rich_help_panel="Run")(agent_command)
app.command("crds", rich_help_panel="Install")(crds_command)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"berth {version('berth-operator')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version.")
    ] = False,
) -> None:
    """Keep units of work placed on the processes that do it."""


def main() -> None:
    """The entry point. Exit codes: 0, 1 not done in time, 2 input that cannot be used, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        # Where the locale has no bars, question marks are better than a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    program = "kubectl berth" if Path(sys.argv[0]).name == "kubectl-berth" else "berth"
    try:
        code = app(prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads()
        code = 0
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        code = _usage(program, error)
        if code is None:
            raise
    sys.exit(code)


def _usage(program: str, error: Exception) -> int | None:
    """Say what is wrong with the options; None where the error is of another kind.

    The class is typer's own copy of click's, in a module without a public name: known by its shape.
    """
    describe, code = getattr(error, "format_message", None), getattr(error, "exit_code", None)
    if describe is None or not isinstance(code, int):
        return None
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else program
    if message := describe():
        # So pydantic begins what a value's own check says.
        complain(f"{message.rstrip('.').replace('Value error, ', '', 1)}; see {path} --help")
    elif context is not None:
        print(context.get_help(), file=sys.stderr)
    return code
