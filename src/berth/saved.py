"""A problem whose plan was rejected: logged, and saved as a file that `berth plan -f` reads."""

import json
import logging
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from berth.solve.model import Primaries, Problem, Zones

logger = logging.getLogger(__name__)

KEPT = 10
"""How many files stay in a folder; the oldest go."""
SHOWN = 3
"""Faults that the log names."""
MAX_FAULT = 1000
"""Characters of a fault that are logged: an engine's exception may say anything."""
NameOf = Callable[[int], str | None]
"""From a row to a name; a row without one stands for nothing any more and is left out."""


class Names(NamedTuple):
    """What the rows of a problem are called, and which Pool it is of."""

    item: NameOf = "item-{}".format
    member: NameOf = "member-{}".format
    pool: str = "default"
    namespace: str = "default"


ROWS = Names()
"""Rows are called `item-7` and `member-7`."""


def manifests(problem: Problem, names: Names = ROWS) -> Iterator[dict[str, Any]]:
    """Pool, Items, Members and Assignments that make the same problem again.

    What a problem does not know is made up: zones are called by number, creation times count seconds in
    the order of age, all grants and epochs are 1. Numbers beyond what the API takes are written as they are.
    """
    pool = names.pool

    def body(kind: str, name: str, spec: dict[str, Any], created: str | None = None) -> dict[str, Any]:
        meta = {"name": name, "namespace": names.namespace}
        if created is not None:
            meta["creationTimestamp"] = created
        return {"apiVersion": "berth.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}

    policy = {
        "zones": Zones(problem.zones).name.capitalize(),
        "balance": {
            "tolerancePercent": int(problem.tolerance),
            "primaries": Primaries(problem.primaries).name.capitalize(),
        },
    }
    yield body("Pool", pool, policy)
    entries: dict[int, list[str]] = defaultdict(list)
    # One by one: so many lists at once cost a pause for garbage.
    held_by = map(np.ndarray.tolist, problem.held)
    rows = zip(problem.replicas.tolist(), held_by, problem.held_primary.tolist(), strict=True)
    for row, (replicas, held, primary) in enumerate(rows):
        name = names.item(row)
        if name:
            yield body("Item", name, {"pool": pool, "replicas": replicas})
            others = [member for member in held if member >= 0 and member != primary]
            for slot, member in enumerate(others, 1):
                entries[member].append(f"{name}#{slot}@1")
            if primary in held and primary >= 0:
                entries[primary].append(f"{name}#0@1:1")
    start = datetime(2000, 1, 1, tzinfo=UTC)
    for second, row in enumerate(np.lexsort((problem.member_key, problem.age)).tolist()):
        name = names.member(row)
        if name:
            spec = {"pool": pool, "limit": int(problem.limit[row]), "zone": f"zone-{problem.zone[row]}"}
            spec["draining"] = bool(problem.draining[row])
            member = body("Member", name, spec, _text(start + timedelta(seconds=second)))
            if not problem.live[row]:
                spec["leaseName"] = name
                gone = {"type": "Live", "status": "False", "reason": "LeaseExpired"}
                member["status"] = {"conditions": [{**gone, "lastTransitionTime": _text(start)}]}
            held_here = {"pool": pool, "term": 1, "items": sorted(entries[row])}
            yield member
            yield body("Assignment", name, held_here)


def save(
    problem: Problem, folder: Path | str, names: Names = ROWS, now: datetime | None = None
) -> Path | None:
    """Write the manifests as a List to a new file in `folder`, which is made where it is missing.

    The file is there as a whole or not at all; of those written before the newest `KEPT` - 1 stay.
    Gives None where it cannot be written (a full disk, no right to). 100,000 Items take a second
    or two: not for an event loop.
    """
    # One by one: json encodes a whole List without ever letting another thread run, and so does the
    # search for garbage among all of its objects.
    items = b", ".join([json.dumps(one).encode() for one in manifests(problem, names)])
    data = b'{"apiVersion": "v1", "kind": "List", "items": [' + items + b"]}"
    digest = blake2b(data, digest_size=4).hexdigest()
    when = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = Path(folder) / f"berth-problem-{when}-{digest}.json"
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        return None
    others = sorted(file for file in path.parent.glob("berth-problem-*.json") if file != path)
    for old in others[: 1 - KEPT]:
        with suppress(OSError):
            old.unlink()
    return path


def _text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def default_folder() -> Path:
    """Where problems are saved by default."""
    try:
        return Path(tempfile.gettempdir()) / "berth"
    except FileNotFoundError:  # nothing is writable; that is found out, and logged, when a file is written
        return Path("/tmp/berth")


def report(
    engine: str,
    faults: Sequence[str],
    problem: Problem,
    names: Names = ROWS,
    folder: Path | str | None = None,
) -> Path | None:
    """Save the problem and log what is wrong with the engine's plan; gives the file, None without one.

    Made for `Solver(rejected=...)`, which calls it with the first three. Blocks while it writes: a
    large problem takes a second or two.
    """
    where = default_folder() if folder is None else Path(folder)
    path = save(problem, where, names)
    hint = f"berth plan -f {path}" if path else f"the problem could not be saved in {where}"
    log(engine, faults, hint, names)
    return path


def log(engine: str, faults: Sequence[str], hint: str, names: Names) -> None:
    """Log what is wrong with the engine's plan; `hint` says where the problem is."""
    shown = [_named(fault, names) for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        shown.append(f"and {len(faults) - SHOWN} more")
    where, what = f"Pool {names.namespace}/{names.pool}", "; ".join(shown)
    logger.error("%s: the plan of the %s engine is not used: %s (%s)", where, engine, what, hint)


def _named(fault: str, names: Names) -> str:
    """A fault with names in place of rows, which mean nothing to a reader of the log."""

    def name(match: re.Match[str]) -> str:
        found = None
        with suppress(IndexError):
            found = (names.item if match[1] == "Item" else names.member)(int(match[2]))
        return f"{match[1]} {found or match[2]}"

    return re.sub(r"\b(Item|Member) (\d+)\b", name, fault[:MAX_FAULT])
