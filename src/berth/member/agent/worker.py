"""What the three ways to a worker in another language have in common."""

import asyncio
import logging
from typing import Any, NoReturn

from berth.member.steps import Callback
from berth.member.worker import Adapter, HeldItem, PlainError

log = logging.getLogger("berth.agent")


class WorkerError(PlainError):
    """The worker answered with an error, or not at all."""


def message(callback: Callback, item: HeldItem) -> dict[str, Any]:
    """The JSON object that goes with a callback: the Item as it is to be held."""
    primary = item.primary and callback is not Callback.DEACTIVATE
    epoch = item.epoch if primary else item.grant
    return {"name": item.name, "slot": item.slot, "primary": primary, "epoch": epoch, "data": dict(item.data)}


class AgentWorker(Adapter):
    """A Worker that passes its callbacks on to a program in any language."""

    reachable = True  # whether the program answers, as far as is known

    async def clear(self) -> None:
        """Remove the Items that an earlier agent left. Raises WorkerError, OSError."""

    async def compare(self) -> None:
        """Repair differences between what is held and what the program has. Raises WorkerError, OSError."""

    async def keep_in_sync(self, interval: float) -> NoReturn:
        """`compare` every `interval` seconds."""
        failing = False
        while True:
            await asyncio.sleep(interval)
            try:
                await self.compare()
                failing = False
            except (WorkerError, OSError) as error:
                log.log(logging.DEBUG if failing else logging.WARNING, "cannot check the worker: %s", error)
                failing = True
