"""A process of workers for `benchmarks.delivery`.

Imports what a worker imports and no more: its memory is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import berth

NAMESPACE = "delivery"
LEASE = 15.0


class Notes(berth.Worker):
    """Prints when each callback starts."""

    def note(self, what: str, item: berth.Held, term: int) -> None:
        print(json.dumps([what, item.name, term, time.monotonic()]), flush=True)

    async def prepare(self, item: berth.Held) -> None:
        self.note("prepare", item, item.grant)

    async def activate(self, item: berth.Held) -> None:
        self.note("activate", item, item.epoch)

    async def drop(self, item: berth.Held) -> None:
        self.note("drop", item, item.grant)


async def work(names: list[str], kubeconfig: str) -> None:
    """One process: a Session for each name, until standard input ends."""
    sessions = [
        berth.Session(
            Notes(), name=name, namespace=NAMESPACE, kubeconfig=kubeconfig, limit=4096, lease_seconds=LEASE
        )
        for name in names
    ]
    for session in sessions:
        await session.__aenter__()
    print(json.dumps(["ready", "", 0, 0]), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await asyncio.gather(*(session.__aexit__(None, None, None) for session in sessions))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[2:], sys.argv[1]))
