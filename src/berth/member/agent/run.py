"""The agent: it clears the worker, then runs a Session until a signal ends it."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Unpack

from berth.member.agent.command import CommandWorker
from berth.member.agent.file import FileWorker
from berth.member.agent.health import health
from berth.member.agent.http import HttpWorker, WorkerError
from berth.member.serve import ending_by_signals, exit_code
from berth.member.session import Session
from berth.member.settings import Options, SettingsError
from berth.member.worker import Worker

log = logging.getLogger("berth.agent")


async def run_agent(
    *,
    http: str | None = None,
    command: str | None = None,
    file: Path | None = None,
    interval: float = 2.0,
    timeout: float = 60.0,
    settle: float = 1.0,
    health_host: str = "0.0.0.0",
    health_port: int | None = None,
    **options: Unpack[Options],
) -> int:
    """Hold Items for the worker that one of `http`, `command` and `file` names; returns the exit code.

    `interval`: seconds between checks of the list of an HTTP worker, or of the file. `timeout`: seconds for a
    request or a command. `settle`: see FileWorker. `options` are those of `berth.serve`.

    Raises what `berth.serve` raises, and SettingsError unless exactly one worker is given.
    """
    if [http, command, file].count(None) != 2:
        raise SettingsError("give exactly one of --http, --exec and --file")
    async with contextlib.AsyncExitStack() as stack:
        worker, session = _worker(http, command, file, timeout, settle, options)
        if isinstance(worker, HttpWorker):
            await stack.enter_async_context(worker)
        if health_port is not None:
            port = await stack.enter_async_context(
                health(health_host, health_port, lambda: _unready(session, worker))
            )
            log.info("probes at port %d", port)
        with ending_by_signals(session):
            if not await _clear_worker(worker, session):
                return 0
            async with session, asyncio.TaskGroup() as group:
                comparing = (
                    group.create_task(worker.keep_in_sync(interval))
                    if isinstance(worker, HttpWorker | FileWorker)
                    else None
                )
                outcome = await session.wait()
                if comparing is not None:
                    comparing.cancel()
        return exit_code(outcome)


def _worker(
    http: str | None, command: str | None, file: Path | None, timeout: float, settle: float, options: Options
) -> tuple[Worker, Session]:
    worker: Worker
    if http is not None:
        if not http.startswith(("http://", "https://")):
            raise SettingsError(f"--http is {http!r}, give a URL such as http://127.0.0.1:8080")
        worker = HttpWorker(http, timeout=timeout, valid_for=lambda: session.left)
    elif command is not None:
        try:
            worker = CommandWorker(command, timeout=timeout)
        except ValueError as error:
            raise SettingsError(f"--exec {command!r}: {error}") from error
    else:
        assert file is not None
        worker = FileWorker(file, settle=settle)
    session = Session(worker, **options)
    return worker, session


async def _clear_worker(worker: Worker, session: Session) -> bool:
    """Wait for the worker, and remove what an earlier agent left there; False if we are to end before."""
    if isinstance(worker, FileWorker):
        await worker.clear()
    if not isinstance(worker, HttpWorker):
        return True
    logged = False
    while not session.asked_to_end:
        clearing = asyncio.create_task(worker.clear())
        try:
            # A request may take long, but not once we are to end.
            while not clearing.done() and not session.asked_to_end:
                await asyncio.wait({clearing}, timeout=0.2)
            if not clearing.done():
                return False
            await clearing
            return True
        except WorkerError as error:
            if not logged:
                log.info("waiting for the worker: %s", error)
                logged = True
        finally:
            clearing.cancel()
            await asyncio.wait({clearing})
        await asyncio.sleep(0.2)
    return False


def _unready(session: Session, worker: Worker) -> str:
    if not session.live:
        return "the Lease is not held"
    if isinstance(worker, HttpWorker) and not worker.reachable:
        return "the worker does not answer"
    return ""
