"""A plan that the certificate rejected: an error in the log, and the problem in a file to look at later."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from berth.controller.saved import NameOf, save
from berth.solve import Problem

logger = logging.getLogger(__name__)
SHOWN = 3
"""Faults that the log names."""
LONGEST = 1000
"""Characters of a fault that are logged: an engine's exception may say anything."""


def default_folder() -> Path:
    """Where problems are saved unless said otherwise."""
    try:
        return Path(tempfile.gettempdir()) / "berth"
    except FileNotFoundError:  # nothing is writable; that is found out, and logged, when a file is written
        return Path("/tmp/berth")


def report(
    engine: str,
    faults: Sequence[str],
    problem: Problem,
    item_names: NameOf | None = None,
    member_names: NameOf | None = None,
    pool: str = "default",
    namespace: str = "default",
    folder: Path | str | None = None,
) -> Path | None:
    """Save the problem and log what is wrong with the engine's plan; gives the file, None without one.

    Made for `Solver(rejected=...)`, which calls it with the first three. Blocks while it writes: a
    large problem takes a second or two.
    """
    where = default_folder() if folder is None else Path(folder)
    path = save(problem, where, item_names, member_names, pool, namespace)
    hint = f"berth plan -f {path}" if path else f"the problem could not be saved in {where}"
    log(engine, faults, hint, item_names, member_names, pool, namespace)
    return path


def log(
    engine: str,
    faults: Sequence[str],
    hint: str,
    item_names: NameOf | None = None,
    member_names: NameOf | None = None,
    pool: str = "default",
    namespace: str = "default",
) -> None:
    """Log what is wrong with the engine's plan; `hint` says where the problem is."""
    shown = [_named(fault, item_names, member_names) for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        shown.append(f"and {len(faults) - SHOWN} more")
    logger.error(
        "Pool %s/%s: the plan of the %s engine is not used: %s (%s)",
        namespace,
        pool,
        engine,
        "; ".join(shown),
        hint,
    )


def _named(fault: str, item_names: NameOf | None, member_names: NameOf | None) -> str:
    """A fault with names in place of rows, which mean nothing to whoever reads the log."""

    def name(match: re.Match[str]) -> str:
        names = item_names if match[1] == "Item" else member_names
        try:
            found = names(int(match[2])) if names else None
        except IndexError:
            found = None
        return f"{match[1]} {found or match[2]}"

    return re.sub(r"\b(Item|Member) (\d+)\b", name, fault[:LONGEST])
