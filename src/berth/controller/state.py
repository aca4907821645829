"""What one controller process knows of a Pool, leading or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from berth.controller.batch import Batch
from berth.controller.handoffs import Handoffs
from berth.kinds import PoolObject
from berth.pool import Outage, PoolFleet, Progress
from berth.pool.reasons import Reason
from berth.solve import Solution

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PoolState:
    """A Pool as this controller knows it, leading or not."""

    namespace: str
    name: str
    fleet: PoolFleet
    batch: Batch = field(default_factory=Batch)
    solution: Solution | None = None
    short: dict[int, Reason] = field(default_factory=dict)
    """Why an Item row has fewer replicas in the plan than it asks for."""
    progress: Progress = field(default_factory=Progress)
    handoffs: Handoffs = field(default_factory=Handoffs)
    outage: Outage = field(default_factory=lambda: Outage(frozenset(), False, 0, 0, None))
    rounds: int = 0
    pool: PoolObject | None = None
    """The Pool object as last seen."""
    gone: str = ""
    """uid of the Pool object that was last seen to be deleted."""
    status_due: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str = ""
    """What the API server answered to the last round, where it did not go well."""
    busy: bool = False
    """Whether a round is under way: all else stands back."""
    writing: bool = False
    """Whether its Assignments are being written."""
    unread: list[Callable[[], None]] = field(default_factory=list)
    """Events of Assignments that came while they were written, to be read afterwards."""

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Leave what is heard of Assignments for later: reading takes as long as writing them did."""
        self.writing = True
        try:
            yield
        finally:
            self.writing = False
            unread, self.unread = self.unread, []
            for read in unread:
                try:
                    read()
                except Exception:  # as an informer does it: one that fails stops no other
                    logger.exception("pool=%s: an event of an Assignment could not be read", self)

    def hear(self, read: Callable[[], None]) -> None:
        """Read an event of an Assignment now, or once what is being written is."""
        if self.writing:
            self.unread.append(read)
        else:
            read()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
