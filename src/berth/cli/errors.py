"""Errors that the user can fix: one line on standard error, exit code 2."""

from __future__ import annotations

import os
import sys


class UsageError(Exception):
    """Unusable input; the message says what is wrong and what to do."""


def describe(error: Exception) -> str | None:
    """The message of an error that the user can fix; None for any other."""
    # Only commands that use a cluster import its client, which takes a second.
    kube = sys.modules.get("berth.kube.errors")
    fixable = (UsageError, OSError, *((kube.ConfigError, kube.ApiError) if kube else ()))
    return str(error) if isinstance(error, fixable) else None


def note(message: str) -> None:
    """Print one line on standard error, with control characters escaped."""
    line = f"berth: {' '.join(message.split())}"
    print("".join(c if c.isprintable() else repr(c)[1:-1] for c in line), file=sys.stderr)


def discard_output() -> None:
    """Send further output nowhere: the reader has closed the pipe, and a flush at exit would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
