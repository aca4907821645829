"""A plan that the certificate rejected: an error in the log, and the problem in a file to look at later."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from berth.fleet.saved import NameOf, save
from berth.solve import Problem

logger = logging.getLogger(__name__)
SHOWN = 3
"""Faults that the log names."""


def default_folder() -> Path:
    """Where problems are saved unless said otherwise."""
    return Path(tempfile.gettempdir()) / "berth"


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
    found = "; ".join(faults[:SHOWN]) + (f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
    hint = f"berth plan -f {path}" if path else f"the problem could not be saved in {where}"
    logger.error(
        "Pool %s/%s: the plan of the %s engine is not used: %s (%s)", namespace, pool, engine, found, hint
    )
    return path
