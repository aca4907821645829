"""Five HTTP workers as processes under the orchestrator: one is killed, one becomes slow.

    python examples/orchestrator/demo.py          (or: make demo-orchestrator)

No Kubernetes. Ends with 0 when every check held, with 1 at the first that did not.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from berth.orchestrator import HttpCommunicator, Orchestrator, Task, TermStats

WORKER = Path(__file__).with_name("worker.py")
FEEDS = [Task(f"feed-{n:02}") for n in range(1, 19)] + [Task("heartbeat", instances=3)]
INSTANCES = sum(task.instances for task in FEEDS)
TIMEOUT = 1.0

console = Console(highlight=False)


class CheckError(Exception):
    """The fleet is not as it should be."""


class Fleet:
    """The worker processes by name, and the orchestrator over their addresses."""

    def __init__(self, communicator: HttpCommunicator[str, str]) -> None:
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.urls: dict[str, str] = {}
        self.communicator = communicator
        self.orchestrator = Orchestrator(communicator, timeout=TIMEOUT, moves_per_worker=2)
        self.orchestrator.update_tasks(FEEDS)
        self.removed = 0

    async def start(self, name: str, stack: AsyncExitStack) -> None:
        await self.listening(name, await stack.enter_async_context(worker_process(name)))

    async def listening(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Wait until the worker says where it listens, and add it."""
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        if not line.startswith(b"listening "):
            raise CheckError(f"{name} did not start")
        self.processes[name] = process
        self.urls[name] = f"http://127.0.0.1:{int(line.split()[1])}"
        self.orchestrator.add_worker(self.urls[name])

    async def kill(self, name: str) -> None:
        self.processes[name].kill()
        await self.processes[name].wait()

    async def settle(self, *, answering: int, most: int = 12) -> TermStats:
        """Run terms until one changes nothing; show what each did."""
        for _ in range(most):
            stats = await self.orchestrator.next_term()
            self.removed += stats.removed
            console.print(
                f"  term {stats.term:>2}  [dim]{stats.seconds * 1000:>5.0f} ms[/dim]  "
                f"{stats.worker_count} answered, {stats.left_out} left out: "
                f"{stats.added - stats.moved} added, {stats.removed - stats.moved} removed, "
                f"{stats.moved} moved"
            )
            if stats.worker_count == answering and not (stats.added or stats.removed or stats.failed):
                return stats
            # A worker hears of its signal when the machine lets it run.
            await asyncio.sleep(0.1)
        raise CheckError(f"still changing after {most} terms: {stats}")

    def show(self, note: str) -> None:
        table = Table(title=note, title_justify="left", box=None, padding=(0, 2, 0, 0))
        table.add_column("worker", style="bold")
        table.add_column("tasks", justify="right")
        table.add_column("which")
        said = {state.worker: sorted(state.tasks) for state in self.orchestrator.last_actual() or []}
        for name, url in self.urls.items():
            if url in said:
                table.add_row(name, str(len(said[url])), " ".join(said[url]))
            else:
                table.add_row(name, "-", "[red]no answer[/red]")
        console.print(table)
        console.print()

    def check(self) -> None:
        """Every instance runs, each task at most once on a worker, the loads even."""
        states = self.orchestrator.last_actual() or []
        running = Counter(task for state in states for task in state.tasks)
        if running != Counter({task.definition: task.instances for task in FEEDS}):
            raise CheckError(f"what runs is not what is expected: {running}")
        loads = [len(state.tasks) for state in states]
        if max(loads) - min(loads) > 1:
            raise CheckError(f"the loads are not even: {loads}")


@asynccontextmanager
async def worker_process(name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), "--name", name, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()


async def story(fleet: Fleet, stack: AsyncExitStack) -> None:
    names = ["anna", "bert", "cleo", "dora", "emil"]
    started = {name: await stack.enter_async_context(worker_process(name)) for name in names}
    for name, process in started.items():
        await fleet.listening(name, process)
    console.rule(f"[bold]five workers, {len(FEEDS)} tasks, {INSTANCES} instances")
    await fleet.settle(answering=5)
    fleet.show("placed, heartbeat on three workers")
    fleet.check()

    console.rule("[bold]bert is killed (SIGKILL)")
    await fleet.kill("bert")
    before = fleet.removed
    await fleet.settle(answering=4)
    fleet.show("its tasks run elsewhere, nothing else has moved")
    fleet.check()
    if fleet.removed != before:
        raise CheckError("a task was moved that had not to be")

    console.rule(f"[bold]dora becomes slow: an answer takes longer than the timeout of {TIMEOUT:g} s")
    fleet.processes["dora"].send_signal(signal.SIGUSR1)
    await fleet.settle(answering=3)
    fleet.show("left out: it gets nothing, and its tasks run elsewhere as well")
    fleet.check()

    console.rule("[bold]dora is quick again, and bert starts anew at another address")
    fleet.processes["dora"].send_signal(signal.SIGUSR2)
    fleet.orchestrator.remove_worker(fleet.urls["bert"])
    await fleet.start("bert", stack)
    stats = await fleet.settle(answering=5)
    fleet.show("surplus instances stopped at once, loads evened out two moves at a time")
    fleet.check()
    if not stats.settled:
        raise CheckError(f"not settled: {stats}")


async def main() -> int:
    logging.getLogger("berth.orchestrator").setLevel(logging.ERROR)  # the tables tell it
    async with HttpCommunicator[str, str]() as communicator, AsyncExitStack() as stack:
        try:
            await story(Fleet(communicator), stack)
        except CheckError as failure:
            console.print(f"[bold red]failed:[/bold red] {failure}")
            return 1
    console.print("[bold green]all as it should be[/bold green]; the workers have been stopped")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
