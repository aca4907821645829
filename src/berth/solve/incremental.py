"""The incremental engine: keeps an index between solves and answers at the cost of the change."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from berth.solve.index import Index, distinct
from berth.solve.problem import Int32, Int64, Problem, Proof, Solution, Touched
from berth.solve.repair import Repaired


@dataclass(slots=True)
class State:
    """What `Solution.state` carries: the index, and the plan that is changed in place."""

    index: Index
    members: Int32
    """Shape (room for n, v)."""
    primary: Int32
    deviating: Int64
    """Rows whose plan is not simply what is held."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A Solution's claim on the state: good as long as no later solve has used it."""

    state: State
    version: int


def begin(problem: Problem) -> State:
    """The state of a Problem that was never solved."""
    index = Index(problem)
    n = len(problem.replicas)
    return State(
        index=index,
        members=np.full((n, max(index.widest, 1)), -1, dtype=np.int32),
        primary=np.full(n, -1, dtype=np.int32),
        deviating=np.arange(n),
    )


def advance(problem: Problem, previous: Solution | None, touched: Touched | None) -> tuple[State, Int64]:
    """The state brought up to date, and the rows whose plan may have to be written again."""
    ticket = previous.state if previous is not None else None
    if not isinstance(ticket, Ticket) or ticket.version != ticket.state.index.version or touched is None:
        state = begin(problem)
        return state, state.deviating
    state = ticket.state
    read = state.index.refresh(problem, touched.items)
    _fit(state, len(problem.replicas))
    return state, distinct(np.concatenate([read, state.deviating]))


def _fit(state: State, n: int) -> None:
    """Make room for n Items and for the widest of them."""
    room, width = state.members.shape
    if n > room or state.index.widest > width:
        members = np.full(
            (max(n, 2 * room if n > room else room), max(width, state.index.widest)), -1, np.int32
        )
        members[:room, :width] = state.members
        state.members = members
        primary = np.full(len(members), -1, dtype=np.int32)
        primary[:room] = state.primary
        state.primary = primary


def write(state: State, rows: Int64, repaired: Repaired) -> Int32:
    """Write the plan of the rows: as held, but for those repaired. Returns the rows that differ now."""
    index = state.index
    width = state.members.shape[1]
    held = index.held_rows(rows)
    if held.shape[1] < width:
        held = np.column_stack([held, np.full((len(held), width - held.shape[1]), -1, dtype=np.int32)])
    every = distinct(np.concatenate([rows, repaired.rows]))
    before = state.members[every]
    state.members[rows] = held[:, :width]
    state.members[repaired.rows] = -1
    state.members[repaired.rows, : repaired.members.shape[1]] = repaired.members[:, :width]
    state.primary[every] = state.members[every, 0]
    state.deviating = np.sort(repaired.rows)
    differ = (state.members[every] != before).any(axis=1)
    return np.asarray(every[differ], dtype=np.int32)


def solution(
    state: State, n: int, proof: Proof, engine: str, why: str, changed: Int32 | None, begun: float
) -> Solution:
    """A Solution over the state; it shares the plan's arrays."""
    return Solution(
        members=state.members[:n],
        primary=state.primary[:n],
        proof=proof,
        engine=engine,
        why=why,
        seconds=perf_counter() - begun,
        changed=changed,
        state=Ticket(state, state.index.version),
    )
