"""The metrics that the controller exports; docs/metrics.md is generated from this module."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_POOL = ("namespace", "pool")
_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SOLVE = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SLOW = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class Metrics:
    """All metrics of one controller process, in a registry of their own.

    What describes a Pool is exported by the leader only: a replica that does not lead has no such
    series, so that sums over replicas are right.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._pool_gauges: list[Gauge] = []

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            made = Gauge(name, words, (*_POOL, *labels), registry=registry)
            self._pool_gauges.append(made)
            return made

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(name, words, (*_POOL, *labels), registry=registry)

        def seconds(name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, words, (*_POOL, *labels), buckets=buckets, registry=registry)

        self.leading = Gauge("berth_leading", "1 while this process leads, else 0.", registry=registry)
        self.leads = Counter("berth_leads", "How often this process began to lead.", registry=registry)

        # What there is.
        self.items = gauge("berth_items", "Items of the Pool.")
        self.members = gauge("berth_members", "Members of the Pool.")
        self.live_members = gauge("berth_members_live", "Members that are live.")
        self.limits = gauge("berth_limit", "Sum of the limits of live Members.")
        self.slots = gauge("berth_slots", "Replicas of all Items, by state: wanted, held, ready.", "state")
        self.term = gauge("berth_term", "Term of the Pool.")

        # What is not as it should be.
        self.unplaced = gauge(
            "berth_items_short",
            "Items that have fewer replicas in the plan than they ask for, by reason.",
            "reason",
        )
        self.waiting = gauge(
            "berth_items_waiting",
            "Items that are not yet where the plan wants them, by what they wait for.",
            "reason",
        )
        self.oldest_wait = gauge(
            "berth_oldest_wait_timestamp_seconds",
            "Unix time since which the Item that waits longest has been under way, by what it waits for now; "
            "no series where none waits.",
            "reason",
        )
        self.paused = gauge("berth_paused", "1 while the outage brake is on: too many Members died together.")
        self.moves_in_flight = gauge(
            "berth_moves_in_flight", "Entries above what the plan gives their Items: moves under way."
        )

        # What the controller does.
        self.rounds = counter("berth_rounds", "Rounds made.")
        self.failed_rounds = counter("berth_rounds_failed", "Rounds in which a write failed.")
        self.round_seconds = seconds("berth_round_seconds", "Time of a round, its writes included.", _QUICK)
        self.solve_seconds = seconds(
            "berth_solve_seconds",
            "Time to solve the placement problem, by the engine that gave the answer.",
            _SOLVE,
            "engine",
        )
        self.plans_rejected = counter(
            "berth_plans_rejected",
            "Plans that were found to be wrong and not used, by the engine that made them: pooled, exact, "
            "plain, or quick and thorough where there was no plan at all. The log has the details.",
            "engine",
        )
        self.solver_failures = counter(
            "berth_solver_failures",
            "How often the solver gave no usable plan in time: it was late, ended, or its plan was rejected.",
        )
        self.queue_seconds = seconds(
            "berth_queue_seconds",
            "Time from the first event of a burst to the start of the round that serves it.",
            _QUICK,
        )
        self.queue_age = gauge(
            "berth_queue_age_seconds",
            "Age of the oldest event that no round has served; 0 without one. It grows while rounds fail.",
        )
        self.changes = counter(
            "berth_changes",
            "Entries changed, by lane: recovery (added where a replica was missing), move (added beside one "
            "that is to leave), remove, promote, demote, session (given anew, as the Member's process was "
            "started again), slot (only its number changed).",
            "lane",
        )
        self.handoff_seconds = seconds(
            "berth_handoff_seconds",
            "Time an Item was under way, from the round that first wanted a change to the one that found it "
            "made, the workers' preparing and releasing included. By lane: recovery (a replica was missing) "
            "or move.",
            _SLOW,
            "lane",
        )

        # How it talks to the API server.
        self.requests = Counter(
            "berth_requests",
            "Requests to the API server by verb, resource and HTTP code; code 0 is no answer. "
            "Lists, watches and the leader's Lease are in it; the watch of the Pools is not.",
            ("verb", "resource", "code"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "berth_request_seconds",
            "Time of requests, each attempt by itself.",
            ("verb", "resource"),
            buckets=_QUICK,
            registry=registry,
        )
        self.watch_restarts = Counter(
            "berth_watch_restarts", "How often a watch was started again.", ("resource",), registry=registry
        )

        self.watch_silent = Counter(
            "berth_watch_silent",
            "How often Leases that seemed to have run out had been renewed, as a read showed: their watch "
            "was late or silent, and is started again.",
            registry=registry,
        )

    def on_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count a request; the hook of `Client`. May be called from any thread."""
        self.requests.labels(verb, resource, str(code)).inc()
        self.request_seconds.labels(verb, resource).observe(seconds)

    def forget_pools(self) -> None:
        """Drop the figures of Pools: the next leader exports them."""
        for gauge in self._pool_gauges:
            gauge.clear()
