"""`berth controller` as it is, except that SIGUSR1 makes it write its caches to BERTH_SCALE_DUMP.

With BERTH_SCALE_PROFILE set it runs under cProfile and writes the figures there when it ends.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import os
import signal
from pathlib import Path
from typing import Any

import berth.controller.app as app
from berth.cli import main
from berth.controller.app import Controller


class Remembered(Controller):
    """A controller that can say what it believes."""

    async def run(self) -> None:
        target = os.environ.get("BERTH_SCALE_DUMP")
        if target:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.dump, Path(target))
        await super().run()

    def dump(self, target: Path) -> None:
        """Write what the informers hold and what the fleets make of it."""
        stores: dict[str, dict[str, Any]] = {}
        for informer in self.follower.informers:
            stores[informer.resource.plural] = {
                name: [seen.metadata.uid, seen.metadata.resource_version]
                for (_, name), seen in informer.store.items()
            }
        fleets = {}
        for (_, name), pool in self.follower.pools.items():
            fleet = pool.brain.ledger
            fleets[name] = {
                "items": {
                    fleet.items.name(row): int(fleet.arrays.replicas[row]) for row in fleet.generations
                },
                "members": {
                    m.name: {
                        "limit": m.limit,
                        "live": m.live,
                        "entries": sorted(list(e) for e in m.entries.values()),
                    }
                    for m in fleet.members.values()
                    if m.info is not None
                },
                "held": {
                    name: [fleet.members[m].name for m in fleet.arrays.held_by(row)]
                    for name, row in fleet.items.of.items()
                },
                "waits": len(pool.brain.progress.waits),
            }
        part = target.with_suffix(".part")
        part.write_text(json.dumps({"stores": stores, "fleets": fleets}))
        part.rename(target)


if __name__ == "__main__":
    app.Controller = Remembered  # type: ignore[misc]
    profile = os.environ.get("BERTH_SCALE_PROFILE")
    if profile:
        profiler = cProfile.Profile()
        try:
            profiler.runcall(main)
        finally:
            profiler.dump_stats(profile)
    else:
        main()
