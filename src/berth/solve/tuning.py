"""The sizes at which the solver changes its ways, so that tests can enter every branch when small."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """Thresholds and budgets. All are counted in steps, so a plan never depends on the clock."""

    merge_zones: int = 16
    """With more zones than this, small ones are looked at together."""
    reach: int = 4
    """Units of load on either side of a band that have arcs of their own at first."""
    even_units: int = 200_000
    """At most this many units of load are told apart by level 11."""
    surplus_entries: int = 60_000
    """At most this many entries that have to go have arcs of their own."""
    repair_items: int = 60
    """Items in the first network that repairs a deal; each further one has twice as many."""
    leave_items: int = 3_000
    """Up to this many Items of kinds that must give much are told apart when they do."""
    polish_items: int = 400
    """Items that moved, and as many that did not, decided anew where some moved for nothing."""
    primary_choices: int = 2_000
    """Up to this many (Item, Member) choices of primaries are one network."""
    primary_arcs: int = 40_000
    """At most this many arcs in a flow of primaries over Members."""
    exact_arcs: int = 1_500_000
    """The exact network answers up to this many arcs, where the pooled way does not find the best."""
    quick_exact_arcs: int = 12_000
    """The same where it has to be quick."""
    quick_arcs: int = 40_000
    quick_items: int = 12_000
    quick_moves: int = 3_000
    """What may be done in the caller's process, in a few hundredths of a second: arcs of one network,
    Items looked at, entries moved. What needs more is left to a process of its own."""
    seconds: float = 20.0
    """All engines together answer within this time, or the plain one does."""
    memory: int = 6 << 30
    """Bytes of address space that the other process may have."""


DEFAULT = Tuning()
