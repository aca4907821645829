"""Runs a worker as a process does: until it is asked to end by a signal."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import Unpack

from berth.member.session import Outcome, Session
from berth.member.settings import Options
from berth.member.worker import Worker

log = logging.getLogger("berth.member")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve(worker: Worker, **options: Unpack[Options]) -> None:
    """Hold Items as one Member until SIGTERM or SIGINT, and have `worker` do their work.

        asyncio.run(berth.serve(Feeds(), pool="feeds", limit=100))

    For the options see `Settings`. The first signal drains: the Member's limit becomes 0, its Items are
    handed over, it is deleted, and this returns. A second one ends it at once: what is held is cancelled,
    the Lease released, and SystemExit(143) raised. Where a drain takes longer than `drain_seconds`, what
    is left is dropped and SystemExit(1) raised. A third signal has its default effect.

    Raises `SettingsError`, `NameTaken`, and the ApiError or ConfigError that keeps it from beginning.
    """
    session = Session(worker, **options)
    with ending_by_signals(session):
        async with session:
            outcome = await session.wait()
    if code := exit_code(outcome):
        raise SystemExit(code)


def exit_code(outcome: Outcome) -> int:
    """What a process says of how its session ended."""
    return {Outcome.DRAINED: 0, Outcome.OVERDUE: 1, Outcome.STOPPED: 143}.get(outcome, 1)


@contextlib.contextmanager
def ending_by_signals(session: Session) -> Iterator[None]:
    """Have the first SIGTERM or SIGINT drain the session, and the second stop it."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        log.info("asked to end: draining; again to end at once")
        for number in _SIGNALS:
            loop.add_signal_handler(number, second)
        session.ask_to_drain()

    def second() -> None:
        log.warning("asked to end again: ending at once")
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        session.stop()

    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, first)
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
