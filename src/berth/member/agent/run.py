"""The agent: it clears the worker, then runs a Session until a signal ends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Unpack

from aiohttp import web

from berth.member.agent.command import CommandWorker
from berth.member.agent.file import FileWorker
from berth.member.agent.http import HttpWorker
from berth.member.agent.worker import AgentWorker, WorkerError, log
from berth.member.session import Session, ending_by_signals
from berth.member.settings import Options, SettingsError
from berth.member.tasks import first


async def run_agent(
    *,
    http: str | None = None,
    command: str | None = None,
    file: Path | None = None,
    interval: float = 2.0,
    timeout: float = 60.0,
    settle: float = 1.0,
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
        worker: AgentWorker
        if http is not None:
            if not http.startswith(("http://", "https://")):
                raise SettingsError(f"--http is {http!r}, give a URL such as http://127.0.0.1:8080")
            client = HttpWorker(http, timeout=timeout, valid_for=lambda: session.left)
            worker = await stack.enter_async_context(client)
        elif command is not None:
            try:
                worker = CommandWorker(command, timeout=timeout)
            except ValueError as error:
                raise SettingsError(f"--exec {command!r}: {error}") from error
        else:
            assert file is not None
            worker = FileWorker(file, settle=settle)
        session = Session(worker, **options)

        def unready() -> str:
            if not session.live:
                return "the Lease is not held"
            return "" if worker.reachable else "the worker does not answer"

        if health_port is not None:
            port = await stack.enter_async_context(_probes(health_port, unready))
            log.info("probes at port %d", port)
        with ending_by_signals(session):
            if not await clear_worker(worker, session):
                return 0
            async with session:
                outcome = await first(session.wait(), worker.keep_in_sync(interval))
        return outcome.value


async def clear_worker(worker: AgentWorker, session: Session) -> bool:
    """Wait for the worker, and remove what an earlier agent left there; False if we are to end before.

    A request may take long, but not once we are to end.
    """

    async def clear() -> bool:
        waiting = False
        while True:
            try:
                await worker.clear()
                return True
            except WorkerError as error:
                if not waiting:
                    log.info("waiting for the worker: %s", error)
                waiting = True
            await asyncio.sleep(0.2)

    async def ending() -> bool:
        await session.wait_until_ending()
        return False

    return await first(clear(), ending())


@contextlib.asynccontextmanager
async def _probes(port: int, unready: Callable[[], str]) -> AsyncIterator[int]:
    """Serve `/healthz` while the agent runs, and `/readyz` while it holds its Lease and the worker answers.

    The value is the port; `unready` returns why it is not ready, or "".
    """

    async def answer(request: web.Request) -> web.Response:
        reason = unready() if request.path == "/readyz" else ""
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    app = web.Application()
    app.add_routes([web.get("/healthz", answer), web.get("/readyz", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
