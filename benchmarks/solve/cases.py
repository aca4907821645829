"""The rows of the benchmark: each a story that ends in one timed solve, and what it must cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from benchmarks.solve.peer import solve_peer
from benchmarks.solve.world import World, rows, world
from berth.solve import bands, evaluate

REPEATS = 3
"""A repeatable case is timed so often, and the median counts; the machine may do other things."""


@dataclass
class Row:
    size: str
    case: str
    seconds: float
    peer_seconds: float | None
    moves: int
    least_moves: int
    peer_moves: int | None
    band_distance: int
    """Items outside of their Members' bands."""
    proven: bool
    checked: bool
    """An independent count of all ten levels agrees with the proof."""
    engine: str
    why: str

    @property
    def ratio(self) -> float | None:
        return None if self.peer_seconds is None else self.seconds / self.peer_seconds

    def record(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio}


def measure(now: World, size: str, case: str, *, peer: bool, priced: bool = False) -> Row:
    """Solve what was touched, timed, then let the peer solve the same instance."""
    seconds = now.solve()
    return report(now, size, case, seconds, peer=peer, priced=priced)


def report(now: World, size: str, case: str, seconds: float, *, peer: bool, priced: bool = False) -> Row:
    solution = now.solution
    assert solution is not None
    problem = now.problem
    reached = evaluate(problem, solution.members, solution.primary)
    band = bands(problem)
    on = solution.members[solution.members >= 0]
    load = np.bincount(on, minlength=len(problem.limit))
    distance = np.maximum(band.low - load, 0) + np.maximum(load - band.high, 0)
    other = solve_peer(problem, priced_bands=priced) if peer else None
    return Row(
        size=size,
        case=case,
        seconds=seconds,
        peer_seconds=other.seconds if other else None,
        moves=reached[7],
        least_moves=solution.proof.bounds[7],
        peer_moves=other.moves if other else None,
        band_distance=int(distance[problem.live].sum()),
        proven=solution.optimal,
        checked=reached == solution.proof.reached,
        engine=solution.engine,
        why=solution.why,
    )


def story(
    size: str, now: World, items: int, members: int, cases: str, *, peer: bool, priced: bool = False
) -> Iterator[Row]:
    """The cases named in `cases`, one after the other on one fleet, each settled before the next."""
    wanted = cases.split()
    spare = len(now.problem.limit) - members

    def row(case: str, happen: Callable[[], None]) -> Iterator[Row]:
        if case in wanted:
            happen()
            yield measure(now, size, case.replace("_", " "), peer=peer, priced=priced)
            now.settle()

    yield from row("cold", lambda: None)
    yield from row("nothing_changed", lambda: None)
    yield from row("one_Member_lost", lambda: now.lose(rows(members // 2)))
    yield from row("one_joins", lambda: now.join(rows(members)))
    more = np.arange(items, items + items // 100)
    yield from row("1%_more_Items", lambda: now.ask(more, int(now.problem.replicas[0])))

    def roll() -> None:
        gone = np.arange(members // 10)
        now.lose(gone)
        now.join(np.arange(members + 1, min(members + 1 + len(gone), members + spare)))

    yield from row("10%_rolled", roll)
    yield from row("one_Item_asks_for_less", lambda: now.ask(rows(11), int(now.problem.replicas[11]) - 1))
    yield from row("one_Item_asks_for_more", lambda: now.ask(rows(11), int(now.problem.replicas[11]) + 1))


PLAIN = (
    "cold nothing_changed one_Member_lost one_joins 1%_more_Items 10%_rolled "
    "one_Item_asks_for_less one_Item_asks_for_more"
)
SHORT = "cold one_Member_lost one_joins"


def sized(items: int, members: int, **shape: object) -> World:
    return world(items, members, spare_items=items // 100, spare_members=members // 10 + 1, **shape)  # type: ignore[arg-type]


def small(peer: bool) -> Iterator[Row]:
    yield from story("100 x 20,000", sized(20_000, 100), 20_000, 100, PLAIN, peer=peer)


def medium(peer: bool) -> Iterator[Row]:
    yield from story("1000 x 100,000", sized(100_000, 1000), 100_000, 1000, PLAIN, peer=peer)


def skewed(peer: bool) -> Iterator[Row]:
    name = "1000 x 100,000, limits 1:10"
    yield from story(name, sized(100_000, 1000, skew=10), 100_000, 1000, PLAIN, peer=peer)


def uneven(peer: bool) -> Iterator[Row]:
    name = "1000 x 100,000, zones 10:3:1"
    now = sized(100_000, 1000, zones=(10, 3, 1))
    yield from story(name, now, 100_000, 1000, SHORT, peer=peer, priced=True)


def large(peer: bool) -> Iterator[Row]:
    """OR-tools solves only the cold instance here, which takes minutes; the other rows show that time."""
    name = "10,000 x 1,000,000"
    now = sized(1_000_000, 10_000)
    first = next(story(name, now, 1_000_000, 10_000, "cold", peer=peer))
    yield first
    now.settle()
    rest = PLAIN.replace("cold", "").replace("10%_rolled", "")
    for row in story(name, now, 1_000_000, 10_000, rest, peer=False):
        yield replace(row, peer_seconds=first.peer_seconds)


GROUPS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "small": small,
    "medium": medium,
    "skewed": skewed,
    "uneven": uneven,
    "large": large,
}
