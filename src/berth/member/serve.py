"""Runs a worker until a signal ends the process."""

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
    """Hold Items as one Member until SIGTERM or SIGINT, and call `worker` for each of them.

        asyncio.run(berth.serve(Feeds(), pool="feeds", limit=100))

    The options are described by `berth.member.Settings`. The first signal drains: the Member's limit becomes
    0, its Items are handed over, it is deleted, and this returns. If that takes longer than `drain_seconds`,
    the remaining Items are dropped and SystemExit(1) is raised. A second signal ends it immediately: all
    callbacks are cancelled, the Lease is released, and SystemExit(143) is raised. A third one has its
    default effect.

    Raises `SettingsError`, `NameTaken`, and the ApiError or ConfigError that prevents the start.
    """
    session = Session(worker, **options)
    with ending_by_signals(session):
        async with session:
            outcome = await session.wait()
    if code := exit_code(outcome):
        raise SystemExit(code)


def exit_code(outcome: Outcome) -> int:
    """The exit code of a process whose session ended like this."""
    return {Outcome.DRAINED: 0, Outcome.OVERDUE: 1, Outcome.STOPPED: 143}.get(outcome, 1)


@contextlib.contextmanager
def ending_by_signals(session: Session) -> Iterator[None]:
    """Let the first SIGTERM or SIGINT drain the session, and the second stop it."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        log.info("received a signal: draining; a second one ends immediately")
        for number in _SIGNALS:
            loop.add_signal_handler(number, second)
        session.ask_to_drain()

    def second() -> None:
        log.warning("received a second signal: ending immediately")
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
