"""What changed in a Pool since it was looked at last."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Changed:
    """Rows to look at again. The ledger adds to them; Target, Brain and Statuses each take theirs."""

    problem: bool = True
    """Whether the target must be solved again."""
    solve_items: set[int] = field(default_factory=set)
    solve_members: set[int] = field(default_factory=set)
    converge: set[int] = field(default_factory=set)
    """Items whose next step may have changed."""
    assignments: set[int] = field(default_factory=set)
    """Members whose Assignment object itself needs work: to be created, replaced, deleted or cleaned."""
    item_status: set[int] = field(default_factory=set)
    member_status: set[int] = field(default_factory=set)
