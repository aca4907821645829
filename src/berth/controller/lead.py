"""The loop of a Pool: wait for a burst of events, decide, act, and report the outcome to the brain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from berth.controller.apply import Applier
from berth.controller.follow import Burst
from berth.pool import Brain, Fact

Publish = Callable[[Iterable[Fact]], None]


class Lead:
    """Leads one Pool while this process leads."""

    def __init__(
        self,
        brain: Brain,
        applier: Applier,
        burst: Burst,
        publish: Publish,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._brain = brain
        self._applier = applier
        self._burst = burst
        self._publish = publish
        self._clock = clock

    async def run(self) -> None:
        """Lead until cancelled. Raises Replaced when another leader has the Pool."""
        self._brain.start()
        try:
            while True:
                # The first time without waiting for an event: the Pool has been without a leader.
                wake_at = await self.act()
                await self._burst.wait(wake_at)
        finally:
            self._brain.stop()

    async def act(self) -> float | None:
        """Decide and act until nothing is left to do; returns when to decide again at the latest."""
        while True:
            await self._applier.shown()
            decision = self._brain.decide(self._clock())
            self._publish(decision.facts)
            if decision.rests:
                return decision.wake_at
            outcome = await self._applier.apply(decision)
            self._publish(self._brain.done(outcome, self._clock()))
