"""One round: the steps of all Items that need a look, gathered into one write per Member."""

from __future__ import annotations

from collections.abc import Iterable

from berth.kinds import Handoff, PrimaryBalance
from berth.pool.bulk import place_fresh, sort_items
from berth.pool.changes import Loads, MemberEdit, Round, lane
from berth.pool.former import stopped
from berth.pool.ledger import Ledger
from berth.pool.progress import Progress
from berth.pool.rules import Holding, Rules, View, step
from berth.solve import Solution


def due_items(ledger: Ledger, progress: Progress) -> set[int]:
    """Item rows to process in this round; takes those that have changed."""
    names, policy = ledger.items.names, ledger.policy
    items = {row for row in ledger.changed.converge if row < len(names)}
    ledger.changed.converge = set()
    for row, waiting in progress.for_room.items():
        member = ledger.members.get(row)
        if waiting and member is not None and len(member.entries) < member.limit:
            items |= waiting
    for row in ledger.sessions.restarted:
        member = ledger.members[row]
        if member.restarted:  # all its entries in one write, or its new session gets none of them
            items.update(ledger.items.of[name] for name in member.entries)
    if policy.moves.max_in_flight is not None and progress.for_budget:
        left = max(0, policy.moves.max_in_flight - progress.moving)
        items.update(sorted(progress.for_budget)[:left])
    for row in [row for row in items if names[row] is None]:
        progress.forget(row)
        progress.since.pop(row, None)
        items.discard(row)
    return items


def view_of(ledger: Ledger, row: int, solution: Solution, now: float) -> View:
    """What the rules know of an Item row."""
    name = ledger.items.name(row)
    holdings = []
    for member in ledger.holders(row):
        entry = member.entries[name]
        holdings.append(
            Holding(
                member.row,
                entry.slot,
                entry.grant,
                entry.epoch,
                member.ready(name),
                member.live,
                awaited=member.awaited and not member.live and member.info is not None,
                stopped=stopped(member),
                restarted=member.restarted,
            )
        )
    target: tuple[int, ...] = ()
    primary = -1
    exists = row in ledger.generations
    if exists and row < len(solution.primary):
        target = tuple(m for m in solution.members[row].tolist() if m >= 0)
        primary = int(solution.primary[row])
    unreleased: tuple[int, ...] = ()
    if ledger.policy.handoff is Handoff.EXCLUSIVE and exists:
        unreleased = tuple(ledger.member_rows.of.get(m, -1) for m in ledger.former.unreleased(name, now))
    return View(name, int(ledger.arrays.replicas[row]), tuple(holdings), target, primary, unreleased)


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

    `term` is that of grants and promotions made now. Recovery comes before moves, so that a move never takes
    the room that a missing replica needs.
    """
    policy = ledger.policy
    result = Round(term)
    loads = Loads(ledger.members)
    known = [row for row in items if ledger.items.names[row] is not None]
    sorted_ = sort_items(ledger, solution, known)
    for row in sorted_.at_target:
        progress.forget(row)
    others = sorted_.others + place_fresh(ledger, solution, sorted_, loads, progress, result)
    views = [view_of(ledger, row, solution, now) for row in others]
    views.sort(key=lambda v: (sum(h.live for h in v.holdings) >= len(v.target), v.name))
    # Moves that a leader before this one started are under way before any starts here.
    elsewhere = progress.moving - sum(progress.in_flight.get(row, 0) for row in others)
    in_flight = [view.in_flight() for view in views]
    moving = elsewhere + sum(in_flight)
    rules = Rules(
        term=term,
        room=loads.room,
        writable=loads.writable,
        fullness=loads.fullness,
        primaries=loads.primaries,
        exclusive=policy.handoff is Handoff.EXCLUSIVE,
        active_primaries=policy.balance.primaries is PrimaryBalance.ACTIVE,
        paused=braking,
    )
    for view, moves in zip(views, in_flight, strict=True):
        if policy.moves.max_in_flight is not None:
            rules = rules._replace(moves_left=max(0, policy.moves.max_in_flight - moving))
        done = step(view, rules)
        moving += done.in_flight - moves
        progress.note(ledger.items.of[view.name], done)
        moved: list[int] = []
        if done.moves:
            holders = {holding.member for holding in view.holdings}
            moved = [e.member for e in done.edits if e.entry and e.member not in holders][-done.moves :]
        for edit in done.edits:
            member = ledger.members[edit.member]
            loads.take(edit, member)
            reason = lane(member.entries.get(view.name), edit.entry, is_move=edit.member in moved)
            result.edits(member).append(MemberEdit(view.name, edit.entry, edit.after, reason))
            if edit.entry is not None and term in (edit.entry.grant, edit.entry.epoch):
                result.raises_term = True
    return result
