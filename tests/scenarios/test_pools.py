"""Stories of Pools that are created, changed and deleted."""

from __future__ import annotations

import time

import pytest
from stage import Stage
from waiting import eventually

pytestmark = pytest.mark.cluster


def test_a_pool_that_the_operator_created_has_the_record_that_kubectl_apply_needs(stage: Stage) -> None:
    stage.controller()
    stage.members("a")
    stage.items(1)
    stage.settle()
    manifest = stage.plane.kubectl("-n", stage.namespace, "apply", "view-last-applied", "pool", "default")
    assert "spec: {}" in manifest
    # A field that was applied and is left out later goes, as kubectl knows what was applied before.
    exclusive = manifest.replace("spec: {}", "spec: {handoff: Exclusive}")
    stage.plane.kubectl("-n", stage.namespace, "apply", "-f", "-", input=exclusive)
    assert stage.api.get("pools", "default")["spec"]["handoff"] == "Exclusive"
    stage.plane.kubectl("-n", stage.namespace, "apply", "-f", "-", input=manifest)
    assert stage.api.get("pools", "default")["spec"]["handoff"] == "Overlap"


def test_a_pool_that_is_deleted_comes_back_above_its_term(stage: Stage) -> None:
    stage.controller()
    stage.members("a", "b")
    stage.items(4)
    stage.settle()
    old, before = stage.term(), stage.held()
    uid = stage.api.get("pools", "default")["metadata"]["uid"]
    stage.api.delete("pools", "default")
    eventually(lambda: any(p["metadata"]["uid"] != uid for p in stage.api.list("pools")))
    eventually(lambda: stage.term() > old)
    stage.limit("a", 0)
    stage.settle()
    assert before.keys() == stage.held().keys()
    stage.history.check()


def test_a_pool_deleted_while_no_controller_runs_comes_back_above_its_assignments(stage: Stage) -> None:
    controller = stage.controller()
    stage.members("a", "b")
    stage.items(4)
    stage.settle()
    old, before = stage.term(), stage.held()
    controller.kill()
    stage.api.delete("pools", "default")
    stage.controller()
    eventually(lambda: stage.term() > old)
    stage.settle()
    assert stage.held() == before
    stage.history.check()


def test_a_pool_is_left_alone_when_all_that_needed_it_goes_with_its_namespace(stage: Stage) -> None:
    stage.members("a", lease=None)
    stage.items(2)
    # No namespace controller runs here: the namespace ends for ever, and nothing can be created in it.
    stage.plane.kubectl("delete", "namespace", stage.namespace, "--wait=false")
    controller = stage.controller("--lease-namespace", "default")
    eventually(lambda: "cannot take over" in controller.text, lambda: controller.text)
    for name in list(stage.history.store("items")):
        stage.api.delete("items", name)
    stage.api.delete("members", "a")

    def tries() -> int:
        return controller.text.count("cannot take over")

    def quiet() -> bool:
        before = tries()
        time.sleep(7.0)  # longer than the longest pause between two tries
        return tries() == before

    eventually(quiet, lambda: controller.text)
