"""`Solver`: one certified plan of a Pool after another, each within a bound of time.

    quick, in this process ──> thorough, in another ──> the best certified ──> plain
      (small events)             (all else, with          so far (where          (recovers what is
                                  a deadline)             that failed)            missing, moves nothing)

Whoever answers, the certificate counts the plan afresh. One that it rejects is never used: the
next engine answers, and what happened is reported with the problem.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from time import perf_counter
from typing import Any

import numpy as np

from berth.solve.answer import Answer, answer
from berth.solve.apart import ENGINE, Apart, EngineError
from berth.solve.certify import Certificate, certify
from berth.solve.flow import NoFlowError, TooLargeError
from berth.solve.model import LEVELS, Int32, Problem, Proof, Solution, Touched, minor
from berth.solve.plain import plain
from berth.solve.state import State
from berth.solve.tuning import DEFAULT, Tuning

logger = logging.getLogger(__name__)

Reject = Callable[[str, Sequence[str], Problem], None]
"""Takes note of an answer that was not used: the engine, what is wrong, and the problem."""


def log_rejected(engine: str, faults: Sequence[str], _: Problem) -> None:
    """Log what the certificate rejected."""
    logger.error("the plan of the %s engine is not used: %s", engine, "; ".join(faults))


@dataclass(slots=True)
class Pending:
    """A question for the other process. `ask` may run in any thread, the rest only in the solver's."""

    problem: Problem
    """A copy: the solver's own may change meanwhile."""
    started: float
    best: Solution | None
    """The best certified plan so far."""
    apart: Apart
    seconds: float
    reply: object = None
    failed: str = ""

    def ask(self) -> None:
        """Wait for the answer; blocks, never raises, and ends about when the deadline does."""
        try:
            self.reply = self.apart.ask(self.problem, self.seconds)
        except EngineError as error:
            self.failed = str(error)


class Solver:
    """Plans for one Pool, again and again. Keeps what the next small event starts from.

    `tuning` has thresholds and budgets, `engine` names the thorough engine (module:function), and
    `rejected` is called for answers that were not used.
    """

    def __init__(
        self, tuning: Tuning = DEFAULT, engine: str = ENGINE, rejected: Reject = log_rejected
    ) -> None:
        self._tuning, self._rejected, self._apart = tuning, rejected, Apart(tuning, engine)
        self._state: State | None = None
        self._last: Int32 | None = None

    def solve(self, problem: Problem, touched: Touched | None = None) -> Solution:
        """Where each Item should be, the least in all levels of the objective; always certified.

        `touched` names the rows that changed since the last call with the same arrays, which may
        have grown; without it everything is read again. It saves work and changes nothing: the
        plan depends on the problem alone. Never raises for a Problem of the documented form; where
        the plan is not proven to be the best `optimal` is False.
        """
        found = self.begin(problem, touched)
        if isinstance(found, Solution):
            return found
        found.ask()
        return self.complete(found)

    def begin(self, problem: Problem, touched: Touched | None = None) -> Solution | Pending:
        """`solve` as far as it goes at once: the plan, or what has to be asked in another process."""
        started, best = perf_counter(), None
        try:
            if self._state is None or touched is None:
                self._state = State(problem, self._tuning)
            else:
                self._state.update(problem, touched)
            found = answer(problem, self._state, self._tuning, quick=True)
            best = self._certified(problem, found, found.certificate, started)
            if best is not None and minor(best.proof.first_open):
                return self._give(best)
        except TooLargeError:
            pass
        except (NoFlowError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            # A defect of ours: the other process reads everything anew, and so does the next call.
            logger.exception("the quick engine failed")
            self._rejected("quick", [repr(error)], problem)
            self._state = None
        seconds = max(0.1, self._tuning.seconds - (perf_counter() - started))
        return Pending(_copied(problem), started, best, self._apart, seconds)

    def complete(self, pending: Pending) -> Solution:
        """The plan after `pending.ask()`: the other process's, or the best there is without it."""
        problem, best, trouble = pending.problem, pending.best, pending.failed
        found, reply = None, pending.reply
        if isinstance(reply, Answer):
            found = self._certified(problem, reply, _again(problem, reply), pending.started)
            trouble = "" if found else "its plan was rejected"
        elif not trouble:
            self._rejected("thorough", [f"the answer is {type(reply).__name__}, not a plan"], problem)
            trouble = "its answer is not a plan"
        if found is None and best is None:
            found = self._plain(problem, pending.started, trouble)
        if best is None or (found is not None and _better(found, best)):
            best = found
        assert best is not None
        if trouble:
            logger.error("the thorough engine gave no plan: %s", trouble)
        return self._give(replace(best, trouble=trouble, seconds=perf_counter() - pending.started))

    def start(self) -> None:
        """Start the other process already, so that the first question need not wait for it."""
        self._apart.start()

    def close(self) -> None:
        """End the other process."""
        self._apart.close()

    def _certified(
        self, problem: Problem, found: Answer, certificate: Certificate, started: float
    ) -> Solution | None:
        """The answer as a Solution, or None where it is rejected."""
        if not certificate.ok:
            self._rejected(found.engine, certificate.faults, problem)
            return None
        proof = Proof(certificate.reached, {name: int(found.bounds[name]) for name in LEVELS})
        return Solution(found.members, proof, found.engine, found.why, perf_counter() - started)

    def _plain(self, problem: Problem, started: float, why: str) -> Solution:
        members = plain(problem)
        certificate = certify(problem, members)
        if not certificate.ok:  # then nothing is planned at all
            self._rejected("plain", certificate.faults, problem)
            members = np.full((len(problem.replicas), 1), -1, np.int32)
            certificate = certify(problem, members)
        unproven = dict.fromkeys(LEVELS, -1)
        return Solution(members, Proof(certificate.reached, unproven), "plain", why, perf_counter() - started)

    def _give(self, found: Solution) -> Solution:
        """The plan, with the rows that differ from the last one."""
        last, self._last = self._last, found.members
        if last is None:
            return found
        width = max(last.shape[1], found.members.shape[1])
        before, now = _widened(last, width), _widened(found.members, width)
        differs = np.ones(len(now), np.bool_)
        shared = min(len(before), len(now))
        differs[:shared] = False
        for column in range(width):
            differs[:shared] |= before[:shared, column] != now[:shared, column]
        return replace(found, changed=np.flatnonzero(differs).astype(np.int32))


def solve(problem: Problem, tuning: Tuning = DEFAULT) -> Solution:
    """The plan of a Problem that is solved once; see `Solver.solve`."""
    solver = Solver(tuning)
    try:
        return solver.solve(problem)
    finally:
        solver.close()


def _better(one: Solution, two: Solution) -> bool:
    """Whether a plan is better than another, or as good."""
    for name in LEVELS:
        a, b = one.proof.reached[name], two.proof.reached[name]
        if a != b:
            return (a > b) == (name == "placed")
    return True


def _widened(members: Int32, width: int) -> Int32:
    if members.shape[1] == width:
        return members
    return np.pad(members, ((0, 0), (0, width - members.shape[1])), constant_values=-1)


def _copied(problem: Problem) -> Problem:
    copies: dict[str, Any] = {}
    for field in fields(problem):
        value = getattr(problem, field.name)
        copies[field.name] = value.copy() if isinstance(value, np.ndarray) else value
    return Problem(**copies)


def _again(problem: Problem, reply: Answer) -> Certificate:
    """Certified anew: what another process sends is not trusted."""
    return certify(problem, reply.members, reply.bounds)
