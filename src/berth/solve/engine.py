"""`Solver`: one certified plan of a Pool after another, each within a bound of time.

    quick, in this process ──> thorough, in another ──> the best certified so far ──> plain
         (small events)          (all else, with           (where that failed)        (recovers what is
                                  a deadline)                                           missing, moves nothing)

Whoever answers, the certificate counts the plan afresh. One that it rejects is never used: the
next engine answers, and what happened is reported with the problem.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from berth.solve.answer import Answer, answer
from berth.solve.apart import ENGINE, Apart, EngineFailed
from berth.solve.certify import certify
from berth.solve.flow import NoFlow, TooLarge
from berth.solve.model import LEVELS, Int32, Problem, Proof, Solution, Touched
from berth.solve.plain import plain
from berth.solve.saved import save_rejected
from berth.solve.state import State
from berth.solve.tuning import DEFAULT, Tuning

logger = logging.getLogger(__name__)

Reject = Callable[[str, Sequence[str], Problem], None]
"""Is told of an answer that was not used: the engine, what is wrong, and the problem."""


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
        except EngineFailed as error:
            self.failed = str(error)


class Solver:
    """Plans for one Pool, again and again. Keeps what the next small event starts from.

    `tuning` has thresholds and budgets, `engine` names the thorough engine (module:function), and
    `rejected` is told of answers that were not used.
    """

    def __init__(
        self, tuning: Tuning = DEFAULT, engine: str = ENGINE, rejected: Reject = save_rejected
    ) -> None:
        self._tuning = tuning
        self._apart = Apart(tuning, engine)
        self._rejected = rejected
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
        if isinstance(found, Pending):
            found.ask()
            return self.complete(found)
        return found

    def begin(self, problem: Problem, touched: Touched | None = None) -> Solution | Pending:
        """`solve` as far as it goes at once: the plan, or what has to be asked in another process."""
        started = perf_counter()
        best, why = None, ""
        try:
            if self._state is None or touched is None:
                self._state = State(problem, self._tuning)
            else:
                self._state.update(problem, touched)
            found = answer(problem, self._state, self._tuning, quick=True)
            best = self._certified(problem, found, started)
            if best is not None and _settled(best):
                return self._give(best)
        except TooLarge as large:
            why = str(large)
        except (NoFlow, ArithmeticError, LookupError, ValueError, AssertionError) as error:
            # A defect of ours: the other process reads everything anew, and so does the next call.
            logger.exception("the quick engine failed")
            why, self._state = str(error), None
        del why
        seconds = max(0.1, self._tuning.seconds - (perf_counter() - started))
        return Pending(_copied(problem), started, best, self._apart, seconds)

    def complete(self, pending: Pending) -> Solution:
        """The plan after `pending.ask()`: the other process's, or the best there is without it."""
        problem, best = pending.problem, pending.best
        trouble = pending.failed
        if not trouble:
            found = self._certified(problem, pending.reply, pending.started)
            if found is None:
                trouble = "its plan was rejected"
            elif best is None or _better(found, best):
                return self._give(found)
        elif best is None or not _settled(best):
            logger.error("the thorough engine gave no plan: %s", trouble)
        if best is None:
            members = plain(problem)
            certificate = certify(problem, members)
            if not certificate.ok:
                self._rejected("plain", certificate.faults, problem)
                members = np.full((len(problem.replicas), 1), -1, np.int32)
                certificate = certify(problem, members)
            bounds = dict(certificate.reached) | {"moves": -1}  # nothing is proven
            seconds = perf_counter() - pending.started
            best = Solution(members, Proof(certificate.reached, bounds), "plain", trouble, seconds)
        return self._give(replace(best, trouble=trouble, seconds=perf_counter() - pending.started))

    def start(self) -> None:
        """Start the other process already, so that the first question need not wait for it."""
        self._apart.start()

    def close(self) -> None:
        """End the other process."""
        self._apart.close()

    def _certified(self, problem: Problem, found: object, started: float) -> Solution | None:
        """The answer as a Solution, or None where it is rejected."""
        if not isinstance(found, Answer):
            self._rejected("thorough", [f"the answer is {type(found).__name__}, not a plan"], problem)
            return None
        certificate = certify(problem, found.members, found.bounds)
        if not certificate.ok:
            self._rejected(found.engine, certificate.faults, problem)
            return None
        proof = Proof(certificate.reached, {name: int(found.bounds[name]) for name in LEVELS})
        return Solution(found.members, proof, found.engine, found.why, perf_counter() - started)

    def _give(self, found: Solution) -> Solution:
        last, members = self._last, found.members
        self._last = members
        if last is None:
            return found
        shared, width = min(len(last), len(members)), min(last.shape[1], members.shape[1])
        differs = np.ones(len(members), np.bool_)
        differs[:shared] = last[:shared, 0] != members[:shared, 0]
        for column in range(1, width):
            differs[:shared] |= last[:shared, column] != members[:shared, column]
        for wide in (last, members):
            if wide.shape[1] > width:
                differs[:shared] |= (wide[:shared, width:] >= 0).any(axis=1)
        return replace(found, changed=np.flatnonzero(differs).astype(np.int32))


def solve(problem: Problem, tuning: Tuning = DEFAULT) -> Solution:
    """The plan of a Problem that is solved once; see `Solver.solve`."""
    solver = Solver(tuning)
    try:
        return solver.solve(problem)
    finally:
        solver.close()


def _settled(found: Solution) -> bool:
    """Whether nobody would look further: all is proven up to the moves."""
    level = found.proof.first_open
    return level is None or LEVELS.index(level) > LEVELS.index("moves")


def _better(one: Solution, two: Solution) -> bool:
    """Whether a plan is better than another, or as good."""
    for name in LEVELS:
        a, b = one.proof.reached[name], two.proof.reached[name]
        if a != b:
            return (a > b) == (name == "placed")
    return True


def _copied(problem: Problem) -> Problem:
    arrays = {name: getattr(problem, name) for name in problem.__slots__}
    return Problem(**{k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arrays.items()})
