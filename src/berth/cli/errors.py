"""Errors that the user can fix: one line on standard error, exit code 2."""

import difflib
import os
import sys


class UsageError(Exception):
    """Unusable input; the message says what is wrong and what to do."""


def note(message: str) -> None:
    """Print one line on standard error, with control characters escaped."""
    line = f"berth: {' '.join(message.split())}"
    print("".join(c if c.isprintable() else repr(c)[1:-1] for c in line), file=sys.stderr)


def brief(text: str, max_length: int = 60) -> str:
    """The text as a message quotes it, cut where it is long."""
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def not_found(kind: str, name: str, names: list[str], where: str) -> str:
    """The message for a name that does not exist, with some that do."""
    close = difflib.get_close_matches(name, names, n=3) or names[:3]
    more = f" and {len(names) - len(close)} more" if len(names) > len(close) else ""
    known = f"there are: {', '.join(close)}{more}" if names else f"there are no {kind}s at all"
    return f"{kind} {name} does not exist in {where}; {known}"


def discard_output() -> None:
    """Send further output nowhere: the reader has closed the pipe, and a flush at exit would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
