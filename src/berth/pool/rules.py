"""The step rules: what may be done for one Item now, given where it is and where it should be.

The rules are those of Gazette's allocator (`item_state.go`: add, then remove what is surplus while enough
consistent replicas stay, then promote, then close gaps), with epochs, `Exclusive` handoff, budgets and the
outage brake added. Each rule is a function of its own.
"""

from itertools import count
from typing import NamedTuple

from berth.kinds import Entry
from berth.pool.changes import Loads
from berth.pool.reasons import Wait, Why


class Holding(NamedTuple):
    """One entry of the Item."""

    member: int  # row of the Member
    slot: int
    grant: int
    epoch: int
    ready: bool  # as section "Assignment" of the API reference defines it
    live: bool
    awaited: bool  # not live, but its Items wait for it
    stopped: bool = False  # not live, and its process is guaranteed to have stopped
    restarted: bool = False  # live, but the entry is an earlier session's: it is granted again


class View(NamedTuple):
    """An Item, where it is and where it should be."""

    name: str
    replicas: int  # replicas asked for; 0 if the Item is gone
    holdings: tuple[Holding, ...]
    target: tuple[int, ...]  # Member rows that should hold it, in slot order: the first should be primary
    unreleased: tuple[int, ...] = ()
    """Member rows that may still work as primary without holding slot 0 (only under `Exclusive`).

    -1 stands for one that is not a Member of the Pool any more.
    """

    def in_flight(self) -> int:
        """Entries above what the target gives it now: moves under way."""
        return self.surplus({h.member for h in self.holdings if h.live or h.awaited})

    def surplus(self, members: set[int]) -> int:
        """Moves under way once these Members hold it.

        An Item without a place in the plan is not on a move, or it would use up the budget for good.
        """
        arrived = len(members.intersection(self.target))
        return min(arrived, max(0, len(members) - len(self.target))) if self.replicas else 0


class Edit(NamedTuple):
    """A change of one entry: the new entry, or None to take it away."""

    member: int
    entry: Entry | None
    after: tuple[int, ...] = ()  # Members that give up slot 0: their writes must be accepted first


class Step(NamedTuple):
    """The next allowed step of an Item."""

    edits: tuple[Edit, ...] = ()
    wait: Wait | None = None  # what the Item waits for next; None once it is at its target
    in_flight: int = 0  # moves under way, this step's adds included
    moves: tuple[int, ...] = ()  # Members whose adds in this step are moves, not recovery


class Rules(NamedTuple):
    """What the rules take into account besides the Item."""

    term: int  # term of grants and promotions made now
    loads: Loads  # those of the Members, with what this round has added so far
    exclusive: bool = False
    active_primaries: bool = False
    moves_left: int | None = None  # moves that may still start, None without a bound
    paused: bool = False  # the brake is on: no moves, no removals


def step(view: View, rules: Rules) -> Step:
    """The next allowed step for the Item: several edits if they may happen in one round."""
    # What another session was granted counts as never prepared. No pause or brake delays this: the session
    # before has ended, and the running one does nothing until the entries are its own.
    here = [h._replace(grant=rules.term) if h.restarted else h for h in view.holdings if h.live or h.awaited]
    # Under `Exclusive` the entry of a primary that may still run stays: it also keeps the next leader from
    # promoting another Member.
    lingering = tuple(h.member for h in view.holdings if rules.exclusive and _lingers(h))
    dead = [h for h in view.holdings if not h.live and not h.awaited and h.member not in lingering]
    drops = [Edit(h.member, None) for h in dead]

    added, moves, add_wait = additions(view, here, rules)
    removed, remove_wait = removals(view, here, rules)
    gone = {h.member for h in removed}
    stay = [h for h in here if h.member not in gone] + added

    vacated = tuple(h.member for h in (*dead, *removed) if h.slot == 0)
    busy = (*lingering, *(h.member for h in (*dead, *removed) if h.slot == 0 and not h.stopped))
    stay, promoted, after, promote_wait = primary(view, stay, vacated, busy, rules)
    before = {h.member: h for h in view.holdings}
    stay = _pack_new(stay, before)
    quiet = not (drops or added or removed or promoted)
    if quiet and stay == here:
        stay = close_gap(stay)

    edits = drops + [Edit(h.member, None) for h in removed]
    for h in stay:
        if before.get(h.member) != h:
            entry = Entry(view.name, h.slot, h.grant, h.epoch)
            edits.append(Edit(h.member, entry, after if h.slot == 0 else ()))
    wait = add_wait or remove_wait or promote_wait
    if wait is None and lingering:
        wait = Wait(Why.RELEASE, lingering)
    if wait is None and any(h.awaited for h in here):
        why = Why.PAUSED if rules.paused else Why.OUTAGE
        wait = Wait(why, tuple(h.member for h in here if h.awaited))
    if wait is None and (edits or {h.member for h in here} != set(view.target)):
        wait = Wait(Why.STEP)
    return Step(tuple(edits), wait, view.surplus({h.member for h in stay}), tuple(moves))


def additions(view: View, here: list[Holding], rules: Rules) -> tuple[list[Holding], list[int], Wait | None]:
    """Entries to add: on Members of the target with room; moves also within the budget.

    An add is recovery while the Item has fewer entries than its target; else it is a move. Returns the
    entries, the Members of those that are moves, and the wait.
    """
    holders = {h.member for h in here}
    used = {h.slot for h in here}
    added: list[Holding] = []
    moves: list[int] = []
    wait: Wait | None = None
    awaited = tuple(h.member for h in here if h.awaited and h.member not in view.target)
    full: list[int] = []
    for member in view.target:
        if member in holders:
            continue
        is_move = len(here) + len(added) >= len(view.target)
        if is_move and rules.paused:
            wait = wait or Wait(Why.PAUSED)
        elif is_move and awaited:
            wait = wait or Wait(Why.OUTAGE, awaited)
        elif is_move and rules.moves_left is not None and len(moves) >= rules.moves_left:
            wait = wait or Wait(Why.BUDGET)
        elif rules.loads.room(member) <= 0:
            full.append(member)
        else:
            if is_move:
                moves.append(member)
            slot = _free(used)
            used.add(slot)
            added.append(Holding(member, slot, rules.term, 0, ready=False, live=True, awaited=False))
    if full:
        # A Member that has just appeared has no Assignment yet: creating that is the next step.
        wait = Wait(Why.LIMIT if all(map(rules.loads.writable, full)) else Why.STEP, tuple(full))
    return added, moves, wait


def removals(view: View, here: list[Holding], rules: Rules) -> tuple[list[Holding], Wait | None]:
    """Entries to take away: those outside the target, while enough ready ones stay.

    Never below `replicas`, or below what the target gives if that is less, and never the last.
    """
    wanted = set(view.target)
    surplus = [h for h in here if h.member not in wanted]
    if not surplus:
        return [], None
    if rules.paused and view.replicas:
        return [], Wait(Why.PAUSED)
    need = min(view.replicas, max(1, len(view.target)))
    ready = sum(h.ready for h in here)
    surplus.sort(key=lambda h: (-rules.loads.fullness(h.member), h.slot != 0, h.slot))
    removed = []
    for holding in surplus:
        if ready - holding.ready >= need:
            ready -= holding.ready
            removed.append(holding)
    if len(removed) == len(surplus):
        return removed, None
    if not view.target:
        return removed, Wait(Why.NO_PLACE, tuple(h.member for h in surplus))
    prepared = {h.member for h in here if h.ready}
    # Those that are added in this very step included: the removal waits for them next.
    waited = tuple(member for member in view.target if member not in prepared)
    return removed, Wait(Why.NOT_READY, waited or tuple(h.member for h in surplus))


def primary(
    view: View, stay: list[Holding], vacated: tuple[int, ...], busy: tuple[int, ...], rules: Rules
) -> tuple[list[Holding], bool, tuple[int, ...], Wait | None]:
    """Decide on slot 0: one holder at most, a new one if none is left.

    `vacated` give up slot 0 in this step, `busy` are those that had it and may still work.
    Returns the entries, whether one was promoted, the Members whose writes must come first, and the wait.
    """
    claims = sorted((h for h in stay if h.slot == 0), key=lambda h: -h.epoch)
    # A claim with a lower epoch than another does not hold slot 0, even if the other goes in this step.
    highest = max((h.epoch for h in view.holdings if h.slot == 0), default=0)
    holder = claims[0] if claims and claims[0].epoch == highest else None
    # A process that was restarted needs an epoch of its own, so slot 0 is given out again.
    again = holder.member if holder is not None and holder.restarted else None
    if again is not None:
        holder = None
    for claim in claims if holder is None else claims[1:]:
        stay = _with(stay, claim._replace(slot=_free_slot(stay), epoch=0))
        vacated, busy = (*vacated, claim.member), (*busy, claim.member)
    if holder is not None:
        balances = rules.active_primaries and not rules.paused and holder.member in view.target
        better = next((h for h in stay if h.ready and h.member in view.target[:1]), None)
        if not balances or better is None or better is holder:
            return stay, False, (), None
        stay = _with(stay, holder._replace(slot=_free_slot(stay), epoch=0))
        vacated, busy = (*vacated, holder.member), (*busy, holder.member)
    candidates = [h for h in stay if h.live]
    if not candidates or not view.replicas:
        return stay, False, (), None
    wanted = set(view.target)

    def rank(h: Holding) -> tuple[object, ...]:
        return (
            not h.ready,
            again is not None and h.member != again,
            h.member not in wanted,
            h.member not in view.target[:1],
            rules.loads.primaries(h.member),
            h.slot,
        )

    chosen = min(candidates, key=rank)
    if rules.exclusive:
        others = tuple(dict.fromkeys(m for m in (*busy, *view.unreleased) if m != chosen.member))
        if others:
            return stay, False, (), Wait(Why.RELEASE, others)
    stay = _with(stay, chosen._replace(slot=0, epoch=rules.term))
    return stay, True, tuple(m for m in vacated if m != chosen.member), None


def close_gap(stay: list[Holding]) -> list[Holding]:
    """Give the last entry the lowest free slot, if slots repeat or leave a gap."""
    slots = sorted(h.slot for h in stay if h.slot)
    if slots == list(range(1, len(slots) + 1)):
        return stay
    twice = [h for i, h in enumerate(stay) if h.slot and h.slot in {o.slot for o in stay[:i]}]
    last = twice[0] if twice else max(stay, key=lambda h: h.slot)
    return _with(stay, last._replace(slot=_free_slot(stay)))


def _lingers(h: Holding) -> bool:
    return h.slot == 0 and not (h.live or h.awaited or h.stopped)


def _with(stay: list[Holding], changed: Holding) -> list[Holding]:
    return [changed if h.member == changed.member else h for h in stay]


def _pack_new(stay: list[Holding], before: dict[int, Holding]) -> list[Holding]:
    """Number the new entries again, so that one that became primary leaves no gap behind."""
    used = {h.slot for h in stay if h.slot == 0 or h.member in before}
    packed = []
    for h in stay:
        if h.slot and h.member not in before:
            h = h._replace(slot=_free(used))
            used.add(h.slot)
        packed.append(h)
    return packed


def _free_slot(stay: list[Holding]) -> int:
    return _free({h.slot for h in stay})


def _free(used: set[int]) -> int:
    """The lowest slot of a replica that is not used."""
    return next(slot for slot in count(1) if slot not in used)
