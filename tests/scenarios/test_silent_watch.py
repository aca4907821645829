"""Stories of a controller whose watch of Leases is silent while all else works."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from stage import Controller, Stage
from waiting import eventually
from watch_proxy import WatchProxy

from berth.kube import load_config
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster

NAMES = ("a", "b", "c", "d")
SHORT = pytest.param(3, 12, id="short")
"""Seconds of a Lease, and of silence."""


@pytest.fixture
def proxy(control_plane: ControlPlane, tmp_path: Path) -> Iterator[WatchProxy]:
    with WatchProxy(load_config(control_plane.kubeconfig), tmp_path) as proxy:
        yield proxy


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def controller(stage: Stage, proxy: WatchProxy, port: int) -> Controller:
    return stage.controller("--metrics-port", str(port), kubeconfig=proxy.kubeconfig)


def counted(port: int) -> float:
    """How often the watch was found to be silent."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return sum(s.value for f in families for s in f.samples if s.name == "berth_watch_silent_total")


def settled(stage: Stage, lease: int) -> None:
    stage.members(*NAMES, lease=lease)
    stage.items(8, 2)
    stage.settle()


def nothing_changes(stage: Stage, seconds: float) -> None:
    since = time.monotonic()
    while time.monotonic() < since + seconds:
        assert stage.history.changes(since) == []
        time.sleep(0.1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("lease", "silence"), [SHORT, pytest.param(5, 60, id="long", marks=pytest.mark.deep)]
)
def test_a_silent_watch_kills_nobody_and_hides_no_death(
    stage: Stage, proxy: WatchProxy, controller: Controller, port: int, lease: int, silence: int
) -> None:
    settled(stage, lease)
    assert counted(port) == 0
    proxy.hold = True
    nothing_changes(stage, silence)
    assert counted(port) >= silence / lease / 2, "each Lease ran out by what the watch has shown"
    assert "the watch of Leases is late or silent" in controller.text
    stage.crew.kill("a")
    died = time.monotonic()
    eventually(lambda: not stage.holds("a"), lambda: str(stage.held()), seconds=lease + 10)
    print(f"recovered {time.monotonic() - died:.1f} s after a death, with Leases of {lease} s")
    stage.settle()
    proxy.hold = False
    nothing_changes(stage, 2.0)
    stage.history.check()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("lease", "refused"), [SHORT, pytest.param(5, 20, id="long", marks=pytest.mark.deep)]
)
def test_nobody_dies_while_leases_cannot_be_read(
    stage: Stage, proxy: WatchProxy, controller: Controller, port: int, lease: int, refused: int
) -> None:
    settled(stage, lease)
    proxy.refuse = proxy.hold = True
    stage.crew.kill("a")
    nothing_changes(stage, refused)
    assert "seem to have expired but cannot be read; their Members count as live" in controller.text
    proxy.refuse = False
    eventually(lambda: not stage.holds("a"), lambda: str(stage.held()), seconds=lease + 10)
    stage.settle()
    proxy.hold = False
    stage.history.check()


def test_a_death_that_the_watch_shows_costs_one_read(
    stage: Stage, proxy: WatchProxy, controller: Controller, port: int
) -> None:
    settled(stage, 3)
    before = len(proxy.reads)
    stage.crew.kill("a")
    eventually(lambda: not stage.holds("a"), lambda: str(stage.held()))
    stage.settle()
    own = [path for path in proxy.reads[before:] if path.endswith("/a")]
    assert 1 <= len(own) <= 2, "one when it ran out, and one when its holder must have stopped"
    assert counted(port) == 0
    stage.history.check()


def test_members_that_die_together_are_planned_for_once(
    stage: Stage, proxy: WatchProxy, controller: Controller
) -> None:
    settled(stage, 3)
    for name in ("a", "b"):
        stage.crew.kill(name)
    since = time.monotonic()
    for name in ("a", "b"):  # their Leases run out one shortly after the other, while the first is being read
        stage.api.merge("leases", name, {"spec": {"renewTime": f"{datetime.now(UTC):%FT%T.%fZ}"}})
        time.sleep(0.08)  # longer than the quiet time of a burst, shorter than a read
    proxy.delay = 0.2
    eventually(lambda: not stage.holds("a") | stage.holds("b"), lambda: str(stage.held()))
    stage.settle()
    written = {change.at for change in stage.history.changes(since) if change.member == "c"}
    assert len(written) == 1
    stage.history.check()
