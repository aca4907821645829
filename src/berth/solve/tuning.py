"""The sizes at which the solver changes its ways, so that tests can enter every branch when small."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """Thresholds and budgets. All are counted in steps, so a plan never depends on the clock."""

    merge_zones: int = 16  # with more zones than this, small ones are looked at together
    reach: int = 4  # units of load on either side of a band that have arcs of their own at first
    even_units: int = 200_000  # at most so many units of load are told apart by level 11
    surplus_entries: int = 60_000  # at most so many entries that have to go have arcs of their own
    shed_entries: int = 3_000  # of which Members must give some, up to which each is seen by itself
    repair_items: int = 60  # in the first network that repairs a deal; each further one has twice as many
    polish_items: int = 400  # that moved, and as many others, decided anew where some moved for nothing;
    polish_part: int = 50  # or one of so many of all Items, if that is more
    primary_choices: int = 6_000  # up to so many (Item, Member) choices of primaries are one network
    primary_arcs: int = 40_000  # at most, in a flow of primaries over Members
    exact_arcs: int = 1_500_000  # the exact network has at most so many
    close_exact_arcs: int = 300_000  # and so many where only some moves may be too many
    # What may be done in the caller's process, in a few hundredths of a second: arcs of one network,
    # Items looked at, entries moved. What needs more is left to a process of its own.
    quick_exact_arcs: int = 12_000
    quick_arcs: int = 40_000
    quick_items: int = 12_000
    quick_moves: int = 4_000
    seconds: float = 20.0  # all engines together answer within this time, or the plain one does
    memory: int = 6 << 30  # bytes of address space that the other process may have


DEFAULT = Tuning()
