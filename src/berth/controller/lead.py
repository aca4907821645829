"""The loop of a Pool: wait for a burst of events, decide, act, and report the outcome to the brain."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from berth.controller.apply import Applier
from berth.controller.follow import Burst, Clock
from berth.pool import Brain, Fact


@dataclass
class Lead:
    """Leads one Pool while this process leads."""

    brain: Brain
    applier: Applier
    burst: Burst
    publish: Callable[[Iterable[Fact]], None]
    clock: Clock = time.monotonic

    async def run(self) -> None:
        """Lead until cancelled. Raises Replaced when another leader has the Pool."""
        self.brain.start()
        try:
            while True:
                # The first time without waiting for an event: the Pool has been without a leader.
                wake_at = await self.act()
                await self.burst.wait(wake_at)
        finally:
            self.brain.stop()

    async def act(self) -> float | None:
        """Decide and act until nothing is left to do; returns when to decide again at the latest."""
        while True:
            await self.applier.shown()
            decision = self.brain.decide(self.clock())
            self.publish(decision.facts)
            if decision.rests:
                return decision.wake_at
            outcome = await self.applier.apply(decision)
            self.publish(self.brain.done(outcome, self.clock()))
