"""Tells a worker by running a command for each callback."""

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess

import msgspec

from berth.member.agent.message import demoted, message
from berth.member.agent.patience import to_its_end
from berth.member.held import Held
from berth.member.worker import PlainError, Worker

log = logging.getLogger("berth.agent")

KILL_AFTER = 10.0
"""Seconds from SIGTERM to SIGKILL for a command that is no longer wanted."""

ORPHANS = 1.0
"""Seconds to SIGKILL for the rest of its process group once it has ended, with its standard error closed."""

KEEP = 8192
"""Bytes of a command's standard error that are kept: the last ones."""

LAST_WORDS = 0.2
"""Seconds to wait for the end of standard error after the end of the command."""


class CommandError(PlainError):
    """A command ended with an exit code other than 0; the message has the end of its standard error."""


class CommandWorker(Worker):
    """A command, seen as a Worker: run as `CMD EVENT NAME`, with the Item as JSON on standard input."""

    def __init__(self, command: str, *, timeout: float = 60.0) -> None:
        """`command` is split as a shell would, but run without one.

        Raises ValueError where it cannot be split or is not there.
        """
        self._argv = shlex.split(command)
        if not self._argv:
            raise ValueError("--exec needs a command")
        if shutil.which(self._argv[0]) is None:
            raise ValueError(f"there is no command {self._argv[0]} that can be run")
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
        try:
            # asyncio may hang for ever where this is cancelled, and it ends the command only, not its group.
            (process, command), cancelled = await to_its_end(
                asyncio.get_running_loop().subprocess_exec(
                    _Command, *self._argv, event, item.name, env=env, stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0,
                )
            )  # fmt: skip
        except OSError as error:
            raise CommandError(f"{self._argv[0]} cannot be run: {error.strerror or error}") from error
        try:
            if cancelled:
                raise asyncio.CancelledError
            async with asyncio.timeout(self._timeout):
                command.tell(msgspec.json.encode({"event": event, **said}))
                await command.exited.wait()
        except TimeoutError:
            raise CommandError(f"{event}: still running after {self._timeout:g} s, stopped") from None
        finally:
            await _stop(process.get_pid(), command)
        await command.last_words()
        text = command.said.decode("utf-8", "replace").strip()
        if code := process.get_returncode():
            last = text.splitlines()[-1] if text else "nothing on standard error"
            raise CommandError(f"exit code {code}: {last}")
        if text:
            log.info("item %s: %s: %s", item.name, event, text)


class _Command(asyncio.SubprocessProtocol):
    """A command that was started: its end, and that of its pipes, which what it has started may keep open.

    Whatever is written to its standard error later is read too, so that nothing breaks or blocks on it.
    """

    def __init__(self) -> None:
        self.said = b""
        """The end of what it wrote to standard error."""
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        """Set when nobody has its standard error any more."""
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio when it runs."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, _fd: int, data: bytes) -> None:
        """Called by asyncio."""
        if not self.exited.is_set() or len(self.said) < KEEP:
            self.said = (self.said + data)[-KEEP:]

    def process_exited(self) -> None:
        """Called by asyncio when the command has ended, whoever has its pipes."""
        self.exited.set()
        if (stdin := self._stdin()) is not None and stdin.get_write_buffer_size():
            stdin.abort()  # it may not have read all, nor may those that it has left behind

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by asyncio when it has ended and its pipes are closed."""
        self.closed.set()
        if self._transport is not None:
            self._transport.close()

    def tell(self, what: bytes) -> None:
        """Write it to its standard input, and no more."""
        if (stdin := self._stdin()) is not None:
            stdin.write(what)
            stdin.close()

    async def last_words(self) -> None:
        """Wait a moment for the rest of what it had to say."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self.closed.wait()

    def _stdin(self) -> asyncio.WriteTransport | None:
        pipe = None if self._transport is None else self._transport.get_pipe_transport(0)
        return pipe if isinstance(pipe, asyncio.WriteTransport) else None


async def _stop(pid: int, command: _Command) -> None:
    """See to it that it has ended, and what it has started in its process group with it."""
    if command.exited.is_set():
        return
    _signal(pid, signal.SIGTERM)
    # The Item is busy until the command has ended, so a cancellation has to wait for that too.
    cancelled = killed = False
    loop = asyncio.get_running_loop()
    deadline = loop.time() + KILL_AFTER
    while not (command.exited.is_set() and (killed or not _signal(pid, 0))):
        if command.closed.is_set():
            # What is left of the group may be dead, with nobody to collect it, so do not wait for long.
            deadline = min(deadline, loop.time() + ORPHANS)
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            cancelled = True
        if not killed and loop.time() >= deadline:
            _signal(pid, signal.SIGKILL)
            killed = True
    if cancelled:
        raise asyncio.CancelledError


def _signal(pid: int, number: int) -> bool:
    """Send a signal to a process group; whether there is one (that we may signal)."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
