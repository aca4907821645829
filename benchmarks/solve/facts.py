"""What follows from a Problem before anything is placed, read afresh for the judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.model import Bool, Int64, Problem


@dataclass(frozen=True)
class Facts:
    """What follows from the Problem before anything is placed; Members are those that can hold."""

    members: Int64
    """Rows of the live Members with a limit above 0."""
    zone: Int64
    """Their zones, numbered from 0."""
    zones: int
    limit: Int64
    low: Int64
    high: Int64
    drains: Bool
    rows: Int64
    """Items that want something."""
    wanted: Int64
    asked: Int64
    at: Int64
    """Shape (rows, w): what they hold, as places in `members`, -1 for none."""
    right: Int64
    """How many of the replicas held count as given up when they are not placed."""


def facts(problem: Problem) -> Facts:
    """Read the Problem; the bands are those of the design, in integers."""
    members = np.flatnonzero(problem.live & (problem.limit > 0))
    place = np.full(len(problem.limit) + 1, -1, dtype=np.int64)
    place[members] = np.arange(len(members))
    names, zone = np.unique(problem.zone[members], return_inverse=True)
    limit = problem.limit[members].astype(np.int64)
    drains = problem.draining[members]
    asked = problem.replicas.astype(np.int64)
    wanted = np.minimum(asked, len(members))
    total, room = int(wanted.sum()), int(limit[~drains].sum())
    part = limit * min(total, room)
    per = max(1, room)
    slack = part * problem.tolerance // (100 * per)
    rows = np.flatnonzero(wanted > 0)
    held = problem.held[rows]
    live = (held >= 0) & np.append(problem.live, False)[held]
    return Facts(
        members=members,
        zone=zone.astype(np.int64),
        zones=len(names),
        limit=limit,
        low=np.where(drains, 0, part // per - slack),
        high=np.where(drains, limit, np.minimum(limit, -(-part // per) + slack)),
        drains=drains,
        rows=rows,
        wanted=wanted[rows],
        asked=asked[rows],
        at=np.where(live, place[held], -1),
        right=np.minimum(live.sum(axis=1), wanted[rows]),
    )


def alike(*columns: Int64) -> tuple[Int64, Int64]:
    """(first row of each kind, kind of each row): a kind is equal in all columns (n,) or (n, w)."""
    rng = np.random.default_rng(20)
    key = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        wide = column.reshape(len(column), -1).astype(np.uint64)
        # Odd multipliers and a mix: two kinds share 64 bits once in many billions of Problems.
        key = (key ^ (key >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        key += (wide * (rng.integers(1, 2**63, wide.shape[1], dtype=np.uint64) * 2 + 1)).sum(axis=1)
    _, first, kind = np.unique(key, return_index=True, return_inverse=True)
    return first, kind
