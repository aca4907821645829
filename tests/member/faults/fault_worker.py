"""A worker process of the fault run: works on Items as primary, and writes down each time that it does.

    fault_worker.py NAME NAMESPACE KUBECONFIG HISTORY LEASE [broken] [careless]

The broken one ignores its Lease: it works on until it is told to stop while it owns the Item.
The careless one ignores the session that its entries are for.
"""

import asyncio
import json
import logging
import os
import sys

import berth
from berth.kinds import AssignmentObject
from berth.kube import lease_clock
from berth.member.session import ending_by_signals

LEASE = 3.0
WORK = 0.05  # seconds between two times of work on an Item
LIMIT = 25


class Active(berth.Worker):
    """Notes its callbacks, and each piece of work with the time at which it made sure that it may do it."""

    def __init__(self, history: int, broken: bool) -> None:
        self.history = history
        self.broken = broken
        self.session: berth.Session | None = None
        self.stops: dict[str, asyncio.Event] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def note(self, event: str, item: berth.Held, time: float, session: str, epoch: int) -> None:
        line = {
            "event": event, "item": item.name, "epoch": epoch, "session": session, "time": time,
            "pid": os.getpid(),
        }  # fmt: skip
        os.write(self.history, json.dumps(line).encode() + b"\n")  # one write, appended: whole lines only

    async def activate(self, item: berth.Held) -> None:
        assert self.session is not None
        time, session, epoch = lease_clock(), self.session.id, item.epoch
        if not item.owned():
            return
        self.note("work", item, time, session, epoch)
        if self.broken:
            stop = self.stops[item.name] = asyncio.Event()
            task = asyncio.create_task(self.work_on(item, session, epoch, stop))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            item.spawn(self.work(item, session, epoch))

    async def work(self, item: berth.Held, session: str, epoch: int) -> None:
        while True:
            await asyncio.sleep(WORK)
            time = lease_clock()
            if item.active():
                self.note("work", item, time, session, epoch)

    async def work_on(self, item: berth.Held, session: str, epoch: int, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(WORK)
            self.note("work", item, lease_clock(), session, epoch)

    async def deactivate(self, item: berth.Held) -> None:
        if self.broken and item.owned():
            self.stops[item.name].set()


async def main(name: str, namespace: str, kubeconfig: str, history: str, lease: str, broken: bool) -> int:
    handle = os.open(history, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    worker = Active(handle, broken)
    session = worker.session = berth.Session(
        worker, name=name, namespace=namespace, kubeconfig=kubeconfig, pool="faults", limit=LIMIT,
        zone=f"z{name[-1]}", lease_seconds=float(lease), drain_seconds=15.0, wait=True,
    )  # fmt: skip
    with ending_by_signals(session):
        async with session:
            return (await session.wait()).value


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if "careless" in sys.argv[6:]:
        AssignmentObject.for_another = lambda self, session: False  # type: ignore[method-assign]
    sys.exit(asyncio.run(main(*sys.argv[1:6], broken="broken" in sys.argv[6:])))
