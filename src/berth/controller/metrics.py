"""The metrics that the controller exports; docs/metrics.md is generated from this module."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_POOL = ("namespace", "pool")


class Metrics:
    """All metrics of one controller process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.leading = Gauge("berth_leading", "1 while this process leads.", registry=registry)
        self.items = Gauge("berth_items", "Items of the Pool.", _POOL, registry=registry)
        self.members = Gauge("berth_members", "Members of the Pool.", _POOL, registry=registry)
        self.live_members = Gauge("berth_members_live", "Members that are live.", _POOL, registry=registry)
        self.limits = Gauge("berth_limit", "Sum of the limits of live Members.", _POOL, registry=registry)
        self.slots = Gauge(
            "berth_slots",
            "Replicas of all Items by state: wanted, held, ready.",
            (*_POOL, "state"),
            registry=registry,
        )
        self.unplaced = Gauge(
            "berth_items_short",
            "Items with fewer replicas in the plan than asked for, by reason.",
            (*_POOL, "reason"),
            registry=registry,
        )
        self.waiting = Gauge(
            "berth_items_waiting",
            "Items that are not yet where they should be, by what they wait for.",
            (*_POOL, "reason"),
            registry=registry,
        )
        self.moves_in_flight = Gauge("berth_moves_in_flight", "Moves under way.", _POOL, registry=registry)
        self.paused = Gauge("berth_paused", "1 while the outage brake is on.", _POOL, registry=registry)
        self.term = Gauge("berth_term", "Term of the Pool.", _POOL, registry=registry)
        self.rounds = Counter("berth_rounds", "Rounds made.", _POOL, registry=registry)
        self.failed_rounds = Counter(
            "berth_rounds_failed", "Rounds in which a write failed.", _POOL, registry=registry
        )
        self.round_seconds = Histogram(
            "berth_round_seconds", "Time of a round, its writes included.", _POOL, registry=registry
        )
        self.solve_seconds = Histogram(
            "berth_solve_seconds", "Time to solve, by engine.", (*_POOL, "engine"), registry=registry
        )
        self.changes = Counter(
            "berth_changes",
            "Entries changed, by lane: recovery, move, remove, promote, slot.",
            (*_POOL, "lane"),
            registry=registry,
        )
        self.requests = Counter(
            "berth_requests",
            "Requests to the API server; code 0 is no answer.",
            ("verb", "resource", "code"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "berth_request_seconds", "Time of requests.", ("verb", "resource"), registry=registry
        )
        self.watch_restarts = Gauge(
            "berth_watch_restarts", "How often a watch was started again.", ("resource",), registry=registry
        )

    def on_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count a request; the hook of `Client`."""
        self.requests.labels(verb, resource, str(code)).inc()
        self.request_seconds.labels(verb, resource).observe(seconds)
