"""What the step rules see of one Item: plain values, no fleet behind them."""

from __future__ import annotations

from typing import NamedTuple


class Holding(NamedTuple):
    """One entry of the Item."""

    member: int
    """Row of the Member."""
    slot: int
    grant: int
    epoch: int
    ready: bool
    """As section "Assignment" of the API reference defines it."""
    live: bool
    kept: bool
    """Not live, but waited for."""
    stopped: bool = False
    """Not live, and whatever ran there has surely stopped."""
    restarted: bool = False
    """Live, but the entry is an earlier session's: it is given anew, with a grant of its own."""


class View(NamedTuple):
    """An Item, where it is and where it should be."""

    name: str
    replicas: int
    """Replicas asked for; 0 where the Item is gone."""
    holdings: tuple[Holding, ...]
    target: tuple[int, ...]
    """Member rows that should hold it, slot order."""
    primary: int
    """Member row that should be primary, or -1."""
    unreleased: tuple[int, ...] = ()
    """Member rows that may still work as primary without holding slot 0 (looked at under `Exclusive`).

    -1 stands for one that is no Member of the Pool any more.
    """
