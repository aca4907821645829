"""What the exploration is made of: small values that can be compared, and in which names can be exchanged."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import permutations
from typing import Any, NamedTuple

ITEMS = ("i0", "i1")
MEMBERS = ("m0", "m1", "m2")
TICK = 5.0
"""Seconds of one step of time."""
LEASE = 10.0
"""Seconds that a Lease lasts."""
OLD = 4
"""Steps of time after which nothing depends any more on how long ago something was."""


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
