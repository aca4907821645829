"""A small fleet, what can happen to it next, and the promises that must hold.

The controllers are real (`explore_process`), and so are the step rules of a worker's callbacks. The API
server and time are a model: each write is one step, which a request may take late or without an answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Any

from explore_leader import Seats
from explore_promises import Item, Late, State, check, check_deaths, with_, written
from explore_values import (
    ITEMS,
    LEASE,
    MEMBERS,
    OLD,
    RENAMINGS,
    TICK,
    Assignment,
    Cache,
    Numbers,
    Pool,
    Request,
    Seat,
)
from explore_workers import Member, fates, renewed, session_of, stopped, worked
from objects import pool_spec
from protocol_world import Broken

from berth.kinds import Handoff

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


Move = tuple[str, State]


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
        self.seats = Seats(pool_spec(handoff=handoff), reported, self.numbers)
        self._replicas, self._limits = replicas, limits
        self._disturbances, self._kinds = disturbances, kinds
        self.doing = ""
        """What is being worked out, for the last line of a trace."""
        self._workers: dict[Member, tuple[Member, dict[str, int], str] | None] = {}

    def close(self) -> None:
        """Release what the controllers ran in."""
        self.seats.close()

    # ---- the beginning --------------------------------------------------------------------------

    def first(self) -> State:
        """A fleet that has just been made, nobody leads it yet."""
        members = tuple(
            Member(name, limit, Assignment(name), holder=session_of(name, 1))
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
        self.doing = f"c{k} {HAPPENS[happens[0]]}"
        seat, news = self.seats.step(k, state.seats[k], happens)
        name = f"c{k}"
        state = state._replace(seats=with_(state.seats, k, seat))
        if news.decided:
            if state.pool.leader == name:
                state = state._replace(established=name)
            if state.established == name:
                members = zip(state.members, news.live, strict=True)
                state = state._replace(members=tuple(m._replace(reported_live=live) for m, live in members))
        check_deaths(state, news)
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
        self.doing = f"{leader}: {_words(request)}"
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
        return written(self.exclusive, state, leader, member, new, request), "ok", None

    # ---- workers --------------------------------------------------------------------------------

    def _works(self, state: State) -> Iterator[Move]:
        """A worker sees its Assignment, takes each Item one callback further and reports."""
        for index, member in enumerate(state.members):
            if member not in self._workers:
                self._workers[member] = worked(member)
            found = self._workers[member]
            if found is not None:
                changed, started, text = found
                after = state._replace(members=with_(state.members, index, changed))
                for name, epoch in started.items():
                    after = self._started(after, name, epoch, changed.holder)
                yield text, after

    def _started(self, state: State, item: str, epoch: int, session: str) -> State:
        self.doing = f"{session} starts to work on {item}"
        index = ITEMS.index(item)
        there = state.items[index]
        others = [who for had, who in there.had if had == epoch and who != session]
        if others:
            raise Broken(f"4: {session} works on {item} with epoch {epoch}, which {others[0]} had")
        there = there._replace(had=there.had | {(epoch, session)})
        return state._replace(items=with_(state.items, index, there))

    def _faults(self, state: State) -> Iterator[Move]:
        """A worker's process is started again, ends, loses the API server or finds it again."""
        for index, member in enumerate(state.members):
            for kind, text, changed in fates(member):
                left = self._disturbed(state, kind) if kind else state
                if left is not None:
                    yield text, left._replace(members=with_(state.members, index, changed))

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
            holds = member.holder == session_of(member.name, process.session)
            if process.running and process.connected and holds:
                renewals = renewed(renewals)
            elif process.running and renewals[0] * TICK >= STOPS_AFTER:
                process = stopped(process)
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
                left._replace(items=with_(state.items, index, changed)),
            )
        for index, member in enumerate(state.members):
            limit = 0 if member.limit else self._limits[index]
            yield (
                f"{member.name} gets limit {limit}",
                left._replace(members=with_(state.members, index, member._replace(limit=limit))),
            )

    def check(self, state: State) -> None:
        """The promises that hold at any time."""
        check(self.exclusive, state)

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


def _asked(seat: Seat) -> int:
    """Where in its log the last answer came."""
    return max((n for n, happens in enumerate(seat.log) if happens[0] == "answer"), default=0)


def _words(request: Request) -> str:
    return " ".join(filter(None, [request.what, request.name, str(request.body or "")]))
