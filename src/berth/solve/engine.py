"""`Solver`: certified plans of a Pool, each within a deadline.

    quick, in this process ──> thorough, in another one ──> best plan so far ──> plain
        (small events)          (others; with a deadline)   (if that failed)     (moves nothing)

The certificate checks every plan. A plan that it rejects is never used: the next engine answers,
and the rejection is reported with the problem.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from berth.child_process import ChildProcess
from berth.solve.answer import answer, certified
from berth.solve.arrays import widened
from berth.solve.flow import NoFlowError, TooLargeError
from berth.solve.model import LEVELS, Int32, Problem, Proof, Solution, Touched, minor
from berth.solve.plain import plain
from berth.solve.shares import wanted
from berth.solve.state import State
from berth.solve.tuning import DEFAULT, Tuning

logger = logging.getLogger(__name__)

ENGINE = "berth.solve.answer:thorough"
"""The thorough engine: a function of a Problem and a Tuning."""

Reject = Callable[[str, Sequence[str], Problem], object]  # called with the engine, the faults and the problem


def log_rejected(engine: str, faults: Sequence[str], _: Problem) -> None:
    """Log a rejected plan."""
    logger.error("the plan of the %s engine is not used: %s", engine, "; ".join(faults))


@dataclass(slots=True)
class Pending:
    """A question for the other process. `ask` may run in any thread, all else only in the solver's."""

    problem: Problem  # a copy, because the original may change meanwhile
    started: float
    best: Solution | None  # the best certified plan so far
    process: ChildProcess
    seconds: float  # time left for the answer
    reply: object = None
    failed: str = ""

    def ask(self) -> None:
        """Wait for the answer; blocks until about the deadline at most."""
        self.reply, self.failed = self.process.ask(self.problem, self.seconds)


class Solver:
    """Solves one Pool repeatedly, and keeps state so that small events cost little.

    `rejected` is called for each answer that is not used. `process` runs the thorough engine;
    Solvers may share it. `start` and `close` act on it.
    """

    def __init__(
        self, tuning: Tuning = DEFAULT, rejected: Reject = log_rejected, process: ChildProcess | None = None
    ) -> None:
        self._tuning, self._rejected = tuning, rejected
        self._process = process or ChildProcess(ENGINE, tuning, memory=tuning.memory)
        self.start, self.close = self._process.start, self._process.close
        self._state: State | None = None
        self._last: Int32 | None = None

    def solve(self, problem: Problem, touched: Touched | None = None) -> Solution:
        """Where each Item should be: always certified, and the best plan in all levels if `optimal`.

        `touched` names the rows that changed since the last call with the same arrays, which may
        have grown; without it, everything is read again. It only saves work: the plan depends on
        the problem alone. Never raises for a Problem of the documented form.
        """
        found = self.begin(problem, touched)
        if isinstance(found, Solution):
            return found
        found.ask()
        return self.complete(found)

    def begin(self, problem: Problem, touched: Touched | None = None) -> Solution | Pending:
        """The first half of `solve`, without waiting: the plan, or a question for the other process."""
        started, best = perf_counter(), None
        try:
            if self._state is None or touched is None:
                self._state = State(problem, self._tuning)
            else:
                self._state.update(problem, touched)
            best = self._unless_rejected(problem, answer(self._state, quick=True))
            if best is not None and minor(best.proof.first_open):
                return self._give(best, started)
        except TooLargeError:
            pass
        except (NoFlowError, MemoryError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            # numpy and OR-tools raise these for a bug in the networks or in the state. It must not end
            # the controller: the other process and the next call start from the problem alone.
            logger.exception("the quick engine failed")
            self._rejected("quick", [repr(error)], problem)
            self._state = None
        seconds = max(0.1, self._tuning.seconds - (perf_counter() - started))
        return Pending(deepcopy(problem), started, best, self._process, seconds)

    def complete(self, pending: Pending) -> Solution:
        """The plan after `pending.ask()`: from the other process, or else the best one available."""
        problem, found, trouble = pending.problem, pending.best, pending.failed
        match pending.reply:
            # The other process may send anything, so its plan is certified here.
            case Solution(members=members, proof=Proof(bounds=dict(bounds)), engine=str(name), why=str(why)):
                other = self._unless_rejected(problem, certified(problem, members, bounds, name, why))
                if other is None:
                    trouble = "its plan was rejected"
                elif found is None or _costs(other) <= _costs(found):
                    found = other
            case reply if not trouble:
                self._rejected("thorough", [f"the answer is {type(reply).__name__}, not a plan"], problem)
                trouble = "its answer is not a plan"
        if trouble:
            logger.error("the thorough engine gave no plan: %s", trouble)
        return self._give(found or self._plain(problem, trouble), pending.started, trouble)

    def _unless_rejected(self, problem: Problem, found: Solution) -> Solution | None:
        if found.faults:
            self._rejected(found.engine, found.faults, problem)
            return None
        return found

    def _plain(self, problem: Problem, why: str) -> Solution:
        unproven = dict.fromkeys(LEVELS, 0) | {"placed": int(wanted(problem).sum())}
        found = self._unless_rejected(problem, certified(problem, plain(problem), unproven, "plain", why))
        nothing = np.full((len(problem.replicas), 1), -1, np.int32)
        return found or certified(problem, nothing, unproven, "plain", why)

    def _give(self, found: Solution, started: float, trouble: str = "") -> Solution:
        """The plan with the time it took, and the rows that differ from the previous plan."""
        last, now, self._last, changed = self._last, found.members, found.members, None
        if last is not None:
            width, shared = max(last.shape[1], now.shape[1]), min(len(last), len(now))
            differs = np.arange(len(now)) >= shared
            for one, two in zip(widened(last, width).T, widened(now, width).T, strict=True):
                differs[:shared] |= one[:shared] != two[:shared]
            changed = np.flatnonzero(differs).astype(np.int32)
        return replace(found, seconds=perf_counter() - started, trouble=trouble, changed=changed)


def solve(problem: Problem, tuning: Tuning = DEFAULT) -> Solution:
    """Solve a Problem once; see `Solver.solve`."""
    with closing(Solver(tuning)) as solver:
        return solver.solve(problem)


def _costs(found: Solution) -> list[int]:
    """The levels that a plan reaches, as numbers to minimise."""
    return [(-1 if name == "placed" else 1) * found.proof.reached[name] for name in LEVELS]
