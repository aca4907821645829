"""How a controller ends: its lead by itself and by SIGTERM at once, and by a failure."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from berth.controller import Controller, Options
from berth.controller import app as module
from berth.controller.apply import Replaced


class Election:
    """A Lease that is always free."""

    held, lost_reason = True, "it was not renewed in time"

    def __init__(self) -> None:
        self.lost, self.taken = asyncio.Event(), 0

    async def acquire(self) -> None:
        self.lost, self.taken = asyncio.Event(), self.taken + 1

    async def release(self) -> None:
        self.held = False


@pytest.mark.parametrize("end", ["lost", "replaced"])
async def test_a_controller_that_is_to_end_does_so_although_its_lead_is_just_ending(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads, fails, ends, goes = (asyncio.Event() for _ in range(4))

    async def slow_to_end(*_: object) -> None:
        leads.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.set()
            await goes.wait()

    async def fails_when_told(*_: object) -> None:
        await fails.wait()
        raise Replaced("another leader has the Pool")

    monkeypatch.setattr(module.SolverProcess, "prepare", lambda _: None)
    monkeypatch.setattr(module.Recorder, "run", slow_to_end)
    monkeypatch.setattr(module, "read_due_leases", fails_when_told)
    controller, election = Controller(cast(Any, None), Options()), Election()
    controller.election = cast(Any, election)
    monkeypatch.setattr(controller.follower, "synced", lambda: asyncio.sleep(0))
    standing = asyncio.create_task(controller._stand())
    await leads.wait()
    (election.lost if end == "lost" else fails).set()
    await ends.wait()
    standing.cancel()
    asyncio.get_running_loop().call_later(0.05, goes.set)
    await asyncio.wait({standing}, timeout=1.0)
    assert standing.cancelled()
    assert election.taken == 1


async def test_a_controller_that_fails_says_what_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def divides() -> None:
        raise ZeroDivisionError("division by zero")

    async def fails(_: Controller) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(divides())

    async def operator(**options: Any) -> None:
        await options["stop_flag"].wait()

    monkeypatch.setattr(Controller, "run", fails)
    monkeypatch.setattr(module.SolverProcess, "prepare", lambda _: None)
    monkeypatch.setattr(module, "_pools_served", lambda *_: asyncio.sleep(0))
    monkeypatch.setattr(module.kopf, "operator", operator)
    with pytest.raises(SystemExit):
        await module.serve(cast(Any, None), Options())
    (record,) = (record for record in caplog.records if record.levelname == "CRITICAL")
    assert record.getMessage() == "the controller failed and stops: division by zero"
    assert record.exc_info
