"""One round: the steps of all Items that need a look, gathered into one write per Member."""

from __future__ import annotations

from collections.abc import Iterable

from berth.kinds import Handoff
from berth.pool.bulk import place_fresh, sort_items
from berth.pool.changes import MemberEdit, Round, lane
from berth.pool.former import stopped
from berth.pool.ledger import Ledger
from berth.pool.loads import Loads
from berth.pool.progress import Progress
from berth.pool.rules import Holding, Rules, View, step
from berth.solve import Solution


def view_of(ledger: Ledger, row: int, solution: Solution, now: float) -> View:
    """What the rules know of an Item row."""
    name = ledger.items.names[row]
    assert name is not None
    info = ledger.item_info.get(row)
    holdings = []
    for member in ledger.holders(row):
        entry = member.entries[name]
        awaited = member.awaited and not member.live and member.info is not None
        holdings.append(
            Holding(
                member.row,
                entry.slot,
                entry.grant,
                entry.epoch,
                member.ready(name),
                member.live,
                awaited,
                stopped(member),
                member.restarted,
            )
        )
    target: tuple[int, ...] = ()
    primary = -1
    if info is not None and row < len(solution.primary):
        target = tuple(m for m in solution.members[row].tolist() if m >= 0)
        primary = int(solution.primary[row])
    unreleased: tuple[int, ...] = ()
    if ledger.policy.handoff is Handoff.EXCLUSIVE and info is not None:
        unreleased = tuple(ledger.member_rows.of.get(m, -1) for m in ledger.former.unreleased(name, now))
    return View(name, info.replicas if info else 0, tuple(holdings), target, primary, unreleased)


def plan_round(
    ledger: Ledger,
    solution: Solution,
    items: Iterable[int],
    progress: Progress,
    *,
    term: int,
    now: float,
    braking: bool = False,
) -> Round:
    """Take each Item row of `items` one allowed step towards `solution`; notes the rest in `progress`.

    `term` is that of grants and promotions made now. Recovery is looked at before moves, so that a
    move never takes the room that a missing replica needs.
    """
    policy = ledger.policy
    result = Round(term)
    loads = Loads(ledger)
    known = [row for row in items if ledger.items.names[row] is not None]
    sorted_ = sort_items(ledger, solution, known)
    for row in sorted_.at_target:
        progress.forget(row)
    others = sorted_.others + place_fresh(ledger, solution, sorted_, loads, progress, result)
    moving = progress.moving
    views = [view_of(ledger, row, solution, now) for row in others]
    views.sort(key=lambda v: (sum(h.live for h in v.holdings) >= len(v.target), v.name))
    rules = Rules(
        term=term,
        room=loads.room,
        fullness=loads.fullness,
        primaries=loads.primaries,
        exclusive=policy.handoff is Handoff.EXCLUSIVE,
        active_primaries=policy.active_primaries,
        paused=braking,
    )
    for view in views:
        row = ledger.items.of[view.name]
        moving -= progress.in_flight.get(row, 0)
        if policy.max_in_flight is not None:
            left = max(0, policy.max_in_flight - moving - progress.in_flight.get(row, 0))
            rules = rules._replace(moves_left=left)
        done = step(view, rules)
        moving += done.in_flight
        progress.note(row, done)
        moved: list[int] = []
        if done.moves:
            holders = {holding.member for holding in view.holdings}
            moved = [e.member for e in done.edits if e.entry and e.member not in holders][-done.moves :]
        for edit in done.edits:
            member = ledger.members[edit.member]
            loads.take(edit, member)
            reason = lane(member.entries.get(view.name), edit.entry, is_move=edit.member in moved)
            result.add(member, MemberEdit(view.name, edit.entry, edit.after, reason))
            if edit.entry is not None and term in (edit.entry.grant, edit.entry.epoch):
                result.raises_term = True
    return result
