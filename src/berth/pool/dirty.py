"""What changed in a Pool since it was read."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Dirty:
    """Rows to look at again. Each reader empties the sets that are its own."""

    problem: bool = True
    """Whether the target must be solved again."""
    solve_items: set[int] = field(default_factory=set)
    solve_members: set[int] = field(default_factory=set)
    converge: set[int] = field(default_factory=set)
    """Items whose next step may have changed."""
    assignments: set[int] = field(default_factory=set)
    """Members whose Assignment object itself needs work: to be created, replaced, deleted or mended."""
    item_status: set[int] = field(default_factory=set)
    member_status: set[int] = field(default_factory=set)
