"""Where the Items of a Pool should be: the plan, when it is solved again, and which parts are out of date."""

from collections.abc import Iterable

import numpy as np

from berth.pool.arrays import as_rows, known_rows
from berth.pool.decision import Fact, LogLine, Question, Solved
from berth.pool.ledger import Ledger
from berth.pool.reasons import Reason, reasons
from berth.solve import Solution, Touched, held_live

MAX_TURNS = 3  # solves in one round: more than one only if events changed the problem while it was solved
RETRY_AFTER = 5.0  # seconds after which a solve that failed is repeated; doubled by each further failure
MAX_RETRY_AFTER = 60.0


class Target:
    """The plan of one Pool, and the questions that lead to it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.solution: Solution | None = None
        self.short: dict[int, Reason] = {}  # why an Item row has fewer replicas in the plan than it asks for
        self.retry_at: float | None = None  # when the thorough engine is asked again after it has failed
        self.turns = 0  # solves of the present round
        self._delay = 0.0  # seconds between the last failure and the next attempt; 0 after a success
        self._asked: tuple[Question, set[int], set[int]] | None = None
        """The question without an answer yet, and the Item and Member rows that it takes account of."""

    def question(self, now: float) -> Question | None:
        """What must be solved before a round, at the cost of what changed since the last time.

        If events change the problem while it is solved, it is solved again, up to `MAX_TURNS` times.
        """
        changed = self._ledger.changed
        due = self.retry_at is None or now >= self.retry_at
        current = self.solution is not None and not changed.problem
        enough = self.solution is not None and self.turns >= MAX_TURNS
        if enough or (current and (self.retry_at is None or not due)):
            return None
        problem = self._ledger.problem()
        items, members = changed.solve_items, changed.solve_members
        changed.problem, changed.solve_items, changed.solve_members = False, set(), set()
        touched = None if self.solution is None else Touched(as_rows(items), as_rows(members))
        question = Question(problem, touched, due)
        self._asked = (question, items, members)
        self.turns += 1
        return question

    def put_back(self) -> None:
        """The last question got no answer."""
        if self._asked is not None:
            _, items, members = self._asked
            changed, self._asked = self._ledger.changed, None
            changed.problem = True
            changed.solve_items |= items
            changed.solve_members |= members

    def answer(self, solution: Solution, now: float) -> list[Fact]:
        """Process the answer to the last question."""
        assert self._asked is not None
        (problem, _, thorough), *_ = self._asked
        self._asked, self.solution = None, solution
        facts: list[Fact] = [Solved(solution.engine, solution.seconds, thorough and bool(solution.trouble))]
        if thorough or not solution.trouble:
            facts += self._plan_retry(solution.trouble, now)
        changed = self._ledger.changed
        before, self.short = self.short, reasons(problem, solution)
        changed.item_status.update(row for row, _ in before.items() ^ self.short.items())
        rows = range(len(solution.members)) if solution.changed is None else solution.changed.tolist()
        changed.converge.update(rows)
        return facts

    def _plan_retry(self, trouble: str, now: float) -> list[Fact]:
        """A solve that failed is repeated even if the problem does not change."""
        if not trouble:
            facts: list[Fact] = [LogLine("info", "the solver has recovered")] if self._delay else []
            self._delay, self.retry_at = 0.0, None
            return facts
        self._delay = min(MAX_RETRY_AFTER, 2 * self._delay or RETRY_AFTER)
        self.retry_at = now + self._delay
        text = f"the solver gave no plan in time, next attempt in {self._delay:.0f} s: {trouble[:1000]}"
        return [LogLine("error", text)]

    def out_of_date(self, items: set[int]) -> set[int]:
        """Those of the Items whose target is out of date, by an event that came while it was solved.

        A row may even belong to another Item or another Member by now.
        """
        ledger, solution = self._ledger, self.solution
        assert solution is not None
        if not ledger.changed.problem:
            return set()
        changed = items & ledger.changed.solve_items
        rows = known_rows(items - changed, solution)
        members = as_rows(ledger.changed.solve_members)
        concerned = np.isin(solution.members[rows], members).any(axis=1)
        concerned |= np.isin(ledger.arrays.held[rows], members).any(axis=1)
        return changed | set(rows[concerned].tolist())

    def lacking(self, items: Iterable[int]) -> set[int]:
        """Those of the Items that have fewer live replicas than the target gives them."""
        solution = self.solution
        assert solution is not None
        known = known_rows(items, solution)
        here = held_live(self._ledger.arrays.problem(), known)
        wanted = solution.members[known] >= 0
        return set(known[here.sum(axis=1) < wanted.sum(axis=1)].tolist())
