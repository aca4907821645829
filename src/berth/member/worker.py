"""What a user implements: four callbacks, each of which may be left out."""

from berth.member.held import Held


class PlainError(Exception):
    """A failure whose message says all: it is logged without a traceback."""


class Worker:
    """Does the work of the Items that are placed on this Member.

    For one Item the callbacks come one at a time, in an order that this drawing shows; for different
    Items they run side by side. What was begun is always ended: each `prepare`, finished or not, is
    followed by a `drop` in the end, and each `activate`, finished or not, by a `deactivate`. So
    `deactivate` and `drop` must cope with work half done, and with being called again after they raised.

        prepare ──> (ready) ──> activate ──> (primary) ──> deactivate ──> (ready) ──> drop

    A callback that raises marks the Item `Failed` with the message and is tried again later. A callback
    is cancelled (`asyncio.CancelledError` at its `await`) when what it works towards is no longer wanted.
    When the Lease is lost everything is cancelled, and `deactivate` and `drop` are then called with
    `item.owned()` false: to tidy up here, not to write anywhere that others read.
    """

    async def prepare(self, item: Held) -> None:
        """Load what the Item needs; returning means that it is ready here."""

    async def activate(self, item: Held) -> None:
        """Begin to work as the Item's primary; `item.epoch` is the fencing token. Returns once begun."""

    async def deactivate(self, item: Held) -> None:
        """Stop working as primary; once this has returned, another Member may start."""

    async def drop(self, item: Held) -> None:
        """Let go of the Item: it is gone from here."""
