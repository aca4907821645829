from typing import Any

import pytest
from cliobjects import Run, assignment, item, listed, live, member, obj

from berth.testing import ControlPlane


def explained(berth: Run, kind: str, name: str, *objects: dict) -> Any:
    answer = berth("explain", kind, name, "-f", "-", "-o", "json", stdin=listed(*objects))
    assert answer.code == 0, answer.err
    return answer.json


def waits(berth: Run, kind: str, name: str, *objects: dict) -> str | None:
    found = explained(berth, kind, name, *objects)["waitsFor"]
    return found and f"{found['reason']}: {found['message']}"


def reporting(name: str, *entries: str, reports: tuple[str, ...] = (), session: str = "s", **more) -> dict:
    return assignment(name, *entries, status={"session": session, "items": list(reports)}, **more)


def pool(**spec: Any) -> dict:
    return obj("Pool", "p", spec, status={"term": 9, "leader": "c"})


REPORTED = {"readiness": "Reported"}


def test_an_item_in_its_place_waits_for_nothing(berth: Run) -> None:
    fleet = (pool(), item("a"), member("m", zone="z"), assignment("m", "a#0@2:3"))
    found = explained(berth, "item", "a", *fleet)
    assert found["waitsFor"] is None
    assert found["next"] == found["arrives"] == []
    assert found["wanted"] == ["m"]
    (entry,) = found["held"]
    assert (entry["member"], entry["zone"], entry["slot"], entry["grant"], entry["epoch"]) == (
        "m",
        "z",
        0,
        2,
        3,
    )
    assert (entry["live"], entry["ready"], entry["stays"]) == (True, True, True)
    out = berth("explain", "item", "a", "-f", "-", stdin=listed(*fleet)).out
    assert "on m in zone z: primary since term 3, granted in term 2, ready" in out
    assert "nothing: it is where the plan wants it" in out
    assert waits(berth, "member", "m", *fleet) is None


def test_an_item_that_nobody_has_is_about_to_be_given_out(berth: Run) -> None:
    found = explained(berth, "item", "a", pool(), item("a"), member("m"))
    assert found["next"] == ["give it to m as primary"]
    assert found["arrives"] == [{"member": "m", "why": "first placement"}]
    assert found["waitsFor"]["reason"] == "InProgress"


def test_a_shortage_is_explained_in_the_words_of_the_conditions(berth: Run) -> None:
    fleet = (pool(), item("a", 3), member("m"), member("n"))
    assert waits(berth, "item", "a", *fleet) == (
        "TooFewMembers: there are fewer live Members with a limit above 0 than replicas asked for"
    )
    assert explained(berth, "item", "a", *fleet)["missing"] == 1


def test_a_drain_waits_for_the_new_holder_to_report_ready(berth: Run) -> None:
    fleet = (pool(), item("a"), member("m", 0), member("n", **REPORTED))
    fleet += (assignment("m", "a#0@2:3"), reporting("n", "a#1@9", reports=("a@9=Preparing",)))
    assert waits(berth, "item", "a", *fleet) == "WaitingForReady: waiting for n to report ready"
    assert waits(berth, "member", "m", *fleet) == (
        "Draining: 1 Item is still here; a: waiting for n to report ready"
    )
    assert waits(berth, "member", "n", *fleet) == "WaitingForReady: waiting for n to report ready: a"
    leaving, arriving = explained(berth, "item", "a", *fleet)["held"]
    assert (leaving["stays"], leaving["why"]) == (False, "m is draining")
    assert (arriving["phase"], arriving["ready"]) == ("Preparing", False)
    out = berth("explain", "member", "m", "-f", "-", stdin=listed(*fleet)).out
    assert "Leaves:      a: m is draining" in out


def test_a_drain_that_starts_waits_for_the_new_holder(berth: Run) -> None:
    fleet = (pool(), item("a"), member("m", 0), member("n"), assignment("m", "a#0@2:3"))
    assert waits(berth, "item", "a", *fleet) == "WaitingForReady: waiting for n to report ready"
    assert explained(berth, "item", "a", *fleet)["next"] == ["give it to n (slot 1)"]


def test_a_report_of_another_grant_counts_for_nothing(berth: Run) -> None:
    fleet = (pool(), item("a"), member("m", **REPORTED))
    for report, expected in (("a@9=Active", None), ("a@8=Active", "WaitingForReady")):
        found = explained(berth, "item", "a", *fleet, reporting("m", "a#0@9:9", reports=(report,)))
        assert (found["waitsFor"] and found["waitsFor"]["reason"]) == expected


def test_a_failed_item_shows_the_problem_that_its_member_reports(berth: Run) -> None:
    status = {"session": "s", "items": ["a@9=Failed"]}
    status["problems"] = [{"item": "a", "grant": 9, "message": "disk full"}]
    fleet = (pool(), item("a"), member("m", **REPORTED), assignment("m", "a#0@9:9", status=status))
    (entry,) = explained(berth, "item", "a", *fleet)["held"]
    assert (entry["phase"], entry["problem"]) == ("Failed", "disk full")
    for kind, name in (("item", "a"), ("member", "m")):
        assert "disk full" in berth("explain", kind, name, "-f", "-", stdin=listed(*fleet)).out


def test_a_failure_is_what_is_waited_for_in_the_words_of_the_condition(berth: Run) -> None:
    status = {"session": "s", "items": ["a@9=Failed"]}
    status["problems"] = [{"item": "a", "grant": 9, "message": "disk full"}]
    fleet = (pool(), item("a"), member("m", **REPORTED), assignment("m", "a#0@9:9", status=status))
    assert waits(berth, "item", "a", *fleet) == "Failed: m reports Failed: disk full"
    assert waits(berth, "member", "m", *fleet) == "Failed: a: m reports Failed: disk full"
    moving = (pool(), item("a"), member("m", 0), member("n", **REPORTED), assignment("m", "a#0@2:3"))
    silent = reporting("n", "a#1@9", reports=("a@9=Failed",))
    assert waits(berth, "item", "a", *moving, silent) == "Failed: n reports Failed: it gives no reason"
    earlier = reporting("n", "a#1@9", reports=("a@8=Failed",))
    assert waits(berth, "item", "a", *moving, earlier) == "WaitingForReady: waiting for n to report ready"


def leaving(berth: Run, name: str, *objects: dict) -> dict[str, str]:
    """Why each Member that an Item leaves gives it up."""
    found = explained(berth, "item", name, *objects)
    return {entry["member"]: entry["why"] for entry in found["held"] if not entry["stays"]}


def test_a_move_for_balance_is_explained_as_one_while_both_members_hold_the_item(berth: Run) -> None:
    fleet = (pool(), *(item(f"i{n}") for n in range(4)), member("m"), member("n", **REPORTED))
    fleet += (assignment("m", *(f"i{n}#0@1:1" for n in range(4))), reporting("n", "i0#1@9", "i1#1@9"))
    for name in ("i0", "i1"):
        assert leaving(berth, name, *fleet) == {"m": "balance"}
    found = explained(berth, "member", "m", *fleet)["leaves"]
    assert found == [{"item": "i0", "why": "balance"}, {"item": "i1", "why": "balance"}]
    plan = berth("plan", "-f", "-", stdin=listed(*fleet)).out
    assert "Changes by reason: 2 × balance" in plan


def test_a_move_into_a_second_zone_is_explained_as_one_while_it_is_under_way(berth: Run) -> None:
    fleet = (pool(), item("a", 2), member("m", zone="x"), member("n", zone="x"), member("o", zone="y"))
    fleet += (assignment("m", "a#0@1:1"), assignment("n", "a#1@1"), assignment("o", "a#2@9"))
    assert list(leaving(berth, "a", *fleet).values()) == ["all its replicas are in one zone"]


def test_surplus_replicas_are_explained_as_surplus(berth: Run) -> None:
    fleet = (pool(), item("a", 1), member("m"), member("n"), member("o"))
    fleet += (assignment("m", "a#0@1:1"), assignment("n", "a#1@1"), assignment("o", "a#2@1"))
    assert set(leaving(berth, "a", *fleet).values()) == {"it has more replicas than it asks for"}


def test_items_leave_a_member_above_its_limit_because_of_the_limit(berth: Run) -> None:
    fleet = (pool(), item("a"), item("b"), member("m", 1), member("n", 5))
    fleet += (assignment("m", "a#0@1:1", "b#0@1:1"),)
    leaves = explained(berth, "member", "m", *fleet)["leaves"]
    assert {entry["why"] for entry in leaves} == {"m is above its limit"}


def test_a_replica_that_require_leaves_out_is_explained_by_its_zone(berth: Run) -> None:
    fleet = (pool(zones="Require"), item("a", 2), member("m", zone="x"), member("n", zone="x"))
    fleet += (assignment("m", "a#0@1:1"), assignment("n", "a#1@1"))
    assert list(leaving(berth, "a", *fleet).values()) == [
        "zones: Require leaves a replica unplaced rather than place all of them in one zone"
    ]
    assert (waits(berth, "item", "a", *fleet) or "").startswith("SingleZone: ")


@pytest.mark.parametrize(
    ("full", "expected"),
    [
        (item("b", 2), "both replicas are in zone x: other zones have only Members that are full"),
        (None, "both replicas are in zone x: other zones have only Members that are full or draining"),
    ],
)
def test_an_item_in_one_zone_is_explained_by_the_lack_of_room_elsewhere(
    berth: Run, full: dict | None, expected: str
) -> None:
    other = member("o", 1, zone="y", **({} if full else {"draining": True}))
    fleet = [pool(), item("a", 2), member("m", 2, zone="x"), member("n", 1, zone="x"), other]
    fleet += [assignment("m", "a#0@1:1", *(["b#1@1"] if full else [])), assignment("n", "a#1@1")]
    fleet += [full, assignment("o", "b#0@1:1")] if full else []
    found = explained(berth, "item", "a", *fleet)
    assert (found["missing"], found["oneZone"]) == (0, expected)
    assert expected in " ".join(berth("explain", "item", "a", "-f", "-", stdin=listed(*fleet)).out.split())


def test_zones_are_not_mentioned_if_they_are_spread_or_there_is_only_one(berth: Run) -> None:
    for policy, zone in (("Spread", "y"), ("Spread", "x"), ("Ignore", "x")):
        fleet = (pool(zones=policy), item("a", 2), member("m", zone="x"), member("n", zone=zone))
        assert explained(berth, "item", "a", *fleet)["oneZone"] is None


def test_an_exclusive_handoff_waits_for_the_release(berth: Run) -> None:
    fleet = (pool(handoff="Exclusive"), item("a"), member("m", 0, **REPORTED), member("n", **REPORTED))
    fleet += (reporting("m", reports=("a@2=Draining",)), reporting("n", "a#1@9", reports=("a@9=Ready",)))
    assert waits(berth, "item", "a", *fleet) == "WaitingForRelease: waiting for m to release it"
    assert explained(berth, "member", "m", *fleet)["releasing"] == ["a"]


def test_an_exclusive_handoff_after_a_crash_waits_out_the_safety_margin(berth: Run) -> None:
    from datetime import UTC, datetime

    def dead(since: str) -> dict:
        status = live("False")
        status["conditions"][0]["lastTransitionTime"] = since
        return member("m", leaseName="l", status=status, **REPORTED)

    rest = (pool(handoff="Exclusive"), item("a"), member("n", **REPORTED))
    rest += (reporting("m", "a#0@2:2", reports=("a@2=Active",)),)
    rest += (reporting("n", "a#1@3", reports=("a@3=Ready",)),)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = explained(berth, "item", "a", dead(now), *rest)
    assert found["waitsFor"] == {
        "reason": "WaitingForRelease", "message": "waiting for m to release it", "members": ["m"]
    }  # fmt: skip
    assert "make n its primary" not in found["next"]
    long_ago = explained(berth, "item", "a", dead("2026-01-01T00:00:00Z"), *rest)
    assert "make n its primary" in long_ago["next"]


def test_moves_beyond_the_budget_wait(berth: Run) -> None:
    fleet = [pool(moves={"maxInFlight": 1}), member("m"), member("n", **REPORTED)]
    fleet += [item(f"i{n}") for n in range(6)]
    entries = [f"i{n}#0@1:1" for n in range(6)]
    fleet += [assignment("m", *entries), reporting("n", "i0#1@9")]
    found = {n: waits(berth, "item", f"i{n}", *fleet) for n in range(6)}
    assert list(found.values()).count("MovesLimited: move budget reached: 1 of 1 moves in flight") == 2
    assert found[0] == "WaitingForReady: waiting for n to report ready"


def test_a_move_under_way_uses_up_the_budget_of_one_that_waits(berth: Run) -> None:
    fleet = (pool(moves={"maxInFlight": 1}), member("m", 0), member("n", **REPORTED), item("a"), item("z"))
    fleet += (assignment("m", "a#0@2:3", "z#0@2:3"), reporting("n", "z#1@9", reports=("z@9=Preparing",)))
    words = "MovesLimited: move budget reached: 1 of 1 moves in flight"
    assert waits(berth, "item", "a", *fleet) == words
    assert waits(berth, "item", "z", *fleet) == "WaitingForReady: waiting for n to report ready"
    assert explained(berth, "item", "a", *fleet)["next"] == []


def test_full_members_that_would_have_to_swap_are_waited_for_by_name(berth: Run) -> None:
    fleet = (pool(zones="Require"), member("m", 2, zone="a"), member("n", 2, zone="b"))
    fleet += (member("o", 2, zone="a"), member("q", 2, zone="b"))
    fleet += tuple(item(name, 2) for name in ("a", "b", "c", "d"))
    fleet += (assignment("m", "a#0@1:1", "b#0@1:1"), assignment("o", "a#1@1", "b#1@1"))
    fleet += (assignment("n", "c#0@1:1", "d#0@1:1"), assignment("q", "c#1@1", "d#1@1"))
    found = {name: waits(berth, "item", name, *fleet) for name in ("a", "b", "c", "d")}
    assert any(text and text.startswith("LimitReached: limit reached on ") for text in found.values()), found


def test_a_dead_member_is_waited_for_while_the_outage_delay_lasts(berth: Run) -> None:
    from datetime import UTC, datetime

    status = live("False")
    status["conditions"][0]["lastTransitionTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fleet = (item("a"), member("m", leaseName="l", status=status), member("n"), assignment("m", "a#0@1:1"))
    waiting = (pool(outage={"delaySeconds": 3600}), *fleet)
    assert waits(berth, "item", "a", *waiting) == "WaitingForReturn: waiting for m to return"
    assert waits(berth, "member", "m", *waiting) == (
        "WaitingForReturn: Lease l was not renewed in time; waiting for m to return"
    )
    assert explained(berth, "item", "a", pool(), *fleet)["next"][0] == "take it from m"
    assert waits(berth, "member", "m", pool(), *fleet) == "LeaseExpired: Lease l was not renewed in time"


def test_the_brake_is_what_a_dead_member_waits_for(berth: Run) -> None:
    from datetime import UTC, datetime

    status = live("False")
    status["conditions"][0]["lastTransitionTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fleet = [pool(outage={"brakeMinMembers": 2}), item("a"), member("n")]
    fleet += [member(f"m{n}", leaseName="l", status=status) for n in range(3)]
    fleet += [assignment("m0", "a#0@1:1")]
    assert (waits(berth, "member", "m0", *fleet) or "").startswith("Paused: ")
    assert explained(berth, "item", "a", *fleet)["next"] == []


def test_a_member_waits_for_an_assignment_of_its_own(berth: Run) -> None:
    fleet = (pool(), item("a"), member("m", uid="new"))
    assert waits(berth, "member", "m", *fleet) == "NoAssignment: its Assignment does not exist yet"
    owners = [{"apiVersion": "berth.dev/v1alpha1", "kind": "Member", "name": "m", "uid": "old"}]
    earlier = assignment("m", "a#0@1:1", ownerReferences=owners)
    assert waits(berth, "member", "m", *fleet, earlier) == (
        "NoAssignment: its Assignment still belongs to an earlier Member of this name"
    )


def test_the_band_and_the_planned_load_of_a_member_are_shown(berth: Run) -> None:
    fleet = (pool(), *(item(f"i{n}") for n in range(4)), member("m"), member("n"))
    found = explained(berth, "member", "m", *fleet, assignment("m", *(f"i{n}#0@1:1" for n in range(4))))
    assert (found["items"], found["planned"], found["band"]) == (4, 2, [2, 2])
    assert [entry["why"] for entry in found["leaves"]] == ["balance", "balance"]


def test_an_item_that_is_gone_but_held_is_explained(berth: Run) -> None:
    fleet = (pool(), item("b"), member("m"), assignment("m", "a#0@1:1", "b#0@1:1"))
    found = explained(berth, "item", "a", *fleet)
    assert (found["exists"], found["held"][0]["why"]) == (False, "the Item is gone")
    assert found["next"] == ["take it from m"]
    unknown = assignment("left", "c#0@1:1")
    assert waits(berth, "item", "c", *fleet, unknown) == "InProgress: the next step is under way"
    assert waits(berth, "member", "left", *fleet, unknown) == "MemberMissing: the Member does not exist"
    gone = explained(berth, "member", "left", *fleet, unknown)
    assert (gone["exists"], gone["zone"], gone["items"], gone["band"]) == (False, None, 1, [0, 0])
    assert explained(berth, "member", "m", *fleet, unknown)["zone"] == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["item", "oders"], "Item oders does not exist in the manifests; there are: orders and 1 more"),
        (["member", "x"], "Member x does not exist in the manifests; there are: m"),
        (["item", "twice"], "there are 2 Items of that name (default, other): give --namespace"),
    ],
)
def test_a_name_that_cannot_be_found_is_answered_with_names_that_can(
    berth: Run, arguments: list[str], expected: str
) -> None:
    objects = [item("orders"), item("stock"), member("m")]
    if arguments[1] == "twice":
        objects = [item("twice", namespace="default"), item("twice", namespace="other")]
    answer = berth("explain", *arguments, "-f", "-", stdin=listed(*objects))
    assert (answer.code, answer.err) == (2, f"berth: {expected}\n")


def test_a_name_that_is_not_in_the_namespace_of_files_is_answered_with_it(berth: Run) -> None:
    objects = listed(item("orders", namespace="x"), item("stock", namespace="y"))
    answer = berth("explain", "item", "orders", "-n", "y", "-f", "-", stdin=objects)
    assert answer.err.splitlines()[-1] == (
        "berth: Item orders does not exist in the manifests for namespace y; there are: stock"
    )


@pytest.mark.cluster
def test_a_name_that_is_not_in_a_cluster_is_answered_with_the_namespace(
    berth: Run, control_plane: ControlPlane, namespace: str
) -> None:
    answer = berth("explain", "item", "x", "--kubeconfig", control_plane.kubeconfig, "-n", namespace)
    assert (answer.code, answer.err) == (
        2,
        f"berth: Item x does not exist in namespace {namespace}; there are no Items at all\n",
    )


def test_counts_of_one_are_in_the_singular(berth: Run) -> None:
    fleet = (pool(), item("a"), member("m"), assignment("m", "a#0@1:1"))
    words = {
        kind: berth("explain", kind, name, "-f", "-", stdin=listed(*fleet)).out
        for kind, name in (("item", "a"), ("member", "m"))
    }
    assert "Asks for:    1 replica\n" in words["item"]
    assert "Holds:       1 Item, 1 as primary, 1 ready\n" in words["member"]
    assert "Should hold: 1 Item, 1 as primary\n" in words["member"]
    assert "placed on 1 Member; " in berth("plan", "-f", "-", stdin=listed(*fleet)).out
