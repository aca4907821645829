"""Errors of use: one line on standard error, exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


class UsageError(Exception):
    """Input that cannot be used; the message says what and what to do."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn errors that a user can mend into one line and exit code 2."""
    try:
        yield
    except BrokenPipeError:
        nobody_reads()
        raise typer.Exit(0) from None
    except Exception as error:
        if not isinstance(error, _mendable()):
            raise
        complain(str(error))
        raise typer.Exit(2) from None


def nobody_reads() -> None:
    """Whoever read our output has seen enough: nothing more may be flushed into the closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(message: str) -> None:
    """Say what is wrong, in one line on standard error."""
    note(f"berth: {message}")


def note(message: str) -> None:
    """One line on standard error, of characters that do nothing to a terminal."""
    line = " ".join(message.split())
    print("".join(c if c.isprintable() else repr(c)[1:-1] for c in line), file=sys.stderr)


def _mendable() -> tuple[type[Exception], ...]:
    # An error of the API server can only come where its client is loaded, which takes a second:
    # commands that need no cluster do without.
    kube = sys.modules.get("berth.kube.errors")
    return (UsageError, OSError, *((kube.ConfigError, kube.ApiError) if kube else ()))
