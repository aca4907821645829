"""Scripted workers: they hold Leases, watch Assignments and report, as the contract asks of a worker."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from api import Api, Object, Refused
from history import History, entries


@dataclass
class Worker:
    """One process, as far as anybody can see from outside."""

    name: str
    session: str
    seconds: float | None
    """Duration of its Lease; None without one."""
    reported: bool
    alive: bool = True
    slow: set[str] = field(default_factory=set)
    """Items that it never gets ready; `*` is all."""
    clings: set[str] = field(default_factory=set)
    """Items that it goes on working on although they were taken away."""
    active: dict[str, int] = field(default_factory=dict)
    """Item -> epoch of what it works on as primary."""
    renewed: float = 0.0
    reports: dict[str, tuple[int, str]] = field(default_factory=dict)
    activations: list[tuple[float, float, str]] = field(default_factory=list)
    """(from, until, Item) of work as primary; until 0 while it goes on."""


class Crew:
    """Drives all workers of a namespace from one watch and one clock."""

    def __init__(self, api: Api, history: History) -> None:
        self._api = api
        self._history = history
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._watch = api.watch("assignments")
        self._dirty: set[str] = set()
        self._threads = [
            threading.Thread(target=run, daemon=True, name=run.__name__) for run in (self._work, self._renew)
        ]
        self.workers: dict[str, Worker] = {}

    def start(self) -> None:
        self._watch.on_event = self._seen
        self._watch.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(10)
        self._watch.stop()

    def hire(self, name: str, seconds: float | None, reported: bool, *, lease: bool = True) -> Worker:
        """A new process: it takes the Lease at once."""
        worker = Worker(name, f"{name}-{uuid.uuid4().hex[:6]}", seconds, reported)
        with self._lock:
            self._history.births.append((time.monotonic(), name))
            self.workers[name] = worker
            if lease:
                self._renew_one(worker)
            self._poke(name)
        return worker

    def kill(self, name: str) -> None:
        """The process is gone, without a word."""
        with self._lock:
            worker = self.workers[name]
            worker.alive = False
            now = time.monotonic()
            for item in list(worker.active):
                self._deactivate(worker, item, now)
            self._history.deaths.append((now, name))

    def cut_off(self, name: str) -> None:
        """The process can reach nothing any more, and works on until its Lease would expire."""
        with self._lock:
            worker = self.workers[name]
            worker.alive = False
            now = time.monotonic()
            self._history.deaths.append((now, name))
            assert worker.seconds is not None
            end = worker.renewed + worker.seconds
            for item in list(worker.active):
                self._deactivate(worker, item, end)

    def let_go(self, name: str) -> None:
        """Stop clinging, and get everything ready."""
        with self._lock:
            self.workers[name].clings.clear()
            self.workers[name].slow.clear()
            self._poke(name)

    def at_work(self, item: str) -> list[tuple[float, float, str]]:
        """(from, until, Member) of all work as primary on the Item, in order."""
        found = []
        for worker in self.workers.values():
            found += [(a, b or time.monotonic(), worker.name) for a, b, i in worker.activations if i == item]
        return sorted(found)

    # ---- threads --------------------------------------------------------------------------------

    def _seen(self, type_: str, assignment: Object) -> None:
        self._poke(assignment["metadata"]["name"])

    def _poke(self, name: str) -> None:
        with self._lock:
            self._dirty.add(name)
        self._wake.set()

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(0.5)
            self._wake.clear()
            with self._lock:
                names, self._dirty = self._dirty, set()
            for name in names:
                with self._lock, contextlib.suppress(Refused):
                    self._serve(name)

    def _serve(self, name: str) -> None:
        worker, assignment = self.workers.get(name), self._watch.store.get(name)
        if worker is None or not worker.alive:
            return
        now = time.monotonic()
        wanted = entries(assignment)
        for item in list(worker.active):
            entry = wanted.get(item)
            if (entry is None or not entry.primary) and item not in worker.clings:
                self._deactivate(worker, item, now)
        if assignment is None:
            worker.reports.clear()
            return
        reports = {i: worker.reports[i] for i in worker.clings if i in worker.reports and i not in wanted}
        for item, entry in wanted.items():
            phase = "Ready"
            if item in worker.slow or "*" in worker.slow:
                phase = "Preparing"
            elif entry.primary or (item in worker.active and item in worker.clings):
                phase = "Active"
            reports[item] = (entry.grant, phase)
        self._report(worker, assignment, reports)
        for item, entry in wanted.items():
            if reports[item][1] == "Active" and item not in worker.active:
                worker.active[item] = entry.epoch
                worker.activations.append((time.monotonic(), 0.0, item))

    def _report(self, worker: Worker, assignment: Object, reports: dict[str, tuple[int, str]]) -> None:
        """It may start to work only afterwards: if the spec has changed in between this is refused."""
        if not worker.reported:
            return
        status = {
            "session": worker.session,
            "items": [f"{item}@{grant}={phase}" for item, (grant, phase) in sorted(reports.items())],
        }
        if assignment.get("status") == status:
            worker.reports = reports
            return
        test = {
            "op": "test",
            "path": "/metadata/generation",
            "value": assignment["metadata"]["generation"],
        }
        try:
            self._api.patch(
                "assignments",
                worker.name,
                [test, {"op": "add", "path": "/status", "value": status}],
                "status",
            )
        except Refused:
            threading.Timer(0.1, self._poke, [worker.name]).start()
            raise
        worker.reports = reports

    def _deactivate(self, worker: Worker, item: str, at: float) -> None:
        del worker.active[item]
        since, _, _ = worker.activations.pop(
            next(i for i, a in enumerate(worker.activations) if a[2] == item and not a[1])
        )
        worker.activations.append((since, at, item))

    def _renew(self) -> None:
        while not self._stopped.wait(0.2):
            for worker in list(self.workers.values()):
                seconds = worker.seconds
                if seconds is None or not worker.alive or time.monotonic() - worker.renewed < seconds / 4:
                    continue
                with self._lock:
                    if worker.alive and worker.renewed:
                        self._renew_one(worker)

    def _renew_one(self, worker: Worker) -> None:
        if worker.seconds is None:
            return
        spec = {
            "holderIdentity": worker.session,
            "leaseDurationSeconds": int(worker.seconds),
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        now = time.monotonic()
        if worker.renewed and now - worker.renewed > 0.7 * worker.seconds:
            # This machine is too slow: a controller may have taken it for dead, and rightly so.
            self._history.deaths.append((worker.renewed + 0.01, worker.name))
            self._history.births.append((now + worker.seconds, worker.name))
        try:
            try:
                self._api.merge("leases", worker.name, {"spec": spec})
            except Refused as error:
                if error.status != 404:
                    raise
                self._api.create("leases", worker.name, spec)
        except Refused:
            return
        worker.renewed = now
