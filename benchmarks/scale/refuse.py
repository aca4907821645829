"""The API server refuses the controller everything for a while: no crash, no loss, soon converged after."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.scale.child import Child
from benchmarks.scale.processes import free_port
from benchmarks.scale.proxy import kubeconfig_of
from benchmarks.scale.stage import Stage


@dataclass
class Refused:
    """What came of it. Times in seconds."""

    lasted: float
    """How long everything was refused."""
    requests: int
    """Requests that were refused in that time."""
    converged: float
    """From the first request that was let through again to the last write of an Assignment."""
    lost: int
    """Entries taken away from live Members while the API server refused."""
    ended: int | None
    """The controller's exit code, None: it runs on."""
    writes: int
    """Writes of Assignments afterwards."""
    violations: list[str]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


async def refusal(stage: Stage, seconds: float) -> Refused:
    """Refuse everything for `seconds`; meanwhile a Member is deleted and Items come and go."""
    port = free_port()
    kubeconfig = stage.folder / "proxy.kubeconfig"
    kubeconfig.write_text(kubeconfig_of(port))
    async with (
        Child("benchmarks.scale.proxy", str(stage.plane.kubeconfig), str(port)) as proxy,
        stage.controller(kubeconfig=kubeconfig) as controller,
    ):
        await stage.join(stage.size.members)
        items, _ = await stage.add_items(stage.size.items)
        await stage.settled(300 + stage.size.items / 50)
        await stage.idle(controller, 120 + stage.size.items / 100)
        before = sum(stage.observer.loads().values())
        stage.observer.start_tally()
        await proxy.ask("refuse", on=True)
        began = time.monotonic()
        victim = stage.members[0]
        held = stage.observer.loads()[victim]
        await stage.kill([victim])
        some = min(100, stage.size.items // 10)
        await stage.add_items(some)
        await stage.delete_items(items[:some])
        # Nobody may act: what is written in this time is counted as lost.
        await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))
        lost = before - sum(stage.observer.loads().values()) - (0 if victim in stage.observer.specs else held)
        stage.observer.start_tally()
        refused = await proxy.ask("refuse", on=False)
        resumed, lasted = time.time(), time.monotonic() - began
        last = await stage.settled(120)
        return Refused(
            lasted,
            refused,
            last - resumed,
            lost,
            controller.ended,
            stage.observer.tally.writes.total(),
            stage.observer.history.violations,
        )
