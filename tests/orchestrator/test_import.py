"""The library stands alone: no kopf, no Kubernetes client, of Berth only the solver."""

from __future__ import annotations

import json
import os
import subprocess
import sys

SCRIPT = """
import json, sys
import berth.orchestrator
from berth.orchestrator.model import stable_key
watched = ("berth", "kopf", "kubernetes", "typer", "pydantic")
names = sorted(m for m in sys.modules if m.split(".")[0] in watched)
print(json.dumps([names, stable_key("orders-0007")]))
"""


def fresh(hash_seed: str) -> tuple[list[str], int]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "KUBECONFIG": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=120,
    )
    modules, key = json.loads(done.stdout)
    return modules, key


def test_it_is_imported_without_a_cluster_and_its_keys_are_the_same_in_every_process():
    modules, key = fresh("1")
    own = [
        m
        for m in modules
        if m == "berth" or m.startswith(("berth.orchestrator", "berth.solve", "berth.child_process"))
    ]
    assert modules == own
    assert "berth.orchestrator.communicators" in modules
    assert fresh("2")[1] == key


def test_the_public_names_are_these():
    import berth.orchestrator

    assert sorted(berth.orchestrator.__all__) == [
        "Communicator",
        "HttpCommunicator",
        "InMemoryCommunicator",
        "Orchestrator",
        "Task",
        "TermStats",
        "WorkerState",
    ]
    for name in berth.orchestrator.__all__:
        assert getattr(berth.orchestrator, name).__doc__
