"""The controller as a process: its log, its metrics, its time and memory; the same of the API server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.scale.child import ROOT

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 2**20


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Usage:
    """What a process has used so far."""

    cpu: float
    """Seconds, user and system."""
    rss: float
    """MiB now."""
    peak: float
    """MiB at most since the start, or since `forget_peak`."""


def usage(pid: int) -> Usage:
    """Raises OSError where the process is gone."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()

    def kib(key: str) -> int:
        found = re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) if found else 0

    return Usage((int(stat[11]) + int(stat[12])) / TICKS, kib("VmRSS") / 1024, kib("VmHWM") / 1024)


def forget_peak(pid: int) -> None:
    """Let `peak` begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class ControllerProcess:
    """`berth controller` (or `module`, which takes the same options) with its log in a file.

    `checkout` is the folder of another checkout of Berth whose code it runs.
    """

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        log: Path,
        *,
        lease_duration: float = 15.0,
        module: str | None = None,
        checkout: Path | None = None,
    ) -> None:
        self.log = log
        self.port = free_port()
        run = [sys.executable, "-m", module] if module else [str(Path(sys.executable).with_name("berth"))]
        # Comes before the checkout that the environment has installed.
        self._env = os.environ | ({"PYTHONPATH": str(checkout / "src")} if checkout else {})
        self._command = [
            *run, "controller", f"--kubeconfig={kubeconfig}", f"--namespace={namespace}",
            f"--lease-namespace={namespace}", f"--lease-duration={lease_duration}",
            f"--metrics-port={self.port}",
        ]  # fmt: skip
        self._process: asyncio.subprocess.Process | None = None
        self.started = 0.0

    async def __aenter__(self) -> Self:
        with self.log.open("ab") as log:
            self.started = time.time()
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stderr=log, cwd=ROOT, env=self._env
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code, None while it runs."""
        assert self._process is not None
        return self._process.returncode

    def usage(self) -> Usage:
        return usage(self.pid)

    def said(self, text: str, after: float = 0.0) -> float | None:
        """When the log first had `text` at or after that time (both seconds since the epoch), or None."""
        needle = text.encode()
        with self.log.open("rb") as lines:
            for line in lines:
                if needle in line:
                    stamp = line[:24].decode(errors="replace").replace("Z", "+00:00")
                    try:
                        at = datetime.fromisoformat(stamp).timestamp()
                    except ValueError:
                        continue
                    if at >= after - 0.001:
                        return at
        return None

    async def metrics(self) -> dict[str, float]:
        """Sums of all samples by `name` and by `name{verb,resource}` where it has those."""

        def read() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
                return str(answer.read().decode())

        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(await asyncio.to_thread(read)):
            for sample in family.samples:
                keys = [sample.name]
                if "resource" in sample.labels and "verb" in sample.labels:
                    keys.append(f"{sample.name}:{sample.labels['verb']}:{sample.labels['resource']}")
                for key in keys:
                    sums[key] = sums.get(key, 0.0) + sample.value
        return sums
