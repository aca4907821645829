import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cliobjects import Run, assignment, eventually, item, listed, live, member, obj

from berth.cli.manifests import load_files
from berth.cli.status import NO_CONTROLLER, Overview, grouped, overview, overview_json
from berth.testing import ControlPlane

PROGRAM = Path(sys.executable).parent / "berth"


def viewed(path: Path, *objects: dict) -> Overview:
    path.write_text(listed(*objects))
    return overview(load_files([str(path)])["default", "p"])


def led(**conditions: str) -> dict:
    found = [
        {"type": type_, "status": status, "reason": "R", "message": f"{type_} is {status}"}
        for type_, status in conditions.items()
    ]
    return obj("Pool", "p", {}, status={"term": 9, "leader": "c", "conditions": found})


def test_sums_and_bands_come_from_the_objects_themselves(tmp_path: Path) -> None:
    view = viewed(
        tmp_path / "f.json",
        led(Converged="True"),
        item("a", 2),
        item("b", 2),
        member("m", 6),
        member("n", 2, readiness="Reported"),
        member("dead", 9, leaseName="l", status=live("False")),
        assignment("m", "a#0@1:1", "b#0@1:1"),
        assignment("n", "a#1@1", status={"session": "s", "items": ["a@1=Ready"]}),
        assignment("dead", "b#1@1"),
    )
    assert (view.pool.slots_wanted, view.held, view.ready) == (4, 3, 3)
    found = json.loads(json.dumps(overview_json(view)))
    assert found["slots"] == {"wanted": 4, "held": 3, "ready": 3}
    assert found["members"]["m"] == {
        "zone": "", "limit": 6, "draining": False, "live": True,
        "items": 2, "primaries": 2, "ready": 2, "band": [3, 3],
    }  # fmt: skip
    assert (found["members"]["dead"]["live"], found["members"]["dead"]["ready"]) == (False, 0)


def test_problems_come_in_the_order_of_their_weight(tmp_path: Path) -> None:
    failed = {"item": "fine", "grant": 1, "message": "disk full"}
    view = viewed(
        tmp_path / "f.json",
        led(Converged="False", Degraded="True", Paused="False"),
        item("short", 3),
        item("shorter", 5),
        item("fine", 1),
        member("m", 0),
        member("dead", 9, leaseName="l", status=live("False")),
        assignment("m", "fine#0@1:1", status={"problems": [failed]}),
    )
    assert [(t.kind, t.name, t.message) for t in view.problems] == [
        ("Pool", "p", "Degraded (R): Degraded is True"),
        ("Pool", "p", "Not converged (R): Converged is False"),
        ("Member", "dead", "not live: Lease l was not renewed in time"),
        ("Member", "m", "Item fine: disk full"),
        ("Member", "m", "draining: 1 Item is still here"),
        ("Item", "shorter", "0 of 5 replicas are placed"),
        ("Item", "short", "0 of 3 replicas are placed"),
    ]


def test_a_pool_without_a_leader_is_a_problem(tmp_path: Path) -> None:
    view = viewed(tmp_path / "f.json", item("a", 0))
    assert [t.message for t in view.problems] == [NO_CONTROLLER]


def test_items_with_the_same_problem_share_a_line(tmp_path: Path) -> None:
    view = viewed(tmp_path / "f.json", led(), *(item(f"i{n}", 1) for n in range(5)), item("x", 2))
    assert grouped(view.problems) == [
        ("Item x", "0 of 2 replicas are placed"),
        ("5 Items (i0, i1, i2, ...)", "0 of 1 replicas are placed"),
    ]


@pytest.mark.cluster
def test_status_and_plan_and_explain_agree_with_the_controller(
    berth: Run, control_plane: ControlPlane, namespace: str, apply, controller
) -> None:
    at = ("--kubeconfig", control_plane.kubeconfig, "-n", namespace)
    apply(member("m", 20), member("n", 20, readiness="Reported"), *(item(f"i{n}", 2) for n in range(10)))
    apply(item("wide", 3))

    def held() -> bool:
        found = berth("status", "-o", "json", *at).json["pools"]
        return bool(found) and found["p"]["slots"] == {"wanted": 23, "held": 22, "ready": 11}

    eventually(held)
    # Statuses follow the Assignments lazily.
    expected = "1 of 2 replicas are ready: waiting for n to report ready"
    eventually(lambda: expected in berth("status", *at).out)
    out = berth("status", *at).out
    assert out.startswith("Pool p: 22 of 23 slots held, 11 ready; 11 Items, 2 of 2 Members live; ")
    assert re.search(r"^m +- +20 +11 +\d+ +11 +█+·* +11 +in band +live *$", out, re.M), out
    plan = berth("plan", "-o", "json", *at).json["pools"]["p"]
    assert plan["changes"] == {"add": [], "remove": [], "promote": []}
    assert plan["items"]["wide"]["reason"] == "TooFewMembers"

    def agrees() -> bool:
        for name in ("i3", "wide"):
            found = berth("explain", "item", name, "-o", "json", *at).json
            messages = [c["message"] for c in found["conditions"] if c["status"] == "False"]
            if not any(message.endswith(found["waitsFor"]["message"]) for message in messages):
                return False
        return True

    eventually(agrees)
    waits = berth("explain", "member", "n", "-o", "json", *at).json["waitsFor"]
    assert waits["message"] == "waiting for n to report ready: i0, i1, i2 and 8 more"


@pytest.mark.cluster
def test_kubectl_berth_is_the_same_command(control_plane: ControlPlane, namespace: str, apply) -> None:
    apply(member("m"), item("a"))
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    environment["KUBECONFIG"] = str(control_plane.kubeconfig)

    def kubectl(*args: str) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "berth", *args]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = kubectl("status", "-n", namespace)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Pool p: 0 of 1 slots held")
    assert NO_CONTROLLER in done.stdout
    plan = kubectl("plan", "-n", namespace, "-o", "json")
    assert json.loads(plan.stdout)["pools"]["p"]["items"]["a"]["members"] == ["m"]
    wrong = kubectl("plan", "--bogus")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "berth: No such option: --bogus; see kubectl berth plan --help\n",
    )


@pytest.mark.cluster
def test_an_empty_namespace_is_reported(berth: Run, control_plane: ControlPlane, namespace: str) -> None:
    answer = berth("status", "--kubeconfig", control_plane.kubeconfig, "-n", namespace)
    assert answer.out == f"There are no objects of berth.dev in namespace {namespace}.\n"


@pytest.mark.cluster
def test_all_namespaces_are_shown_with_their_names(
    berth: Run, control_plane: ControlPlane, namespace: str, apply
) -> None:
    control_plane.create_namespace(f"{namespace}-b")
    try:
        apply(item("a"))
        text = listed(item("b"))
        control_plane.kubectl("apply", "-n", f"{namespace}-b", "-f", "-", input=text)
        found = berth("status", "-A", "-o", "json", "--kubeconfig", control_plane.kubeconfig).json["pools"]
        assert {f"{namespace}/p", f"{namespace}-b/p"} <= set(found)
    finally:
        control_plane.delete_namespace(f"{namespace}-b")


@pytest.mark.cluster
def test_watching_without_a_terminal_prints_what_changes_until_interrupted(
    control_plane: ControlPlane, namespace: str, apply
) -> None:
    command = [PROGRAM, "status", "--watch", "--kubeconfig", control_plane.kubeconfig, "-n", namespace]
    for extra, seen in (([], "Pool p: 0 of 2 slots held"), (["-o", "json"], '"slots": {"wanted": 2,')):
        apply(item("a", 1))
        with subprocess.Popen([*command, *extra], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            apply(item("a", 2))
            assert seen in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130


@pytest.mark.cluster
def test_watching_on_a_terminal_draws_live_bars(control_plane: ControlPlane, namespace: str, apply) -> None:
    apply(member("m"), item("a"))
    master, slave = pty.openpty()
    command = [PROGRAM, "status", "--watch", "--kubeconfig", control_plane.kubeconfig, "-n", namespace]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        screen = b""

        def shows(text: str) -> bool:
            nonlocal screen
            screen += os.read(master, 65536)
            return text.encode() in screen

        eventually(lambda: shows("Ctrl-C ends"))
        assert "░".encode() in screen
        apply(assignment("m", "a#0@1:1", term=1))
        eventually(lambda: shows("█"))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    os.close(master)


def test_a_cluster_that_does_not_answer_is_one_line(berth: Run, tmp_path: Path) -> None:
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    answer = berth("status", "--kubeconfig", path)
    assert (answer.code, answer.out) == (2, "")
    assert "127.0.0.1:1" in answer.err
    assert answer.err.count("\n") == 1
