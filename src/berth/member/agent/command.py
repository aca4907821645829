"""Drives a worker by running a command for each callback."""

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
from typing import Any

import msgspec

from berth.member.agent.worker import AgentWorker, WorkerError, log, message
from berth.member.steps import Callback
from berth.member.tasks import run_to_completion, wait_at_most
from berth.member.worker import Held

KILL_AFTER = 10.0  # seconds from SIGTERM to SIGKILL for a command that is no longer wanted
ORPHANS_KILL_AFTER = 1.0  # the same for the rest of its process group, once its standard error is closed
MAX_STDERR = 8192  # bytes of a command's standard error that are kept: the last ones
STDERR_TIMEOUT = 0.2  # seconds to wait for the end of standard error after the end of the command


class CommandError(WorkerError):
    """A command failed; the message has its exit code and the last line of its standard error."""


class CommandWorker(AgentWorker):
    """A Worker that runs a command, `CMD EVENT NAME`, with the Item as JSON on standard input."""

    def __init__(self, command: str, *, timeout: float = 60.0) -> None:
        """`command` is split like in a shell, but run without one; it may take `timeout` seconds.

        Raises ValueError if it cannot be split or found.
        """
        self._argv = shlex.split(command)
        if not self._argv:
            raise ValueError("--exec needs a command")
        if shutil.which(self._argv[0]) is None:
            raise ValueError(f"there is no executable command {self._argv[0]}")
        self._timeout = timeout

    async def call(self, callback: Callback, item: Held) -> None:
        """Run `CMD EVENT NAME`."""
        event, content = callback.value, message(callback, item)
        env = os.environ | {
            "BERTH_EVENT": event,
            "BERTH_ITEM": item.name,
            "BERTH_SLOT": str(content["slot"]),
            "BERTH_PRIMARY": "true" if content["primary"] else "false",
            "BERTH_EPOCH": str(content["epoch"]),
        }
        command = _Command()
        try:
            # If this is cancelled, asyncio may hang, and it would kill the command but not its process group.
            await run_to_completion(
                asyncio.get_running_loop().subprocess_exec(
                    lambda: command, *self._argv, event, item.name, env=env, stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0,
                )
            )  # fmt: skip
            async with asyncio.timeout(self._timeout):
                command.send(msgspec.json.encode({"event": event, **content}))
                await command.exited.wait()
        except TimeoutError:
            raise CommandError(f"{event}: still running after {self._timeout:g} s, stopped") from None
        except OSError as error:
            raise CommandError(f"{self._argv[0]} cannot be run: {error.strerror or error}") from error
        finally:
            # The Item is busy until the command has ended, so a cancellation has to wait for that too.
            await run_to_completion(command.stop())
        await wait_at_most(STDERR_TIMEOUT, command.closed)
        text = command.stderr.decode("utf-8", "replace").strip()
        if code := command.exit_code():
            last = text.splitlines()[-1] if text else "nothing on standard error"
            raise CommandError(f"exit code {code}: {last}")
        if text:
            log.info("item %s: %s: %s", item.name, event, text)


class _Command(asyncio.SubprocessProtocol):
    """A running command: its end, and the end of its pipes, which its children may keep open.

    Its standard error is read even after its end, so that no child blocks or breaks on writing to it.
    """

    def __init__(self) -> None:
        self.stderr = b""
        """The end of its standard error."""
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        """Set when no process has its standard error open any more."""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio when the command has started."""
        self._transport = transport

    def pipe_data_received(self, _fd: int, data: bytes) -> None:
        """Called by asyncio with a part of its standard error."""
        if not self.exited.is_set() or len(self.stderr) < MAX_STDERR:
            self.stderr = (self.stderr + data)[-MAX_STDERR:]

    def process_exited(self) -> None:
        """Called by asyncio when the command has ended, even if its pipes are still open."""
        self.exited.set()
        stdin = self._transport.get_pipe_transport(0)
        if stdin is not None and stdin.get_write_buffer_size():
            stdin.abort()  # neither the command nor its children will read the rest

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by asyncio when it has ended and its pipes are closed."""
        self.closed.set()
        self._transport.close()

    def send(self, data: bytes) -> None:
        """Write `data` to its standard input and close that."""
        stdin = self._transport.get_pipe_transport(0)
        stdin.write(data)
        stdin.close()

    def exit_code(self) -> int:
        """Its exit code, once it has ended."""
        return int(self._transport.get_returncode())

    async def stop(self) -> None:
        """Ensure that it has ended, with its process group."""
        if self._transport is None or self.exited.is_set():
            return
        pid = self._transport.get_pid()
        _signal(pid, signal.SIGTERM)
        loop = asyncio.get_running_loop()
        deadline, killed = loop.time() + KILL_AFTER, False
        while not (self.exited.is_set() and (killed or not _signal(pid, 0))):
            if self.closed.is_set():
                # The rest of the group may be zombies that nobody reaps, so do not wait for long.
                deadline = min(deadline, loop.time() + ORPHANS_KILL_AFTER)
            await asyncio.sleep(0.02)
            if not killed and loop.time() >= deadline:
                _signal(pid, signal.SIGKILL)
                killed = True


def _signal(pid: int, number: int) -> bool:
    """Send a signal to a process group; returns whether there is one that we may signal."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
