"""Items and rules for tests of the step rules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from berth.kinds import Entry
from berth.pool.rules import Holding, Rules, Step, View

A, B, C, D = range(4)
TERM = 20


def held(member: int, slot: int, **changes: Any) -> Holding:
    """An entry on a live Member, ready unless said otherwise."""
    epoch = 11 if slot == 0 else 0
    plain = Holding(member, slot, 10, epoch, ready=True, live=True, awaited=False, stopped=False)
    return plain._replace(**changes)


def dead(member: int, slot: int, **changes: Any) -> Holding:
    return held(member, slot, ready=False, live=False, stopped=True)._replace(**changes)


def item(replicas: int, *holdings: Holding, target: tuple[int, ...] = (), **changes: Any) -> View:
    view = View("x", replicas, holdings, target)
    return view._replace(**changes)


def rules(**changes: Any) -> Rules:
    """Rules with these changes, of which some are of the loads; by default there is room everywhere."""
    loads: Any = SimpleNamespace(
        room=lambda _: 10, writable=lambda _: True, fullness=lambda _: 0.0, primaries=lambda _: 0.0
    )
    for name in vars(loads).keys() & changes.keys():
        setattr(loads, name, changes.pop(name))
    return Rules(TERM, loads, **changes)


def after(view: View, done: Step) -> dict[int, Entry]:
    """The entries by Member as they are once the step is written."""
    entries = {h.member: Entry(view.name, h.slot, h.grant, h.epoch) for h in view.holdings}
    for edit in done.edits:
        if edit.entry is None:
            del entries[edit.member]
        else:
            entries[edit.member] = edit.entry
    return entries


def slots(view: View, done: Step) -> dict[int, int]:
    return {member: entry.slot for member, entry in after(view, done).items()}
