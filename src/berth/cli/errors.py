"""Errors of use: one line on standard error, exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from berth.kube import ApiError, ConfigError


class UsageError(Exception):
    """Input that cannot be used; the message says what and what to do."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn errors that a user can mend into one line and exit code 2."""
    try:
        yield
    except (UsageError, ConfigError, ApiError, OSError) as error:
        print("berth: " + " ".join(str(error).split()), file=sys.stderr)
        raise typer.Exit(2) from None
