"""The controller before, with and after its kinds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def berth(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def test_a_controller_waits_for_its_kinds_heeds_the_pool_and_ends_when_they_are_deleted(
    tmp_path: Path,
) -> None:
    with ControlPlane() as plane, (tmp_path / "log").open("wb") as output:
        argv = [str(Path(sys.executable).with_name("berth")), "controller"]
        process = subprocess.Popen(
            [*argv, f"--kubeconfig={plane.kubeconfig}", "--namespace=default"], stdout=output, stderr=output
        )
        try:

            def said(text: str) -> bool:
                assert process.poll() is None
                return text in (tmp_path / "log").read_text()

            def held() -> int:
                found = json.loads(plane.kubectl("get", "assignments", "-o", "json"))["items"]
                return sum(len(a["spec"].get("items", ())) for a in found)

            until(lambda: said("waiting until Pools can be listed"), "it says what it waits for")
            plane.apply_crds()
            objects = [berth("Member", n, zone="z", limit=5) for n in "ab"] + [berth("Item", "i", replicas=2)]
            plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))
            until(lambda: held() == 2, "the Item is placed")
            plane.kubectl("patch", "pool", "default", "--type=merge", "-p", '{"spec":{"zones":"Require"}}')
            until(lambda: held() == 1, "a change of the Pool is heeded")
            names = plane.kubectl("get", "crd", "-o", "name").split()
            plane.kubectl("delete", *names)
            until(lambda: process.poll() is not None, "it ends with its kinds")
            assert process.returncode == 1
        finally:
            process.kill()
            process.wait()
