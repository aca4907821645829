"""A small worker: announces itself as a Member, watches its Assignment, says what it holds."""

from __future__ import annotations

import asyncio
import sys

import berth


class Feeds(berth.Worker):
    async def prepare(self, item: berth.Held) -> None:
        # A real worker would open its connection here and catch up.
        await asyncio.sleep(0.02)
        print(f"+ {item.name} replica, channel {item.data['channel']}", flush=True)

    async def activate(self, item: berth.Held) -> None:
        print(f"* {item.name} primary, epoch {item.epoch}", flush=True)

    async def deactivate(self, item: berth.Held) -> None:
        print(f". {item.name} no longer primary", flush=True)

    async def drop(self, item: berth.Held) -> None:
        print(f"- {item.name}", flush=True)


def main() -> int:
    name, zone, kubeconfig = sys.argv[1:]
    return asyncio.run(
        berth.serve(
            Feeds(),
            pool="feeds",
            name=name,
            namespace="default",
            zone=zone,
            limit=40,
            lease_seconds=3,
            kubeconfig=kubeconfig,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
