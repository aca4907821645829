"""All that can happen to a small fleet: every state that can be reached, breadth first.

Two controllers, three Members and two Items. The controllers' loop, writer, brain and solver are the real
ones (`explore_leader`), and so are the step rules of a worker's callbacks. The API server, the processes of
the workers and time are a model. The promises of docs/architecture.md are checked in every state and at
every write. As the search is breadth first, the first broken promise has a shortest trace.

States are compared with times relative to now, and those that differ only in the names of Members or of Items
are joined. Where the rules break a tie by name only one of the joined cases is followed.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from explore_leader import (
    ITEMS,
    LEASE,
    MEMBERS,
    OLD,
    RENAMINGS,
    TICK,
    Assignment,
    Cache,
    News,
    Numbers,
    Pool,
    Request,
    Seat,
    Seats,
)
from protocol_world import Broken

from berth.kinds import Entry, Handoff, Report, format_report, parse_entry
from berth.member.steps import Position, Stage, Step, next_step, phase
from berth.pool import Policy

STOPS_AFTER = LEASE * 1.1
"""Seconds without a renewal after which a process stops itself, by a clock that is a tenth slow."""


READS = frozenset({"get", "get pool", "list"})
"""Requests that change nothing, whenever they arrive."""
HAPPENS = {
    "see": "sees what its watches show",
    "tick": "notices that time passes",
    "read": "reads Leases",
    "start": "starts to lead",
    "answer": "gets an answer",
}
DISTURBANCES = frozenset({"election", "restart", "cut", "death", "no answer", "silence", "order"})
"""What goes wrong, or what people do: another controller is elected; a worker is started again, is cut off or
ends; a request gets no answer; no watch of Leases shows anything for a step of time; `replicas` or `limit` of
something changes."""


class Process(NamedTuple):
    """A worker's process."""

    session: int = 1
    running: bool = True
    connected: bool = True
    positions: frozenset[tuple[str, Position]] = frozenset()


class Member(NamedTuple):
    """A Member with its Assignment, its Lease and the process behind it."""

    name: str
    limit: int
    assignment: Assignment
    process: Process = Process()
    holder: str = ""
    renewals: tuple[int, ...] = (0,)
    """Steps of time since the renewals of its Lease, the latest first."""
    reported_live: bool | None = None
    """What its status says."""


class Item(NamedTuple):
    """An Item, and the epochs that it had."""

    name: str
    replicas: int
    epoch: int = 0
    """The highest."""
    had: frozenset[tuple[int, str]] = frozenset()
    """Epochs, and the sessions that worked with them."""


class Late(NamedTuple):
    """A write that its sender has given up and that may still arrive."""

    leader: str
    request: Request


class State(NamedTuple):
    """Everything at one moment."""

    pool: Pool
    established: str
    """The leader that was the last to complete a take-over."""
    holder: int
    """Who was elected last."""
    items: tuple[Item, ...]
    members: tuple[Member, ...]
    seats: tuple[int, ...]
    """The controllers' processes, by their numbers."""
    late: frozenset[Late]
    left: int
    """How many more disturbances there may be."""


Move = tuple[str, State]


class Counterexample(AssertionError):  # noqa: N818 - says what is so
    """A broken promise and the shortest way to it."""

    def __init__(self, broken: str, trace: list[str]) -> None:
        super().__init__("\n".join([broken, *(f"{n:3}. {line}" for n, line in enumerate(trace, 1))]))
        self.broken = broken
        self.trace = trace


class Reached(NamedTuple):
    """How far a search came."""

    states: int
    moves: int
    depth: int
    """All states that so many moves lead to were looked at."""
    complete: bool
    """There are no others."""
    steps: int
    """Steps of a controller that were computed, not remembered."""
    seconds: float


class Fleet:
    """What can happen to a fleet."""

    def __init__(
        self,
        *,
        exclusive: bool = False,
        reported: bool = True,
        replicas: tuple[int, ...] = (2, 1),
        limits: tuple[int, ...] = (2, 2, 2),
        disturbances: int = 1,
        kinds: frozenset[str] = DISTURBANCES,
    ) -> None:
        self.exclusive = exclusive
        self.reported = reported
        self.numbers = Numbers()
        handoff = Handoff.EXCLUSIVE if exclusive else Handoff.OVERLAP
        self.seats = Seats(Policy(handoff=handoff), reported, self.numbers)
        self._replicas, self._limits = replicas, limits
        self._disturbances, self._kinds = disturbances, kinds
        self._doing = ""
        """What is being worked out, for the last line of a trace."""
        self._workers: dict[Member, tuple[Member, dict[str, int], str] | None] = {}

    def close(self) -> None:
        """Release what the controllers ran in."""
        self.seats.close()

    # ---- the beginning --------------------------------------------------------------------------

    def first(self) -> State:
        """A fleet that has just been made, nobody leads it yet."""
        members = tuple(
            Member(name, limit, Assignment(name), holder=_session(name, 1))
            for name, limit in zip(MEMBERS, self._limits, strict=True)
        )
        items = tuple(Item(name, n) for name, n in zip(ITEMS, self._replicas, strict=True))
        stamps = tuple((m.holder, 0) for m in members)
        cache = Cache(self._replicas, self._limits, Pool(), tuple(m.assignment for m in members), stamps)
        seats = tuple(self.seats.first(k, cache) for k in range(2))
        return State(Pool(), "", -1, items, members, seats, frozenset(), self._disturbances)

    def granting(self) -> State:
        """The second leader has just taken over from the first and writes its first grants."""
        for state in self._undisturbed():
            if self._grants(state, 0):
                state = self._elect(state, 1)
                while not self._grants(state, 1):
                    moves = chain(self._deliveries(state), self._answers(state))
                    state = next(after for text, after in moves if text.startswith("c1"))
                shown = next(after for text, after in self._deliveries(state) if text.startswith("c0"))
                return shown._replace(left=self._disturbances)
        raise AssertionError("nothing is granted")

    def _grants(self, state: State, k: int) -> bool:
        return any(request.what in ("patch", "raise term") for request in self._seats(state)[k].pending)

    def settled(self) -> State:
        """The fleet once the first leader has placed everything and both controllers have seen that."""
        *_, state = self._undisturbed()
        return state._replace(left=self._disturbances)

    def _undisturbed(self) -> Iterator[State]:
        """The fleet on its way to rest: requests are answered, then watches catch up, then workers work."""
        state = self._elect(self.first()._replace(left=0), 0)
        for _ in range(100):
            yield state
            for moves in (self._answers, self._deliveries, self._works):
                found = next((after for _, after in moves(state)), None)
                if found is not None:
                    state = found
                    break
            else:
                return
        raise AssertionError("the fleet does not come to rest")

    # ---- moves ----------------------------------------------------------------------------------

    def moves(self, state: State) -> Iterator[Move]:
        """All that can happen next."""
        yield from self._answers(state)
        yield from self._deliveries(state)
        yield from self._works(state)
        yield from self._time(state)
        yield from self._faults(state)
        yield from self._late(state)
        yield from self._elections(state)
        yield from self._orders(state)

    def _elections(self, state: State) -> Iterator[Move]:
        left = self._disturbed(state, "election")
        for k in range(2) if left else ():
            if k != state.holder:
                yield f"c{k} is elected", self._elect(left, k)

    def _disturbed(self, state: State, kind: str) -> State | None:
        """The state with one disturbance less to come, None if that may not happen."""
        return state._replace(left=state.left - 1) if state.left and kind in self._kinds else None

    def _elect(self, state: State, k: int) -> State:
        seat = self.seats.known[state.seats[k]]
        late = {Late(f"c{k}", r) for r in seat.pending if r.what not in READS}
        state = state._replace(holder=k, late=state.late | late)
        dead, live = (
            frozenset(f"l-{m.name}" for m in state.members if m.reported_live is found)
            for found in (False, True)
        )
        return self._step(state, k, ("start", dead, live))

    def _step(self, state: State, k: int, happens: tuple[Any, ...]) -> State:
        """Something happens to a controller process."""
        self._doing = f"c{k} {HAPPENS[happens[0]]}"
        seat, news = self.seats.step(k, state.seats[k], happens)
        name = f"c{k}"
        state = state._replace(seats=_with(state.seats, k, seat))
        if news.decided:
            if state.pool.leader == name:
                state = state._replace(established=name)
            if state.established == name:
                members = zip(state.members, news.live, strict=True)
                state = state._replace(members=tuple(m._replace(reported_live=live) for m, live in members))
        self._check_deaths(state, news)
        return state

    def _deliveries(self, state: State) -> Iterator[Move]:
        """A watch catches up, or all of them do; Leases are read."""
        replicas = tuple(item.replicas for item in state.items)
        limits = tuple(member.limit for member in state.members)
        assignments = tuple(member.assignment for member in state.members)
        leases = self._leases(state)
        for k, seat in enumerate(self._seats(state)):
            cache = seat.cache
            stamps = tuple((holder, seat.tick - age) for holder, age in leases)
            news = [
                (replicas, limits) != (cache.replicas, cache.limits),
                (state.pool, assignments) != (cache.pool, cache.assignments),
                stamps != cache.stamps,
            ]
            none = (None, None, None, None, None)
            shown = (replicas, limits, state.pool, assignments, leases)
            # One that is busy, or does not lead, decides nothing: what it sees may as well be seen together.
            decides = seat.leading and not seat.log
            if sum(news) > 1 or (any(news) and not decides):
                yield f"c{k} sees all", self._step(state, k, ("see", *shown))
            if not decides:
                news = [False, news[1] and seat.leading and any((news[0], news[2])), False]
            if news[0]:
                yield f"c{k} sees Items and Members", self._step(state, k, ("see", *shown[:2], *none[2:]))
            if news[1]:
                seen = (*none[:2], *shown[2:4], None)
                yield f"c{k} sees Assignments", self._step(state, k, ("see", *seen))
            if news[2]:
                yield f"c{k} sees Leases", self._step(state, k, ("see", *none[:4], leases))
            if seat.reads:
                yield f"c{k} reads {', '.join(sorted(seat.reads))}", self._step(state, k, ("read", leases))

    def _seats(self, state: State) -> list[Seat]:
        return [self.seats.known[number] for number in state.seats]

    def _leases(self, state: State) -> tuple[tuple[str, int], ...]:
        return tuple((m.holder, m.renewals[0]) for m in state.members)

    # ---- requests -------------------------------------------------------------------------------

    def _answers(self, state: State) -> Iterator[Move]:
        """A request is carried out and answered, or gets no answer and may arrive later."""
        for k, seat in enumerate(self._seats(state)):
            for request in seat.pending:
                text = f"c{k}: {_words(request)}"
                after, outcome, data = self._carry_out(state, f"c{k}", request)
                answer = ("answer", request.number, outcome, data)
                yield f"{text}: {outcome}", self._step(after, k, answer)
                lost = self._disturbed(state, "no answer")
                if lost is not None:
                    if request.what not in READS:
                        lost = lost._replace(late=state.late | {Late(f"c{k}", request)})
                    timeout = ("answer", request.number, "Timeout", None)
                    yield f"{text}: no answer", self._step(lost, k, timeout)

    def _late(self, state: State) -> Iterator[Move]:
        for late in state.late:
            after, outcome, _ = self._carry_out(state, late.leader, late.request)
            text = f"{late.leader}: {_words(late.request)}: arrives late, {outcome}"
            yield text, after._replace(late=state.late - {late})

    def _carry_out(self, state: State, leader: str, request: Request) -> tuple[State, str, Any]:
        """What the API server does: the new state, the outcome and the data of the answer."""
        pool, body = state.pool, request.body
        self._doing = f"{leader}: {_words(request)}"
        match request.what:
            case "get pool":
                return state, "ok", pool
            case "list":
                there = frozenset(m.assignment.name for m in state.members if m.assignment.generation)
                seat = self.seats.known[state.seats[int(leader[1:])]]
                shown = seat.cache.assignments == tuple(m.assignment for m in state.members)
                return state, "ok", (there, shown)
            case "take over":
                if body[0] != pool.version:
                    return state, "Conflict", None
                pool = Pool(body[1], body[2], pool.version + 1)
                return state._replace(pool=pool), "ok", pool
            case "raise term":
                if body[0] != pool.term:
                    return state, "Invalid", None
                pool = Pool(body[1], pool.leader, pool.version + 1)
                return state._replace(pool=pool), "ok", pool
            case "get":
                return state, "ok", state.members[MEMBERS.index(request.name)].assignment.generation
        member = state.members[MEMBERS.index(request.name)]
        old = member.assignment
        if request.what == "create":
            if old.generation:
                return state, "Conflict", None
            term, items, session = body
        else:
            generation, term, items, session = body
            if generation != old.generation:
                return state, "Invalid", None
            if (term, items, session) == (old.term, old.items, old.written_for):
                return state, "ok", None
        if term < pool.term:
            return state, "Forbidden", None
        new = old._replace(generation=old.generation + 1, term=term, items=items, written_for=session)
        return self._written(state, leader, member, new, request), "ok", None

    # ---- workers --------------------------------------------------------------------------------

    def _works(self, state: State) -> Iterator[Move]:
        """A worker sees its Assignment, takes each Item one callback further and reports."""
        for index, member in enumerate(state.members):
            if member not in self._workers:
                self._workers[member] = _worked(member)
            worked = self._workers[member]
            if worked is not None:
                changed, started, text = worked
                after = state._replace(members=_with(state.members, index, changed))
                for name, epoch in started.items():
                    after = self._started(after, name, epoch, changed.holder)
                yield text, after

    def _started(self, state: State, item: str, epoch: int, session: str) -> State:
        self._doing = f"{session} starts to work on {item}"
        index = ITEMS.index(item)
        there = state.items[index]
        others = [who for had, who in there.had if had == epoch and who != session]
        if others:
            raise Broken(f"4: {session} works on {item} with epoch {epoch}, which {others[0]} had")
        there = there._replace(had=there.had | {(epoch, session)})
        return state._replace(items=_with(state.items, index, there))

    def _faults(self, state: State) -> Iterator[Move]:
        """A worker's process is started again, ends, loses the API server or finds it again."""
        for index, member in enumerate(state.members):
            for kind, text, changed in _fates(member):
                left = self._disturbed(state, kind) if kind else state
                if left is not None:
                    yield text, left._replace(members=_with(state.members, index, changed))

    def _time(self, state: State) -> Iterator[Move]:
        """Time passes. Processes renew their Leases, or stop where they cannot.

        Nobody waits for an answer for longer than one step: by then there is none.
        """
        for seat in self._seats(state):
            if any(happens[0] == "tick" for happens in seat.log[_asked(seat) :]):
                return
        members = []
        for member in state.members:
            process = member.process
            renewals = tuple(age + 1 for age in member.renewals if age < OLD) or (OLD,)
            holds = member.holder == _session(member.name, process.session)
            if process.running and process.connected and holds:
                renewals = _renewed(renewals)
            elif process.running and renewals[0] * TICK >= STOPS_AFTER:
                process = _stopped(process)
            members.append(member._replace(process=process, renewals=renewals))
        after = state._replace(members=tuple(members))
        leases = self._leases(after)
        shown = after
        for k in range(2):
            shown = self._step(shown, k, ("tick", leases))
        yield f"{TICK:g} s pass", shown
        silent = self._disturbed(after, "silence")
        if silent is not None:
            for k in range(2):
                silent = self._step(silent, k, ("tick", None))
            yield f"{TICK:g} s pass, the watches of Leases are silent", silent

    # ---- what people do -------------------------------------------------------------------------

    def _orders(self, state: State) -> Iterator[Move]:
        left = self._disturbed(state, "order")
        if left is None:
            return
        for index, item in enumerate(state.items):
            changed = item._replace(replicas=3 - item.replicas)
            yield (
                f"{item.name} is to have {changed.replicas} replicas",
                left._replace(items=_with(state.items, index, changed)),
            )
        for index, member in enumerate(state.members):
            limit = 0 if member.limit else self._limits[index]
            yield (
                f"{member.name} gets limit {limit}",
                left._replace(members=_with(state.members, index, member._replace(limit=limit))),
            )

    # ---- promises -------------------------------------------------------------------------------

    def _written(self, state: State, leader: str, member: Member, new: Assignment, request: Request) -> State:
        """An Assignment is written; whether it may be."""
        if state.pool.leader == state.established != leader:
            raise Broken(f"5: {leader} was replaced by {state.pool.leader} and changed {new.name}")
        before, after = _entries(member.assignment), _entries(new)
        if len(after) != len(new.items):
            raise Broken(f"3: an Item is listed twice on {new.name}: {new.items}")
        if member.assignment.written_for not in ("", new.written_for):
            kept = [n for n in before.keys() & after.keys() if before[n].grant == after[n].grant]
            if kept:
                raise Broken(f"4: {kept} on {new.name} stay, though it is {new.written_for}'s now")
        self._check_removals(state, member, before.keys() - after.keys(), request)
        items = state.items
        for name, entry in after.items():
            was = before.get(name)
            if was != entry and max(entry.grant, entry.epoch) > new.term:
                raise Broken(f"4: {entry} is given to {new.name} in a term above {new.term}")
            if not entry.primary or (was is not None and was.epoch == entry.epoch):
                continue
            index = ITEMS.index(name)
            if entry.epoch <= items[index].epoch:
                raise Broken(f"4: epoch {entry.epoch} of {name} after {items[index].epoch}")
            items = _with(items, index, items[index]._replace(epoch=entry.epoch))
            others = [m.name for m in state.members if m.name != new.name and _at_work(m, name)]
            if self.exclusive and others:
                raise Broken(f"2: {name} is promoted on {new.name} while {others} may be at work")
        members = _with(state.members, MEMBERS.index(new.name), member._replace(assignment=new))
        return state._replace(items=items, members=members)

    def _check_removals(self, state: State, member: Member, gone: set[str], request: Request) -> None:
        for name, need, counted in request.claims:
            if name not in gone:
                continue
            if need == "dead":
                if self.exclusive and _at_work(member, name):
                    raise Broken(f"2: {name} is taken from {member.name}, which has not stopped yet")
                continue
            left = [pair for pair in counted if _holds(state, *pair, name)]
            if len(left) < need:
                raise Broken(f"1: {name} is taken from {member.name}: {left} left, {need} needed")

    def _check_deaths(self, state: State, news: News) -> None:
        """Whoever is taken for dead had not renewed its Lease for as long as it lasts when it was read."""
        for name, read in news.deaths:
            member = state.members[MEMBERS.index(name)]
            if any(read < age * TICK < read + LEASE for age in member.renewals if age < OLD):
                raise Broken(f"9: {name} is taken for dead, though it renewed its Lease")

    def check(self, state: State) -> None:
        """The promises that hold at any time."""
        for name in ITEMS:
            holders = [m.name for m in state.members if _is_primary(m.assignment, name)]
            if len(holders) > 1:
                raise Broken(f"2: slot 0 of {name} is on {holders}")
            at_work = [m.name for m in state.members if _at_work(m, name)]
            if self.exclusive and len(at_work) > 1:
                raise Broken(f"2: {at_work} work on {name}")

    # ---- the search -----------------------------------------------------------------------------

    def key(self, state: State) -> bytes:
        """Equal for states that differ in nothing but names and the time of day."""
        numbers = self.numbers
        fixed = numbers.of((state.pool, state.established, state.holder, state.left))
        items = [numbers.renamed(item) for item in state.items]
        members = [numbers.renamed(member) for member in state.members]
        seats = [self.seats.forms[seat] for seat in state.seats]
        late = numbers.renamed(state.late)
        return min(
            array(
                "i",
                [
                    fixed,
                    *sorted([item[r] for item in items]),
                    *sorted([member[r] for member in members]),
                    *[seat[r] for seat in seats],
                    late[r],
                ],
            ).tobytes()
            for r in range(len(RENAMINGS))
        )

    def search(
        self,
        start: State,
        *,
        max_states: int = 1_000_000,
        max_seconds: float = float("inf"),
        max_depth: int = 1_000,
    ) -> Reached:
        """Look at every state that `start` leads to, nearest first. Raises Counterexample."""
        began = time.monotonic()
        known = {self.key(start): 0}
        origins, texts = array("i", [-1]), [""]
        layer: list[tuple[int, State]] = [(0, start)]
        depth = count = 0

        def trace(at: int) -> list[str]:
            lines = []
            while at > 0:
                lines.append(texts[at])
                at = origins[at]
            return lines[::-1]

        while layer and depth < max_depth:
            following: list[tuple[int, State]] = []
            for at, state in layer:
                if len(known) >= max_states or time.monotonic() - began > max_seconds:
                    steps, seconds = self.seats.steps, time.monotonic() - began
                    return Reached(len(known), count, depth, False, steps, seconds)
                moves = self.moves(state)
                while True:
                    text = self._doing = ""
                    try:
                        text, after = next(moves)
                        count += 1
                        key = self.key(after)
                        if key in known:
                            continue
                        self.check(after)
                    except StopIteration:
                        break
                    except Broken as broken:
                        raise Counterexample(str(broken), [*trace(at), text or self._doing]) from None
                    known[key] = len(origins)
                    origins.append(at)
                    texts.append(text)
                    following.append((len(origins) - 1, after))
            layer = following
            depth += 1
        return Reached(len(known), count, depth, not layer, self.seats.steps, time.monotonic() - began)


# ---- small helpers ----------------------------------------------------------------------------------


def _with(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _session(member: str, number: int) -> str:
    return f"s-{member}-{number}"


def _renewed(renewals: tuple[int, ...]) -> tuple[int, ...]:
    return (0, *(age for age in renewals if 0 < age < OLD))


def _stopped(process: Process) -> Process:
    return process._replace(running=False, connected=True, positions=frozenset())


@lru_cache(100_000)
def _entries(assignment: Assignment) -> dict[str, Entry]:
    return {entry.name: entry for entry in map(parse_entry, assignment.items)}


def _is_primary(assignment: Assignment, item: str) -> bool:
    entry = _entries(assignment).get(item)
    return entry is not None and entry.primary


def _at_work(member: Member, item: str) -> bool:
    """Whether its process may work as primary of the Item."""
    return any(n == item and p.stage is Stage.ACTIVE for n, p in member.process.positions)


def _holds(state: State, member: str, grant: int, item: str) -> bool:
    entry = _entries(state.members[MEMBERS.index(member)].assignment).get(item)
    return entry is not None and entry.grant == grant


def _fates(member: Member) -> Iterator[tuple[str, str, Member]]:
    """What may befall a worker's process: the disturbance that it is, if any, words, and the Member then."""
    process = member.process
    session = _session(member.name, process.session)
    started = Process(process.session + 1)
    holder = _session(member.name, started.session)
    renewals = _renewed(member.renewals)
    yield (
        "restart",
        f"{member.name} is started again",
        member._replace(process=started, holder=holder, renewals=renewals),
    )
    if not process.running:
        return
    ended = member._replace(process=_stopped(process))
    yield "death", f"{session} is killed", ended
    if not process.connected:
        back = member._replace(process=process._replace(connected=True))
        yield "", f"{session} is back", back._replace(renewals=renewals)
        return
    yield "death", f"{session} gives up its Lease and ends", ended._replace(holder="", renewals=renewals)
    yield "cut", f"{session} is cut off", member._replace(process=process._replace(connected=False))


def _worked(member: Member) -> tuple[Member, dict[str, int], str] | None:
    """The Member once its process has worked, the epochs with which it started to, and that in words."""
    process, there = member.process, member.assignment
    session = _session(member.name, process.session)
    if not (process.running and process.connected and there.generation) or member.holder != session:
        return None
    own = there.written_for in ("", session)
    targets = _entries(there) if own else {}
    positions = dict(process.positions) if own else {}
    started: dict[str, int] = {}
    reports = []
    for name in ITEMS:
        target = targets.get(name)
        position = _advanced(positions.pop(name, Position(Stage.ABSENT, 0)), target)
        reported = phase(position, target, failed=False)
        if target is not None and next_step(position, target) is Step.ACTIVATE:
            started[name] = target.epoch  # it was reported before it starts
            position = Position(Stage.ACTIVE, position.grant, target.epoch)
        if position.stage is not Stage.ABSENT:
            positions[name] = position
        if reported is not None:
            grant = position.grant or (target.grant if target else 0)
            reports.append(format_report(Report(name, grant, reported)))
    if own:
        there = there._replace(session=session, reports=tuple(reports))
    process = process._replace(positions=frozenset(positions.items()))
    changed = member._replace(process=process, assignment=there)
    if changed == member:
        return None
    words = [f"{name} {position.stage.name}" for name, position in sorted(positions.items())]
    return changed, started, f"{session} works: {', '.join(words) or 'nothing is here'}"


def _advanced(position: Position, target: Entry | None) -> Position:
    """The position after the callbacks that are due: one forwards, or all that release."""
    while (step := next_step(position, target)) is not None and step is not Step.ACTIVATE:
        if step is Step.PREPARE:
            started = position.stage is Stage.PREPARING
            assert target is not None
            return Position(Stage.PREPARED if started else Stage.PREPARING, target.grant)
        released = step is Step.DROP
        position = Position(Stage.ABSENT, 0) if released else Position(Stage.PREPARED, position.grant)
    return position


def _asked(seat: Seat) -> int:
    """Where in its log the last answer came."""
    return max((n for n, happens in enumerate(seat.log) if happens[0] == "answer"), default=0)


def _words(request: Request) -> str:
    return " ".join(filter(None, [request.what, request.name, str(request.body or "")]))
