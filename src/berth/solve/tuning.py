"""The sizes at which the solver switches methods; tests lower them so that small Pools enter every branch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """Thresholds and budgets. Work is counted in steps, so a plan does not depend on the clock."""

    merge_zones: int = 16  # above this number of zones, small zones are merged into one area
    reach: int = 4  # units of load on either side of a band that get their own arcs at first
    surplus_entries: int = 60_000  # up to this many surplus entries get their own arcs
    shed_entries: int = 3_000  # up to this many candidates to shed form a network with costs
    repair_items: int = 60  # Items in the first repair network; the size doubles each turn
    exact_arcs: int = 1_500_000  # maximum arcs in the exact network,
    close_exact_arcs: int = 300_000  # and where only the moves are not proven
    # Budgets for a solve in the caller's process; beyond them the other process is asked.
    quick_exact_arcs: int = 12_000
    quick_arcs: int = 40_000
    quick_items: int = 12_000  # Items to change,
    quick_moves: int = 4_000  # and entries to move, if not all Items may change
    quick_own: int = 128  # Members that shed few of many entries and get nodes of their own;
    quick_slots: int = 300_000  # in a Pool with more replicas than this, as many times fewer
    seconds: float = 20.0  # deadline for all engines together; after it the plain engine answers
    memory: int = 6 << 30  # maximum address space of the other process, in bytes


DEFAULT = Tuning()
