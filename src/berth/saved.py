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

from berth.kinds import API_VERSION
from berth.pool import Brain
from berth.solve.model import Primaries, Problem, Zones

logger = logging.getLogger(__name__)

KEPT = 10
"""Maximum number of files in a folder; the oldest are deleted."""
SHOWN = 3
"""Maximum number of faults in a log line."""
MAX_FAULT = 1000
"""Maximum length of a fault in a log line: an engine's exception may have any length."""
NameOf = Callable[[int], str | None]
"""The name of a row; None if the row is not used any more."""


class Names(NamedTuple):
    """The names of a problem's rows, and its Pool. By default, rows are called `item-7` and `member-7`."""

    item: NameOf = "item-{}".format
    member: NameOf = "member-{}".format
    pool: str = "default"
    namespace: str = "default"

    @classmethod
    def of(cls, brain: Brain) -> "Names":
        """The present names, which later events do not change."""
        items, members = brain.ledger.items.names.copy(), brain.ledger.member_rows.names.copy()
        return cls(items.__getitem__, members.__getitem__, brain.name, brain.namespace)


ROWS = Names()


def manifests(problem: Problem, names: Names = ROWS) -> Iterator[dict[str, Any]]:
    """Pool, Items, Members and Assignments that have the same problem.

    What a problem does not contain is invented: zones are named by number, creation times are a second
    apart in the order of age, all grants and epochs are 1. Numbers that the API would refuse are kept.
    """
    pool = names.pool

    def body(kind: str, name: str, spec: dict[str, Any], created: str | None = None) -> dict[str, Any]:
        meta = {"name": name, "namespace": names.namespace}
        if created is not None:
            meta["creationTimestamp"] = created
        return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec}

    policy = {
        "zones": Zones(problem.zones).name.capitalize(),
        "balance": {
            "tolerancePercent": int(problem.tolerance),
            "primaries": Primaries(problem.primaries).name.capitalize(),
        },
    }
    yield body("Pool", pool, policy)
    entries: dict[int, list[str]] = defaultdict(list)
    # Row by row, because a list of all rows at once would cost a long garbage collection.
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
    """Write the manifests as a List to a new file in `folder`, which is created if it is missing.

    Returns None if the file cannot be written; then no part of it is left. Older files beyond `KEPT` are
    deleted. 100,000 Items take a second or two, too long for an event loop.
    """
    # Object by object: while json encodes a whole List, or its objects are garbage-collected, no other
    # thread runs.
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
    """The folder for problems if none is given."""
    try:
        return Path(tempfile.gettempdir()) / "berth"
    except FileNotFoundError:  # no folder is writable: `save` finds out, and it is logged
        return Path("/tmp/berth")


def report(
    engine: str, faults: Sequence[str], problem: Problem, names: Names = ROWS, folder: Path | None = None
) -> Path | None:
    """Save the problem and log what is wrong with the engine's plan; returns the file, if there is one.

    `Solver(rejected=...)` calls it with the first three arguments. It blocks while it writes: see `save`.
    """
    where = folder or default_folder()
    path = save(problem, where, names)
    hint = f"berth plan -f {path}" if path else f"the problem could not be saved in {where}"
    log(engine, faults, hint, names)
    return path


def log(engine: str, faults: Sequence[str], hint: str, names: Names) -> None:
    """Log what is wrong with the engine's plan; `hint` tells where the problem is."""
    shown = [_named(fault, names) for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        shown.append(f"and {len(faults) - SHOWN} more")
    where, what = f"Pool {names.namespace}/{names.pool}", "; ".join(shown)
    logger.error("%s: the plan of the %s engine is not used: %s (%s)", where, engine, what, hint)


def _named(fault: str, names: Names) -> str:
    """A fault with names instead of rows, which mean nothing to a reader of the log."""

    def name(match: re.Match[str]) -> str:
        found = None
        with suppress(IndexError):
            found = (names.item if match[1] == "Item" else names.member)(int(match[2]))
        return f"{match[1]} {found or match[2]}"

    return re.sub(r"\b(Item|Member) (\d+)\b", name, fault[:MAX_FAULT])
