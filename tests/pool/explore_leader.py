"""One controller process as a value: a snapshot of the real brain, and what has happened to it since then.

The real loop (`Lead`), writer and terms run over a client whose requests wait for an answer. A brain is a
function of its inputs, so a process in the middle of its writes is its last snapshot and the inputs after
that; they are replayed when the next one comes. Equal processes are one number, so that a step is computed
once, however many fleets contain it.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
from dataclasses import fields
from functools import lru_cache
from itertools import permutations
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import numpy as np
from protocol_leader import pool_object

from berth.controller.apply import Applier
from berth.controller.burst import Burst
from berth.controller.lead import Lead
from berth.controller.term import Replaced
from berth.kinds import AssignmentObject, ReadAssignmentSpec
from berth.kube import Backoff, Conflict, Forbidden, Invalid, Meta, NotFound, RequestTimeout
from berth.pool import (
    AssignmentInfo,
    Brain,
    Decision,
    ItemInfo,
    LeaseChanged,
    LeaseInfo,
    LeaseRead,
    Leases,
    MemberInfo,
    Outcome,
    Policy,
    PoolInfo,
)
from berth.solve import Problem, Solution, Touched, solve

ITEMS = ("i0", "i1")
MEMBERS = ("m0", "m1", "m2")
TICK = 5.0
"""Seconds of one step of time."""
LEASE = 10.0
"""Seconds that a Lease lasts."""
OLD = 4
"""Steps of time after which nothing depends any more on how long ago something was."""
ERRORS: dict[str, Any] = {
    "Conflict": lambda: Conflict(409, "Conflict", "another write came first"),
    "Forbidden": lambda: Forbidden(403, "Forbidden", "spec.term is below the term of the Pool"),
    "Invalid": lambda: Invalid(422, "Invalid", "test failed"),
    "NotFound": lambda: NotFound(404, "NotFound", "no such object"),
    "Timeout": lambda: RequestTimeout("no answer"),
}


class Assignment(NamedTuple):
    """An Assignment, as the API server and whoever watches it have it."""

    name: str
    generation: int = 0
    """0: it does not exist."""
    term: int = 0
    items: tuple[str, ...] = ()
    written_for: str = ""
    session: str = ""
    reports: tuple[str, ...] = ()


class Pool(NamedTuple):
    """The Pool object."""

    term: int = 0
    leader: str = ""
    version: int = 1


class Cache(NamedTuple):
    """What the watches of a leader have shown it. `stamps`: holder and time of renewal of each Lease."""

    replicas: tuple[int, ...]
    limits: tuple[int, ...]
    pool: Pool
    assignments: tuple[Assignment, ...]
    stamps: tuple[tuple[str, int], ...]


class Request(NamedTuple):
    """A request that waits for its answer."""

    number: int
    what: str
    name: str = ""
    body: tuple[Any, ...] = ()
    claims: frozenset[tuple[Any, ...]] = frozenset()
    """What the leader went by when it took entries away: (Item, ready replicas needed, those counted on),
    or (Item, "dead")."""


class Seat(NamedTuple):
    """A controller process between two inputs."""

    snapshot: int
    log: tuple[Any, ...]
    """Inputs since the snapshot."""
    cache: Cache
    tick: int
    leading: bool
    pending: tuple[Request, ...]
    reads: frozenset[str]
    """Leases to read."""


class News(NamedTuple):
    """What an input has led to, besides the new state of the process."""

    decided: bool = False
    """A decision was made in a lead that has taken the Pool over."""
    live: tuple[bool, ...] = ()
    """Which Members it reports as live."""
    deaths: tuple[tuple[str, float], ...] = ()
    """Members that it takes for dead, and how many seconds ago their Leases were read."""


# ---- names --------------------------------------------------------------------------------------

RENAMINGS = [
    dict(zip(ITEMS + MEMBERS, items + members, strict=True))
    for items in permutations(ITEMS)
    for members in permutations(MEMBERS)
]
"""Items among themselves and Members among themselves may change places: of the same kind, they are alike."""
NAME = re.compile("[im][0-9]")


@lru_cache(100_000)
def renamed_text(text: str, renaming: int) -> str:
    """The text with other names in it."""
    names = RENAMINGS[renaming]
    return NAME.sub(lambda found: names[found[0]], text)


def renamed(value: Any, renaming: int) -> Any:
    """A nested value with other names in it; frozen sets have no order that names could depend on."""
    if isinstance(value, str):
        return renamed_text(value, renaming)
    if isinstance(value, tuple):
        return tuple([renamed(each, renaming) for each in value])
    if isinstance(value, frozenset):
        return frozenset([renamed(each, renaming) for each in value])
    return value


class Numbers:
    """Values by number, and the numbers of what each becomes when names are exchanged."""

    def __init__(self) -> None:
        self._of: dict[Any, int] = {}
        self._renamed: dict[Any, tuple[int, ...]] = {}

    def of(self, value: Any) -> int:
        """The number of a value."""
        return self._of.setdefault(value, len(self._of))

    def renamed(self, value: Any) -> tuple[int, ...]:
        """The numbers of the value under each renaming."""
        found = self._renamed.get(value)
        if found is None:
            found = tuple(self.of(renamed(value, r)) for r in range(len(RENAMINGS)))
            self._renamed[value] = found
        return found

    def combined(
        self, ordered: list[tuple[int, ...]], unordered: list[tuple[int, ...]] | None = None
    ) -> tuple[int, ...]:
        """The numbers of several values together under each renaming; some of them in any order."""
        others = unordered or []
        return tuple(
            self.of((*[each[r] for each in ordered], -1, *sorted([each[r] for each in others])))
            for r in range(len(RENAMINGS))
        )


# ---- a process brought to life --------------------------------------------------------------------


class Client:
    """The part of the client that a Pool's loop uses: every request waits for its answer."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def _send(self, what: str, name: str = "", body: tuple[Any, ...] = ()) -> Any:
        process = self._process
        answer = process.loop.create_future()
        claims = process.claims.get(name, frozenset()) if what == "patch" else frozenset()
        process.requests.append((Request(process.sent, what, name, body, claims), answer))
        process.sent += 1
        return await answer

    async def get(self, path: str, **_: Any) -> Any:
        return await self._send("get pool" if "/pools/" in path else "get", path.rsplit("/", 1)[1])

    async def list(self, path: str, **_: Any) -> Any:
        return await self._send("list")

    async def create(self, path: str, body: Any, **_: Any) -> Any:
        return await self._send("create", body["metadata"]["name"], _spec(body["spec"]))

    async def patch(self, path: str, patch: Any, kind: str = "json", **_: Any) -> Any:
        if kind == "merge":
            known, status = patch["metadata"]["resourceVersion"], patch["status"]
            return await self._send("take over", body=(int(known), status["term"], status["leader"]))
        if "/pools/" in path:
            return await self._send("raise term", body=(patch[1]["value"], patch[2]["value"]))
        body = (patch[1]["value"], *_spec(patch[2]["value"]))
        return await self._send("patch", path.rsplit("/", 1)[1], body)


def _spec(spec: dict[str, Any]) -> tuple[Any, ...]:
    return spec["term"], tuple(spec["items"]), spec.get("session", "")


class Informer:
    """The cache of Assignments, as far as a Pool's loop asks for it.

    Versions are counted anew from each snapshot: what was written after the last look is one ahead of it.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.names: set[str] = set()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def store(self) -> dict[tuple[str, str], Any]:
        return {
            ("ns", name): SimpleNamespace(metadata=SimpleNamespace(resource_version=0)) for name in self.names
        }

    async def wait_for(self, version: int) -> None:
        while self.seen < version:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def advance(self) -> None:
        """The watch has caught up."""
        self.seen += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.set_result(None)


class NotingApplier(Applier):
    """Calls back before each decision is carried out, and between two of them."""

    process: Process

    async def shown(self) -> None:
        self.process.between_decisions()
        await super().shown()
        self.process.waits = False

    async def apply(self, decision: Decision) -> Outcome:
        self.process.note(decision)
        return await super().apply(decision)


class Kept(NamedTuple):
    """A process as it is kept: pickled."""

    brain: Brain
    now: float
    cache: Cache
    leading: bool
    acting: bool
    ahead: bool
    """Whether something was written that the cache does not show."""
    woken: bool
    """Whether something was observed since it started to act."""


class Process:
    """A controller process brought to life, to take one more input."""

    def __init__(self, index: int, kept: Kept, seats: Seats) -> None:
        self.name = f"c{index}"
        self.seats = seats
        self.loop = seats.loop
        self.brain, self.now, self.cache, self.leading, acting, self._ahead, self.woken = kept
        self.leases = self.brain.ledger.leases
        self.requests: list[tuple[Request, asyncio.Future[Any]]] = []
        self.sent = 0
        self.claims: dict[str, frozenset[tuple[Any, ...]]] = {}
        self.task: asyncio.Task[None] | None = None
        self.log: list[Any] = []
        self.snapshot = -1
        self.news = News()
        self.waits = self._answered = False
        self._assemble()
        if acting:
            self._act()
            self._spin()

    def _assemble(self) -> None:
        self.informer = Informer()
        self.informer.names = {each.name for each in self.cache.assignments if each.generation}
        self.applier = NotingApplier(
            Client(self),  # type: ignore[arg-type]
            self.informer,  # type: ignore[arg-type]
            ("ns", "pool"),
            self.name,
            lambda: float("inf"),
            self.seats.solve,
            backoff=Backoff(base=0.0, limit=0.0),
            sleep=self.informer.wait_for,  # type: ignore[arg-type]
        )
        self.applier.process = self
        self.applier._version = int(self._ahead)
        clock = lambda: self.now  # noqa: E731
        self.lead = Lead(self.brain, self.applier, Burst(clock=clock), lambda _: None, clock)

    # ---- inputs ---------------------------------------------------------------------------------

    def feed(self, happens: tuple[Any, ...]) -> None:
        """Something happens to the process, which goes on as far as it can without an answer."""
        self.log.append(happens)
        what, *rest = happens
        self.woken = self.woken or (self.task is not None and what != "answer")
        getattr(self, f"_on_{what}")(*rest)
        if self.leading and self.task is None and what != "answer":
            self._act()
        self._spin()
        if self.log and (self.task is None or self.waits):
            self.save(acting=self.task is not None)

    def _on_see(self, replicas: Any, limits: Any, pool: Any, assignments: Any, leases: Any) -> None:
        """The watches catch up; those of which nothing is given stay as they are."""
        cache, brain = self.cache, self.brain
        if replicas is not None:
            for name, was, count in zip(ITEMS, cache.replicas, replicas, strict=True):
                if was != count:
                    brain.observe(ItemInfo(name, count, f"u-{name}"), self.now)
            for name, was, limit in zip(MEMBERS, cache.limits, limits, strict=True):
                if was != limit:
                    brain.observe(self.seats.member(name, limit), self.now)
            self.cache = self.cache._replace(replicas=replicas, limits=limits)
        if assignments is not None:
            brain.observe(self.seats.pool(pool), self.now)
            for old, new in zip(cache.assignments, assignments, strict=True):
                if old != new:
                    brain.observe(_info(new), self.now)
                    self.informer.names.add(new.name)
            self.cache = self.cache._replace(pool=pool, assignments=assignments)
            self.informer.advance()
        if leases is not None:
            self._see_leases(leases)

    def _see_leases(self, leases: tuple[tuple[str, int], ...]) -> None:
        stamps = self._stamps(leases)
        for name, old, stamp in zip(MEMBERS, self.cache.stamps, stamps, strict=True):
            if old != stamp and self.leases.put(_lease(name, stamp), self.now):
                self.brain.observe(LeaseChanged(f"l-{name}"), self.now)
        self.cache = self.cache._replace(stamps=stamps)

    def _on_tick(self, leases: Any) -> None:
        """Time passes; `leases` None: no event shows which Leases were renewed."""
        self.now += TICK
        if leases is not None:
            self._see_leases(leases)
        for name in self.leases.advance(self.now):
            self.brain.observe(LeaseChanged(name), self.now)

    def _on_read(self, leases: Any) -> None:
        """Leases are read that have to be."""
        stamps = self._stamps(leases)
        due = self.brain.leases_to_read()
        for name, stamp in zip(MEMBERS, stamps, strict=True):
            lease = f"l-{name}"
            if lease not in due:
                continue
            if self.leases.put_read(lease, _lease(name, stamp), self.now, self.now).changed:
                self.brain.observe(LeaseChanged(lease), self.now)
            if self.brain.ledger.doubts_holder(lease):
                self.brain.observe(LeaseRead(lease, stamp[0]), self.now)

    def _on_start(self, dead: Any, live: Any) -> None:
        """It is elected; `dead` and `live` are Leases by what the statuses of the Members say."""
        self._quit()
        self._assemble()
        for name in self.leases.restart(self.now, dead, live):
            self.brain.observe(LeaseChanged(name), self.now)
        self.brain.start()
        self.leading = True
        self.save(acting=True)

    def _on_answer(self, number: int, outcome: str, data: Any) -> None:
        (place,) = (i for i, (request, _) in enumerate(self.requests) if request.number == number)
        request, future = self.requests.pop(place)
        self._answered = True
        if outcome != "ok":
            future.set_exception(ERRORS[outcome]())
            return
        newest = Meta(request.name, "ns", "u", str(self.informer.seen + 1))
        if request.what in ("take over", "raise term", "get pool"):
            future.set_result(pool_object(self.seats.pool(data)))
        elif request.what == "list":
            names, shown = data
            version = str(self.informer.seen + (not shown))
            future.set_result([SimpleNamespace(metadata=Meta(name, "ns", "", version)) for name in names])
        elif request.what == "get":
            meta = msgspec.structs.replace(newest, uid=f"a-{request.name}", generation=data)
            future.set_result(AssignmentObject(meta, ReadAssignmentSpec("pool", 1, None, ())))
        else:
            future.set_result(AssignmentObject(newest, ReadAssignmentSpec("pool", 1, None, ())))

    def _stamps(self, leases: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        """Holders and ages of Leases as this process dates them."""
        return tuple((holder, round(self.now / TICK) - age) for holder, age in leases)

    # ---- running --------------------------------------------------------------------------------

    def _act(self) -> None:
        async def act() -> None:
            try:
                wake_at = await self.lead.act()
                while self.woken or (wake_at is not None and wake_at <= self.now):
                    self.woken = False
                    wake_at = await self.lead.act()
            except Replaced:
                self.leading = False
                self.brain.stop()

        self.task = self.loop.create_task(act())

    def _quit(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
            self._spin()
        self.requests.clear()
        self.waits = self.woken = False
        self.brain.stop()

    def _spin(self) -> None:
        while True:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            if not self.loop._ready:  # type: ignore[attr-defined]
                break
        if self.task is not None and self.task.done():
            if not self.task.cancelled() and (error := self.task.exception()) is not None:
                raise error
            self.task = None
            self.waits = False
            self.save(acting=False)

    def between_decisions(self) -> None:
        """All that this process knows is in its brain now: the way here need not be replayed."""
        self.waits = True
        if self._answered:
            self.save(acting=True)

    def save(self, *, acting: bool) -> None:
        """Make this moment the snapshot."""
        self._ahead = self.applier._version > self.informer.seen
        kept = Kept(self.brain, self.now, self.cache, self.leading, acting, self._ahead, self.woken)
        self.snapshot = self.seats.keep(self.name, kept)
        self.informer.seen, self.applier._version = 0, int(self._ahead)
        self.log, self._answered, self.sent = [], False, 0

    def close(self) -> None:
        """End what is under way; nothing of it counts."""
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
            self._spin()

    # ---- what it went by ------------------------------------------------------------------------

    def note(self, decision: Decision) -> None:
        """Work out from what is known, not from the rules, what this decision may take away."""
        if decision.take_over is None:
            members = {member.name: member.live for member in self.brain.ledger.members.values()}
            live = tuple(members[name] for name in MEMBERS)
            self.news = self.news._replace(decided=True, live=live)
        gone: dict[str, set[int]] = {}
        for write in decision.writes:
            for edit in write.edits:
                if edit.entry is None:
                    gone.setdefault(edit.item, set()).add(write.row)
        for write in decision.writes:
            taken = (edit.item for edit in write.edits if edit.entry is None)
            claims = (self._claim(write.row, item, gone[item]) for item in taken)
            self.claims[write.member.name] = frozenset(claim for claim in claims if claim is not None)

    def _claim(self, row: int, item: str, gone: set[int]) -> tuple[Any, ...] | None:
        ledger, solution = self.brain.ledger, self.brain.target.solution
        member, index = ledger.members[row], ledger.items.of[item]
        replicas = ledger.item_info[index].replicas
        if not replicas:
            return None
        if not (member.live or member.awaited):
            watch = self.leases._watches[f"l-{member.name}"]
            if watch.lease.holder:
                read = self.now - watch.read_at if watch.read_at > 0 else 0.0
                self.news = self.news._replace(deaths=(*self.news.deaths, (member.name, read)))
            return (item, "dead", frozenset())
        assert solution is not None
        placed = int((solution.members[index] >= 0).sum())
        counted = frozenset(
            (m.name, m.entries[item].grant)
            for m in ledger.members.values()
            if m.live and item in m.entries and m.row not in gone and self._ready(m, item)
        )
        return (item, min(replicas, max(1, placed)), counted)

    def _ready(self, member: Any, item: str) -> bool:
        """Whether an entry is ready, read from the objects."""
        there, lease = member.assignment, f"l-{member.name}"
        if self.leases.follows(lease, there.written_for):
            return False  # granted to a session that has ended
        if not member.info.reported:
            return True
        report = f"{item}@{member.entries[item].grant}="
        prepared = report + "Ready" in there.reports or report + "Active" in there.reports
        return prepared and self.leases.holder(lease) == there.session


def _info(there: Assignment) -> AssignmentInfo:
    return AssignmentInfo(
        there.name,
        there.items,
        there.term,
        f"a-{there.name}",
        f"u-{there.name}",
        there.generation,
        session=there.session,
        reports=there.reports,
        written_for=there.written_for,
    )


def _lease(member: str, stamp: tuple[str, int]) -> LeaseInfo:
    return LeaseInfo(f"l-{member}", stamp[0], f"t{stamp[1]}", LEASE)


# ---- processes as values --------------------------------------------------------------------------


class Seats:
    """All controller processes that were met: numbers, and the steps from one to the next."""

    def __init__(self, policy: Policy, reported: bool, numbers: Numbers) -> None:
        self.policy = policy
        self.reported = reported
        self.numbers = numbers
        self.loop = asyncio.new_event_loop()
        self.steps = 0
        """Steps that were computed, not remembered."""
        self._snapshots: dict[Any, int] = {}
        self._kept: list[bytes] = []
        self._forms: list[Any] = []
        self._renamed: dict[int, tuple[int, ...]] = {}
        self.forms: list[tuple[int, ...]] = []
        """What makes each process differ from others, under each renaming."""
        self.known: list[Seat] = []
        """Processes by number."""
        self._numbers: dict[Seat, int] = {}
        self._results: dict[tuple[int, Any], tuple[int, News]] = {}
        self._solutions: dict[bytes, Solution] = {}

    def close(self) -> None:
        self.loop.close()

    def member(self, name: str, limit: int) -> MemberInfo:
        """The Member of that name."""
        return MemberInfo(name, limit, lease=f"l-{name}", reported=self.reported, uid=f"u-{name}")

    def pool(self, pool: Pool) -> PoolInfo:
        """The Pool as a brain observes it."""
        return PoolInfo("u-pool", pool.version, self.policy, pool.term, pool.leader)

    def first(self, index: int, cache: Cache) -> int:
        """A process that has just been started and has listed everything."""
        brain = Brain("ns", "pool", Leases())
        brain.observe(self.pool(cache.pool), 0.0)
        for name, count in zip(ITEMS, cache.replicas, strict=True):
            brain.observe(ItemInfo(name, count, f"u-{name}"), 0.0)
        for name, limit in zip(MEMBERS, cache.limits, strict=True):
            brain.observe(self.member(name, limit), 0.0)
            brain.ledger.leases.put(_lease(name, cache.stamps[MEMBERS.index(name)]), 0.0)
            brain.observe(LeaseChanged(f"l-{name}"), 0.0)
        kept = Kept(brain, 0.0, cache, leading=False, acting=False, ahead=False, woken=False)
        process = Process(index, kept, self)
        process.save(acting=False)
        return self._seat(process)

    def step(self, index: int, number: int, happens: tuple[Any, ...]) -> tuple[int, News]:
        """The process after one more input."""
        found = self._results.get((number, happens))
        if found is None:
            self.steps += 1
            seat = self.known[number]
            process = Process(index, pickle.loads(self._kept[seat.snapshot]), self)
            process.snapshot = seat.snapshot
            for earlier in seat.log:
                process.feed(earlier)
            process.news = News()
            process.feed(happens)
            found = self._results[number, happens] = (self._seat(process), process.news)
            process.close()
        return found

    def _seat(self, process: Process) -> int:
        seat = Seat(
            process.snapshot,
            tuple(process.log),
            process.cache,
            round(process.now / TICK),
            process.leading,
            tuple(request for request, _ in process.requests),
            frozenset(process.brain.leases_to_read()) if process.leading else frozenset(),
        )
        number = self._numbers.setdefault(seat, len(self.known))
        if number == len(self.known):
            self.known.append(seat)
            self.forms.append(self._form(seat))
        return number

    def keep(self, name: str, kept: Kept) -> int:
        """The number of a snapshot; equal ones have the same."""
        form = (name, *canonical(kept))
        number = self._snapshots.get(form)
        if number is None:
            number = self._snapshots[form] = len(self._kept)
            self._kept.append(pickle.dumps(kept, protocol=5))
            self._forms.append(form)
        return number

    def _form(self, seat: Seat) -> tuple[int, ...]:
        form = self._renamed.get(seat.snapshot)
        if form is None:
            form = self._renamed[seat.snapshot] = self.numbers.renamed(self._forms[seat.snapshot])
        return self.numbers.combined([form, *map(self._input, seat.log)])

    def _input(self, happens: tuple[Any, ...]) -> tuple[int, ...]:
        """Numbers of an input, with names instead of places."""
        what, *rest = happens
        if what == "see":
            replicas, limits, pool, assignments, leases = rest
            seen = (_named(ITEMS, replicas), _named(MEMBERS, limits), _named(MEMBERS, leases))
            there = [self.numbers.renamed(each) for each in assignments or ()]
            fixed = self.numbers.renamed((what, pool, seen))
            return self.numbers.combined([fixed], there)
        if what in ("tick", "read"):
            return self.numbers.renamed((what, _named(MEMBERS, rest[0])))
        return self.numbers.renamed(happens)

    async def solve(self, problem: Problem, touched: Touched | None, thorough: bool) -> Solution:
        """The real solver's answer, computed once for each problem."""
        values = (getattr(problem, field.name) for field in fields(problem))
        key = b"|".join(v.tobytes() if isinstance(v, np.ndarray) else repr(v).encode() for v in values)
        if key not in self._solutions:
            self._solutions[key] = solve(copy.deepcopy(problem))
        return self._solutions[key]


def _named(names: tuple[str, ...], values: tuple[Any, ...] | None) -> Any:
    if values is None:
        return None
    return frozenset(zip(names, values, strict=True))


def canonical(kept: Kept) -> tuple[Any, ...]:
    """All that the future of a process depends on, by name, with times relative to its clock.

    Left out is what follows from the rest, or only statuses, Events and metrics are made of.
    """
    brain, now, cache, leading, acting, ahead, woken = kept
    ledger, target, progress = brain.ledger, brain.target, brain.progress
    items, members, leases = ledger.items.names, ledger.member_rows.names, ledger.leases
    changed, former = ledger.changed, ledger.former

    def ago(at: float) -> float:
        return min(OLD * TICK, now - at)

    tick = round(now / TICK)
    seen = cache._replace(
        replicas=frozenset(zip(ITEMS, cache.replicas, strict=True)),  # type: ignore[arg-type]
        limits=frozenset(zip(MEMBERS, cache.limits, strict=True)),  # type: ignore[arg-type]
        assignments=frozenset(cache.assignments),  # type: ignore[arg-type]
        stamps=frozenset(  # type: ignore[arg-type]
            (m, holder, min(OLD, tick - at)) for m, (holder, at) in zip(MEMBERS, cache.stamps, strict=True)
        ),
    )
    watches = frozenset(
        (
            name,
            watch.lease.holder,
            min(OLD, tick - int(watch.lease.renewed[1:])) if watch.lease.renewed else None,
            ago(watch.at),
            watch.deleted,
            watch.given_up,
            watch.renewed,
            ago(watch.read_at),
            watch.liveness(now).value,
            watch.unread(now),
            leases._last[name].value,
            leases._former.get(name),
            leases._confirmed.get(name),
        )
        for name, watch in leases._watches.items()
    )
    states = frozenset(
        (
            m.name,
            m.assignment._replace(resource_version=0) if m.assignment else None,
            m.liveness.value,
            m.session_holds,
            m.successor,
            m.dead_since is None,
            m.lived,
            m.awaited,
        )
        for m in ledger.members.values()
    )
    rows = (
        changed.problem,
        frozenset(items[r] for r in changed.solve_items),
        frozenset(members[r] for r in changed.solve_members),
        frozenset(items[r] for r in changed.converge),
        frozenset(members[r] for r in changed.assignments),
        frozenset(members[r] for r in ledger.sessions.restarted),
        frozenset(members[r] for r in ledger.sessions.uncertain),
    )
    primaries = (
        frozenset((item, frozenset(lasts.values())) for item, lasts in former._of.items()),
        frozenset(
            (item, frozenset(members[r] for r in rows)) for item, rows in former._releasing.items() if rows
        ),
    )
    plan = None
    if target.solution is not None:
        plan = frozenset(
            (items[row], tuple(members[m] for m in placed if m >= 0))
            for row, placed in enumerate(target.solution.members.tolist())
        )
    waits = (
        frozenset(
            (items[row], wait.why.value, frozenset(members[m] for m in wait.members if m >= 0))
            for row, wait in progress.waits.items()
        ),
        frozenset((items[row], count) for row, count in progress.in_flight.items()),
    )
    doubt = frozenset((name, frozenset(items)) for name, items in brain._in_doubt._pending.items())
    lead = (
        leading,
        acting,
        ahead,
        woken,
        brain.term,
        brain.pool and (brain.pool.term, brain.pool.leader, brain.pool.version),
        brain.uid,
        ledger.highest_term,
        brain._finished,
        brain._again,
        brain._started is None,
        target._asked is None,
        frozenset(members[r] for r in brain.outage.awaited),
        brain.outage.braking,
    )
    return (lead, seen, watches, states, rows, primaries, plan, waits, doubt)
