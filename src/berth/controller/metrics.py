"""The metrics that the controller exports, and their port; docs/metrics.md is generated from this module."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

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

        self.leading = Gauge(
            "berth_leading", "1 while this process is the leader, else 0.", registry=registry
        )
        self.leads = Counter(
            "berth_leads", "Number of times this process became the leader.", registry=registry
        )

        # The state of the Pool.
        self.items = gauge("berth_items", "Number of Items in the Pool.")
        self.members = gauge("berth_members", "Number of Members in the Pool.")
        self.live_members = gauge("berth_members_live", "Number of live Members in the Pool.")
        self.limits = gauge("berth_limit", "Sum of the limits of live Members.")
        self.slots = gauge(
            "berth_slots", "Number of replicas of all Items, by state: wanted, held, ready.", "state"
        )
        self.term = gauge("berth_term", "Term of the Pool.")

        # Problems.
        self.unplaced = gauge(
            "berth_items_short",
            "Number of Items that have fewer replicas in the plan than requested, by reason.",
            "reason",
        )
        self.waiting = gauge(
            "berth_items_waiting",
            "Number of Items that are not yet at their target, by what they wait for.",
            "reason",
        )
        self.oldest_wait = gauge(
            "berth_oldest_wait_timestamp_seconds",
            "Unix time at which the longest-waiting Item started to wait, by what it waits for now; no "
            "series if no Item waits.",
            "reason",
        )
        self.paused = gauge("berth_paused", "1 while the outage brake is on: too many Members died together.")
        self.moves_in_flight = gauge(
            "berth_moves_in_flight",
            "Number of moves in flight: entries beyond those that the plan gives their Items.",
        )

        # The work of the controller.
        self.rounds = counter("berth_rounds", "Number of rounds.")
        self.failed_rounds = counter("berth_rounds_failed", "Number of rounds in which a write failed.")
        self.round_seconds = seconds(
            "berth_round_seconds", "Duration of a round, including its writes.", _QUICK
        )
        self.solve_seconds = seconds(
            "berth_solve_seconds",
            "Time to solve the placement problem, by the engine that found the plan.",
            _SOLVE,
            "engine",
        )
        self.plans_rejected = counter(
            "berth_plans_rejected",
            "Number of plans that failed certification, by the engine that made them: pooled, exact, plain, "
            "or quick and thorough if there was no plan at all. The log has the details.",
            "engine",
        )
        self.solver_failures = counter(
            "berth_solver_failures",
            "Number of solves without a usable plan: the solver was late or ended, or its plan was rejected.",
        )
        self.queue_seconds = seconds(
            "berth_queue_seconds",
            "Time from the first event of a burst to the start of the round that handles it.",
            _QUICK,
        )
        self.queue_age = gauge(
            "berth_queue_age_seconds",
            "Age of the oldest event that no round has handled; 0 if none. It grows while rounds fail.",
        )
        self.changes = counter(
            "berth_changes",
            "Number of changed entries, by lane: recovery (added for a missing replica), move (added to "
            "replace one that will leave), remove, promote, demote, session (granted again because the "
            "Member's process restarted), slot (only the slot number changed).",
            "lane",
        )
        self.handoff_seconds = seconds(
            "berth_handoff_seconds",
            "Duration of a handoff, from the round that first planned a change to the one that found it "
            "complete, including the time in which workers prepare and release. By lane: recovery (a replica "
            "was missing) or move.",
            _SLOW,
            "lane",
        )

        # Requests to the API server.
        self.requests = Counter(
            "berth_requests",
            "Number of requests to the API server, by verb, resource and HTTP code; code 0 means no answer. "
            "Includes lists, watches and the leader's Lease, but not the watch of Pools.",
            ("verb", "resource", "code"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "berth_request_seconds",
            "Duration of requests to the API server; each attempt counts separately.",
            ("verb", "resource"),
            buckets=_QUICK,
            registry=registry,
        )
        self.watch_restarts = Counter(
            "berth_watch_restarts", "Number of times a watch was restarted.", ("resource",), registry=registry
        )
        self.watch_silent = Counter(
            "berth_watch_silent",
            "Number of times a read showed that Leases that seemed to have expired had been renewed: their "
            "watch was late or silent, and was restarted.",
            registry=registry,
        )

    def on_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count a request; the hook of `Client`. May be called from any thread."""
        self.requests.labels(verb, resource, str(code)).inc()
        self.request_seconds.labels(verb, resource).observe(seconds)

    def forget_pools(self) -> None:
        """Drop the series of Pools: the next leader exports them."""
        for gauge in self._pool_gauges:
            gauge.clear()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: probes and scrapes come every few seconds."""


@contextmanager
def endpoint(port: int, registry: CollectorRegistry, ready: Callable[[], bool]) -> Iterator[int]:
    """Serve `registry` and `ready` from a thread, on all addresses; yields the port.

    `/readyz` answers 200 while `ready()` holds, else 503. Port 0 takes a free one. Raises OSError.
    """
    metrics = make_wsgi_app(registry)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in ("/metrics", "/"):
            body: Iterable[bytes] = metrics(environ, start_response)
            return body
        if path == "/readyz":
            status, text = ("200 OK", b"ok\n") if ready() else ("503 Service Unavailable", b"not ready\n")
        else:
            status, text = "404 Not Found", b"there are /metrics and /readyz\n"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [text]

    try:
        server = make_server("", port, application, ThreadingWSGIServer, _Quiet)
    except OSError as error:
        raise OSError(f"cannot serve metrics on port {port}: {error.strerror}") from error
    with server:
        thread = Thread(target=server.serve_forever, name="endpoint", daemon=True)
        thread.start()
        try:
            yield int(server.server_port)
        finally:
            server.shutdown()
            thread.join()
