"""Tells a worker by running a command for each callback."""

import asyncio
import contextlib
import logging
import os
import shlex

import msgspec

from berth.member.agent.message import demoted, message
from berth.member.held import Held
from berth.member.worker import PlainError, Worker

log = logging.getLogger("berth.agent")

KILL_AFTER = 10.0
"""Seconds from SIGTERM to SIGKILL for a command that is no longer wanted."""


class CommandError(PlainError):
    """A command ended with an exit code other than 0; the message has the end of its standard error."""


class CommandWorker(Worker):
    """A command, seen as a Worker: run as `CMD EVENT NAME`, with the Item as JSON on standard input."""

    def __init__(self, command: str, *, timeout: float = 60.0) -> None:
        """`command` is split as a shell would, but run without one. Raises ValueError where it cannot be."""
        self._argv = shlex.split(command)
        if not self._argv:
            raise ValueError("--exec needs a command")
        self._timeout = timeout

    async def prepare(self, item: Held) -> None:
        """Run `CMD prepare NAME`."""
        await self._run("prepare", item)

    async def activate(self, item: Held) -> None:
        """Run `CMD activate NAME`."""
        await self._run("activate", item)

    async def deactivate(self, item: Held) -> None:
        """Run `CMD deactivate NAME`."""
        await self._run("deactivate", item)

    async def drop(self, item: Held) -> None:
        """Run `CMD drop NAME`."""
        await self._run("drop", item)

    async def _run(self, event: str, item: Held) -> None:
        said = demoted(item) if event == "deactivate" else message(item)
        env = os.environ | {
            "BERTH_EVENT": event,
            "BERTH_ITEM": item.name,
            "BERTH_SLOT": str(said["slot"]),
            "BERTH_PRIMARY": "true" if said["primary"] else "false",
            "BERTH_EPOCH": str(said["epoch"]),
        }
        process = await asyncio.create_subprocess_exec(
            *self._argv, event, item.name, env=env,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            process_group=0,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._timeout):
                _, stderr = await process.communicate(msgspec.json.encode({"event": event, **said}))
        except TimeoutError:
            raise CommandError(f"{event}: still running after {self._timeout:g} s, stopped") from None
        finally:
            await _stop(process)
        text = stderr.decode("utf-8", "replace").strip()
        if process.returncode != 0:
            last = text.splitlines()[-1] if text else "nothing on standard error"
            raise CommandError(f"exit code {process.returncode}: {last}")
        if text:
            log.info("item %s: %s: %s", item.name, event, text)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """See to it that it has ended, and what it has started in its process group with it."""
    if process.returncode is not None:
        return
    _signal(process, 15)
    # The Item is busy until the command has ended, so a cancellation has to wait for that too.
    waiting = asyncio.ensure_future(process.wait())
    cancelled = False
    deadline = asyncio.get_running_loop().time() + KILL_AFTER
    while not waiting.done():
        left = deadline - asyncio.get_running_loop().time()
        try:
            await asyncio.wait({waiting}, timeout=max(left, 0.05))
        except asyncio.CancelledError:
            cancelled = True
        if not waiting.done() and asyncio.get_running_loop().time() >= deadline:
            _signal(process, 9)
    if cancelled:
        raise asyncio.CancelledError


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
