"""The `berth` program: its commands, its exit codes, and how errors are shown."""

import io
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from berth.cli.errors import UsageError, discard_output, note

COMMANDS = {
    "plan": ("plan", "Inspect", "Show where Items should be, what would change, and why."),
    "status": ("status", "Inspect", "Show Pools and their Members, problems first."),
    "explain": ("explain", "Inspect", "Explain the state of an Item or a Member, and what it waits for."),
    "drain": ("drain", "Operate", "Empty Members, so that they can be stopped."),
    "undrain": ("drain", "Operate", "Let drained Members hold Items again."),
    "controller": ("controller", "Run", "Run the operator."),
    "agent": ("agent", "Run", "Hold Items for a worker in any language."),
    "crds": ("crds", "Install", "Print the CRDs and the admission policy."),
}
"""The module of each command, its panel in the help, and the first sentence of its own help."""
_SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class _LazyGroup(TyperGroup):
    """Imports a command's module when the command runs, so that `--help` and `--version` stay fast."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # typer would exit with 1
            discard_output()
            return 0

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name is not None else command, rest


def load_command(name: str) -> Any:
    """Import a command: its module has the function `NAME_command`."""
    single = typer.Typer(**_SETTINGS)
    module, *_ = COMMANDS[name]
    single.command(name)(getattr(import_module(f"berth.cli.{module}"), f"{name}_command"))
    return typer.main.get_command(single)


app = typer.Typer(name="berth", cls=_LazyGroup, no_args_is_help=True, **_SETTINGS)
for _name, (_, _panel, _summary) in COMMANDS.items():
    app.command(_name, help=_summary, rich_help_panel=_panel)(lambda: None)


def _print_version(requested: bool) -> None:
    if requested:
        # Only `--version` needs it, and every start would pay for it.
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
    """The entry point. Exit codes: 0 done, 1 not done in time, 2 unusable input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        # Where the locale cannot encode the bars, question marks are better than a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    program = "kubectl berth" if Path(sys.argv[0]).name == "kubectl-berth" else "berth"
    try:
        code = app(prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        code = 0
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        code = _report(error, program)
    sys.exit(code)


def _report(error: Exception, program: str) -> int:
    """Print what the user can fix, and give the exit code. Raises any other error.

    typer has its own copy of click in a private module, so its errors are recognized by their attributes.
    """
    # Only commands that use a cluster import its client, which takes a second.
    kube = sys.modules.get("berth.kube.errors")
    if isinstance(error, (UsageError, OSError, *((kube.ConfigError, kube.ApiError) if kube else ()))):
        note(str(error))
        return 2
    format_message, code = getattr(error, "format_message", None), getattr(error, "exit_code", None)
    if format_message is None or not isinstance(code, int):
        raise error
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else program
    if message := format_message():
        # typer checks values with pydantic, which puts this before the message of a check of its own.
        message = message.replace("Value error, ", "", 1).rstrip(".")
        note(f"{message}; see {path} --help")
    elif context is not None:
        print(context.get_help(), file=sys.stderr)
    return code
