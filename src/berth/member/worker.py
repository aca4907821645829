"""What a user implements: four callbacks, all of them optional."""

from typing import Any, ClassVar

from berth.member.held import Held, HeldItem
from berth.member.steps import Step


class PlainError(Exception):
    """A failure whose message is sufficient: it is logged without a traceback."""


class Worker:
    """Does the work of the Items that are placed on this Member.

    The callbacks of one Item run one at a time, in the order of this drawing; those of different Items run
    concurrently. Each `prepare`, finished or not, is eventually followed by a `drop`, and each `activate`,
    finished or not, by a `deactivate`. So `deactivate` and `drop` must cope with half-finished work, and with
    being called again after they raised.

        prepare ──> (ready) ──> activate ──> (primary) ──> deactivate ──> (ready) ──> drop

    A callback that raises marks the Item `Failed` with the message and is retried after 0.5 s, doubling to
    30 s. A `prepare` or `activate` is cancelled (`asyncio.CancelledError` at its `await`) when its result is
    no longer wanted. When the Lease is lost everything is cancelled, and `deactivate` and `drop` are then
    called with `item.owned()` false: they may clean up locally, but must not write where others read.
    """

    async def prepare(self, item: Held) -> None:
        """Load what the Item needs. Returning means that it is ready here."""

    async def activate(self, item: Held) -> None:
        """Start working as the Item's primary, then return; `item.epoch` is the fencing token."""

    async def deactivate(self, item: Held) -> None:
        """Stop working as primary. Once this has returned, another Member may start."""

    async def drop(self, item: Held) -> None:
        """Release what the Item uses: it is no longer on this Member."""


class Adapter(Worker):
    """A Worker that passes its callbacks on: each is a call of `call`, in place of the four methods."""

    held_type: ClassVar[type[HeldItem]] = Held
    """The class of the Items that it gets."""

    async def call(self, step: Step, item: Any) -> None:
        """Pass one callback on, and return when it has been carried out."""
        raise NotImplementedError
