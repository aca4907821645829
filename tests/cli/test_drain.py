import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cliobjects import Run, assignment, eventually, item, member, owned_by

from berth.cli.drain import LIMIT_BEFORE, drain_patch, items_left, parse_duration, remaining, set_limits
from berth.cli.errors import UsageError
from berth.kinds import AssignmentObject, MemberObject
from berth.testing import ControlPlane

PROGRAM = Path(sys.executable).parent / "berth"

pytestmark = pytest.mark.cluster


@pytest.fixture
def at(control_plane: ControlPlane, namespace: str) -> tuple[object, ...]:
    return ("--kubeconfig", control_plane.kubeconfig, "-n", namespace)


@pytest.fixture
def limit(control_plane: ControlPlane, namespace: str):
    def read(name: str) -> str:
        path = "jsonpath={.spec.limit}/{.metadata.annotations.berth\\.dev/limit-before-drain}"
        return control_plane.kubectl("get", "member", name, "-n", namespace, "-o", path)

    return read


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("0.5s", 0.5)]
)
def test_durations_are_read_as_kubectl_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "-1s", "s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="90s, 10m or 1h30m"):
        parse_duration(text)


def test_what_a_member_reports_is_still_there_only_where_it_reports() -> None:
    def left(uid: str, owners: list[Any], **spec: Any) -> list[str]:
        written = assignment("m", "a#0@1:1", ownerReferences=owners, status={"items": ["b@1=Draining"]})
        of_member = msgspec.convert(member("m", 0, uid=uid, **spec), MemberObject)
        return items_left(of_member, msgspec.convert(written, AssignmentObject))

    assert left("u", owned_by("u"), readiness="Reported") == ["a", "b"]
    assert left("u", owned_by("u")) == ["a"]
    assert left("new", owned_by("old")) == []


def test_a_drain_waits_until_the_member_is_empty_and_can_be_undone(
    berth: Run, at: tuple, apply, limit, controller
) -> None:
    apply(member("m", 20), member("n", 20), *(item(f"i{n}") for n in range(8)))

    def spread() -> bool:
        found = berth("status", "-o", "json", *at).json["pools"]
        return bool(found) and found["p"]["members"]["m"]["items"] == 4

    eventually(spread)
    answer = berth("drain", "m", "--wait", "--timeout", "60s", *at)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "Member m is draining: its limit was 20 and is now 0"
    assert lines[-1] == "Member m: empty"
    assert limit("m") == "0/20"
    assert berth("status", "-o", "json", *at).json["pools"]["p"]["members"]["m"]["items"] == 0
    again = berth("drain", "m", "--wait", "-o", "json", *at)
    (facts,) = again.json
    assert (facts["limitBefore"], facts["limit"], facts["drained"], facts["left"]) == (0, 0, True, [])

    assert berth("undrain", "m", *at).out == "Member m may hold 20 Items again\n"
    assert limit("m") == "20/"
    assert berth("undrain", "m", *at).out == "Member m is not draining: its limit is 20\n"
    eventually(spread)


def test_a_drain_that_is_not_done_in_time_prints_what_is_left_and_exits_with_1(
    berth: Run, at: tuple, apply, controller
) -> None:
    apply(member("m", 9), item("a"))
    eventually(lambda: berth("explain", "item", "a", "-o", "json", *at).json["held"])
    # The newcomer never reports ready, so nothing may be taken from the old holder.
    apply(member("n", 9, readiness="Reported"))
    answer = berth("drain", "m", "--wait", "--timeout", "2s", *at)
    assert answer.code == 1
    assert "Member m: 1 Item left" in answer.out
    assert "1 Item is still here; see berth explain member m" in answer.err
    expected = "Draining: 1 Item is still here; a: waiting for n to report ready"
    eventually(lambda: expected in berth("explain", "member", "m", *at).out)


def test_without_a_controller_a_drain_does_not_claim_to_be_done(berth: Run, at: tuple, apply, limit) -> None:
    apply(member("m", 9))
    answer = berth("drain", "m", "--wait", "--timeout", "1s", *at)
    assert answer.code == 1
    assert "no controller has acted on the drain yet" in answer.err
    assert limit("m") == "0/9"


def test_ctrl_c_ends_the_waiting_not_the_drain(control_plane: ControlPlane, at: tuple, apply, limit) -> None:
    apply(member("m", 9), assignment("m", "a#0@1:1", term=1))
    command = [PROGRAM, "drain", "m", "--wait", *at]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Member m is draining")
        assert process.stdout.readline() == "Member m: 1 Item left\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "berth: stopped waiting; the drain goes on until berth undrain ends it\n"
    assert limit("m") == "0/9"


def test_several_members_are_drained_and_undrained_at_once(berth: Run, at: tuple, apply, limit) -> None:
    apply(member("m", 3), member("n", 4))
    answer = berth("drain", "m", "n", "-o", "json", *at)
    assert [(d["member"], d["limitBefore"], d["drained"]) for d in answer.json] == [
        ("m", 3, None),
        ("n", 4, None),
    ]
    assert berth("undrain", "m", "n", *at).code == 0
    assert (limit("m"), limit("n")) == ("3/", "4/")


def test_nothing_is_drained_when_one_of_the_names_does_not_exist(
    berth: Run, at: tuple, apply, limit, namespace: str
) -> None:
    apply(member("worker-1", 3))
    answer = berth("drain", "worker-1", "worker-2", *at)
    assert answer.code == 2
    assert answer.err == (
        f"berth: Member worker-2 does not exist in namespace {namespace}; there are: worker-1\n"
    )
    assert limit("worker-1") == "3/"


def test_a_drain_that_berth_did_not_start_needs_a_limit_to_be_undone(
    berth: Run, at: tuple, apply, limit
) -> None:
    apply(member("m", 0))
    answer = berth("undrain", "m", *at)
    assert (answer.code, "give --limit" in answer.err) == (2, True)
    assert berth("undrain", "m", "--limit", "7", *at).code == 0
    assert limit("m") == "7/"


def test_a_member_that_goes_while_it_is_waited_for_is_empty(
    berth: Run, at: tuple, apply, control_plane: ControlPlane, namespace: str
) -> None:
    import threading

    apply(member("m", 3), assignment("m", "a#0@1:1", term=1))
    delete = threading.Timer(
        1.0, control_plane.kubectl, ("delete", "member", "m", "-n", namespace, "--wait=false")
    )
    delete.start()
    answer = berth("drain", "m", "--wait", "--timeout", "60s", *at)
    delete.join()
    assert answer.code == 0
    assert answer.out.splitlines()[-2:] == ["Member m: 1 Item left", "Member m: empty"]


class Recorded:
    """Stands in for a client: a Member with limit 5 and its empty Assignment; notes what is asked of them."""

    def __init__(self) -> None:
        self.used: set[tuple[str, str]] = set()
        self.member = member("m", 5, uid="u", generation=1, resourceVersion="1")
        self.assignment = assignment("m", uid="v", generation=1, resourceVersion="1")

    async def get(self, path: str, *, type: Any = None) -> Any:
        plural = path.split("/")[-2]
        self.used.add(("get", plural))
        body = self.member if plural == "members" else self.assignment
        return body if type is None else msgspec.convert(body, type)

    async def patch(self, path: str, body: Any, kind: str) -> Any:
        self.used.add(("patch", path.split("/")[-2]))
        self.member["spec"]["limit"] = body["spec"]["limit"]
        return self.member


async def test_a_drain_needs_only_the_rights_that_the_docs_name() -> None:
    client: Any = Recorded()
    (drained,) = await set_limits(client, "n", ["m"], drain_patch)
    assert client.used == {("get", "members"), ("patch", "members")}
    await remaining(client, "n", drained)
    assert client.used == {("get", "members"), ("patch", "members"), ("get", "assignments")}
    docs = " ".join((Path(__file__).parents[2] / "docs/draining.md").read_text().split())
    assert "needs `get` and `patch` on members and, for `--wait`, `get` on assignments" in docs


def test_the_annotation_has_the_documented_name() -> None:
    assert LIMIT_BEFORE == "berth.dev/limit-before-drain"
