"""The metrics of a running controller say what has happened, no more and no less."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster


class Running:
    def __init__(self, port: int) -> None:
        self.port = port

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Sum of the series with these labels."""
        wanted = set(labels.items())
        return sum(v for (found, has), v in self.samples().items() if found == name and wanted <= has)


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if done():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def running(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Running]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = int(s.getsockname()[1])
    argv = [
        str(Path(sys.executable).with_name("berth")),
        "controller",
        f"--kubeconfig={control_plane.kubeconfig}",
        f"--namespace={namespace}",
        f"--metrics-port={port}",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=dict(os.environ))
    try:
        one = Running(port)
        until(lambda: one.value("berth_leading") == 1, "it leads")
        yield one
    finally:
        process.terminate()
        process.wait(30)


def apply(plane: ControlPlane, namespace: str, kind: str, name: str, **spec: Any) -> None:
    body = {"apiVersion": "berth.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    plane.kubectl("apply", "-n", namespace, "-f", "-", input=yaml.safe_dump(body))


def test_a_placement_a_drain_and_a_shortage_are_counted_as_what_they_are(
    control_plane: ControlPlane, namespace: str, running: Running
) -> None:
    apply(control_plane, namespace, "Member", "a", pool="p", limit=10)
    for i in range(4):
        apply(control_plane, namespace, "Item", f"i{i}", pool="p")
    until(lambda: running.value("berth_slots", state="ready") == 4, "four Items are placed")
    assert running.value("berth_changes_total", lane="recovery") == 4
    assert running.value("berth_changes_total") == 4
    until(lambda: running.value("berth_handoff_seconds_count", lane="recovery") == 4, "four arrivals")
    assert running.value("berth_handoff_seconds_sum", lane="recovery") > 0
    assert running.value("berth_items") == 4
    assert running.value("berth_limit") == 10
    assert running.value("berth_slots", state="wanted") == 4
    assert running.value("berth_queue_seconds_count") >= 1
    assert running.value("berth_queue_age_seconds") < 30

    # Nobody else has room: the drain waits, until another Member comes.
    apply(control_plane, namespace, "Member", "a", pool="p", limit=0)
    until(
        lambda: running.value("berth_items_waiting") == 4 or running.value("berth_items_short") == 4, "stuck"
    )
    apply(control_plane, namespace, "Member", "b", pool="p", limit=10)
    until(lambda: running.value("berth_changes_total", lane="remove") == 4, "a is emptied")
    until(lambda: running.value("berth_items_waiting") == 0, "all have arrived")
    assert running.value("berth_changes_total", lane="promote") == 4
    assert running.value("berth_changes_total", lane="move") == 4
    assert running.value("berth_changes_total", lane="recovery") == 4
    assert running.value("berth_handoff_seconds_count", lane="move") == 4

    apply(control_plane, namespace, "Item", "i0", pool="p", replicas=3)
    until(lambda: running.value("berth_items_short", reason="TooFewMembers") == 1, "one is short")
    assert running.value("berth_items_short") == 1

    requests = [dict(has) for (name, has), _ in running.samples().items() if name == "berth_requests_total"]
    assert {"verb": "POST", "resource": "assignments", "code": "201"} in requests
    assert {"verb": "PATCH", "resource": "assignments", "code": "200"} in requests
    assert {"verb": "PATCH", "resource": "items/status", "code": "200"} in requests
    assert any(r["resource"] == "leases" and r["verb"] in ("PUT", "POST") for r in requests)
    assert not any(r["code"] == "403" for r in requests)


def test_a_port_for_metrics_that_is_taken_ends_the_controller_and_says_so(
    control_plane: ControlPlane, namespace: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        argv = [str(Path(sys.executable).with_name("berth")), "controller", f"--metrics-port={port}"]
        argv += [f"--kubeconfig={control_plane.kubeconfig}", f"--namespace={namespace}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert f"cannot serve metrics on port {port}: Address already in use" in said
    assert "Traceback" not in said
