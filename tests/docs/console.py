"""Runs the console blocks of a page and compares what they print.

A block is run where `<!-- run -->` stands on the line before it. A line `$ COMMAND` is a command (a
backslash at its end continues it, and `> ` the lines of a here-document); the lines after it are what it
must print: `...` on a line of its own stands for any lines, `…` for any text, spaces count as one, and no
lines at all for anything. `<!-- hidden: COMMAND -->` runs a command that the reader does not see.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# What only looks may be asked again, until the controller has done what it says.
LOOKS = re.compile(r"^(kubectl (-n \S+ )?get|berth (status|explain|plan)|kubectl berth (status|explain))\b")
PATIENCE = 60.0


@dataclass(frozen=True)
class Command:
    """One command of a page and what it must print."""

    line: int
    text: str
    expected: tuple[str, ...]


def commands(page: str) -> list[Command]:
    """The commands that a page asks to be run, in order."""
    found: list[Command] = []
    lines = page.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        hidden = re.fullmatch(r"<!-- hidden: (.*) -->", line)
        if hidden:
            found.append(Command(number, hidden[1], ()))
        elif line == "<!-- run -->":
            assert lines[number].startswith("```"), f"line {number}: no block follows"
            end = next(i for i in range(number + 1, len(lines)) if lines[i].startswith("```"))
            found += block(lines[number + 1 : end], number + 1)
            number = end + 1
    return found


def block(lines: list[str], offset: int) -> list[Command]:
    """The commands of one block."""
    found: list[Command] = []
    for i, line in enumerate(lines, offset + 1):
        last = found[-1] if found else None
        if line.startswith("$ "):
            found.append(Command(i, line[2:], ()))
        elif last and not last.expected and (last.text.endswith("\\") or line.startswith("> ")):
            found[-1] = Command(last.line, f"{last.text}\n{line.removeprefix('> ')}", ())
        elif last:
            found[-1] = Command(last.line, last.text, (*last.expected, line))
    return found


def pattern(expected: tuple[str, ...]) -> re.Pattern[str]:
    """What the output must match, its spaces squeezed."""
    parts = []
    for line in filter(str.strip, expected):
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            words = re.escape(squeeze(line)).replace("…", r"[^\n]*?")
            parts.append(words + r"\n")
    return re.compile("".join(parts))


def squeeze(line: str) -> str:
    return " ".join(line.split())


def run(command: Command, environment: Mapping[str, str], folder: Path) -> None:
    """Run a command; AssertionError if it fails or prints something else."""
    wanted = pattern(command.expected)
    deadline = time.monotonic() + (PATIENCE if LOOKS.match(command.text) else 0)
    while True:
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=folder,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        printed = [squeeze(line) for line in (done.stdout + done.stderr).splitlines()]
        text = "".join(f"{line}\n" for line in printed if line)
        good = done.returncode == 0 and (not command.expected or wanted.fullmatch(text))
        if good:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.3)
    expected = "\n".join(command.expected) or "(anything, exit code 0)"
    raise AssertionError(
        f"line {command.line}: {command.text}\n"
        f"--- exit code {done.returncode}, printed:\n{text}--- wanted:\n{expected}"
    )
