"""Controllers and the world around them, and how their requests end."""

from __future__ import annotations

import asyncio
from typing import Any

from protocol_client import Network, Request
from protocol_leader import SOLVE, Leader
from protocol_store import KINDS
from protocol_world import Process, World
from waiting import run_until_idle

from berth.kube import ApiError, RequestTimeout, ServerError

CONTROLLERS = range(2)


class Run:
    """One run of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.network = Network()
        self.leaders: list[Leader] = []
        self.started = 0
        for _ in CONTROLLERS:
            self.leaders.append(self._controller())

    def _controller(self) -> Leader:
        self.started += 1
        leader = Leader(f"c{self.started}", self.world, self.network, self.loop)
        return leader

    def close(self) -> None:
        for leader in self.leaders:
            leader.quit()
        self.network.late.clear()
        self.spin()
        self.loop.close()

    def spin(self) -> None:
        """Run the controllers until each waits for an answer or an event."""
        run_until_idle(self.loop)
        for leader in self.leaders:
            for task in (leader.task, leader.reading):
                if task is not None and task.done() and not task.cancelled():
                    error = task.exception()
                    if error is not None:
                        raise error

    def answer(self, request: Request, outcome: str) -> None:
        self.network.pending.remove(request)
        result: Any = None
        error: ApiError | None = None
        if request.what == SOLVE:
            outcome = "ok"
        if outcome in ("ok", "no answer"):
            try:
                result = request.act()
            except ApiError as refused:
                error = refused
            self.promises_hold()
        if outcome in ("no answer", "lost"):
            error = RequestTimeout(request.what)
        elif outcome == "late":
            error = RequestTimeout(request.what)
            if not request.reads:
                self.network.late.append(request)
        elif outcome == "refused":
            error = ServerError(503, "ServiceUnavailable", request.what)
        if not request.answer.done():
            if error is not None:
                request.answer.set_exception(error)
            else:
                request.answer.set_result(result)
        self.spin()

    def answer_all(self, leader: Leader) -> None:
        for _ in range(90):
            mine = [r for r in self.network.pending if r.leader is leader]
            if not mine:
                if not leader.busy:
                    return
                for kind in KINDS:
                    leader.deliver(kind, 10_000)
                self.spin()
                if not leader.busy:
                    return
                continue
            self.answer(mine[0], "ok")

    def process(self, name: str) -> Process | None:
        return self.world.processes.get(name)

    def answer_some(self, leader: Leader, answers: tuple[str, ...]) -> None:
        for outcome in answers:
            mine = [r for r in self.network.pending if r.leader is leader]
            if mine:
                self.answer(mine[0], outcome)

    def promises_hold(self) -> None:
        self.world.check()
        self.world.check_exclusive()
