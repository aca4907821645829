from datetime import UTC, datetime
from typing import Any

import pytest
from cliobjects import assignment, item, live, member, owned_by
from msgspec.structs import replace

from berth.cli.analysis import brain_of
from berth.cli.manifests import KINDS, Manifest, pools_of
from berth.cli.objects import PoolObjects, display_names
from berth.pool import Liveness, MemberState

WALL = datetime(2026, 1, 1, 0, 1, 0, tzinfo=UTC)


def pool(status: Any = None, holders: dict[str, str] | None = None, **spec: Any) -> PoolObjects:
    """One Item on one Member, whose session `s` reports it as active."""
    more = {"status": status} if status else {}
    reports = {"session": "s", "items": ["a@1=Active"]}
    held = assignment("m", "a#0@1:1", ownerReferences=owned_by("u"), status=reports)
    held["spec"] |= spec
    objects = (item("a"), member("m", 5, leaseName="l", readiness="Reported", uid="u", **more), held)
    pools, _ = pools_of([Manifest("", KINDS[body["kind"]][0].model_validate(body)) for body in objects])
    found = pools["default", "p"]
    found.lease_holders = None if holders is None else {("default", k): v for k, v in holders.items()}
    return found


def state_of(objects: PoolObjects) -> MemberState:
    state = brain_of(objects, WALL).ledger.member_named("m")
    assert state is not None
    return state


@pytest.mark.parametrize(
    ("holders", "ready"), [(None, True), ({"l": "s"}, True), ({"l": "another"}, False), ({"l": ""}, False)]
)
def test_reports_of_another_session_than_the_leases_holder_count_for_nothing(
    holders: dict[str, str] | None, ready: bool
) -> None:
    state = state_of(pool(holders=holders))
    assert (state.live, state.ready("a")) == (True, ready)


@pytest.mark.parametrize(
    ("reason", "since", "expected"),
    [
        ("LeaseReleased", "2026-01-01T00:00:00Z", Liveness.RELEASED),
        ("LeaseMissing", "2026-01-01T00:00:00Z", Liveness.MISSING),
        ("LeaseExpired", "2026-01-01T00:00:59.5Z", Liveness.EXPIRED),
        ("LeaseExpired", "2026-01-01T00:00:00Z", Liveness.LONG_EXPIRED),
        ("Unknown", "2026-01-01T00:01:00Z", Liveness.EXPIRED),
    ],
)
def test_a_dead_member_has_been_dead_since_the_time_in_its_condition(
    reason: str, since: str, expected: Liveness
) -> None:
    status = live("False", reason)
    status["conditions"][0]["lastTransitionTime"] = since
    state = state_of(pool(status))
    assert (state.live, state.liveness) == (False, expected)


@pytest.mark.parametrize("since", ["", "2026-01-01T00:00:00+25:00", "0000-01-01T00:00:00Z"])
def test_a_member_whose_condition_has_no_usable_time_has_died_just_now(since: str) -> None:
    found = pool(live("False", "LeaseExpired"))
    dead = found.members["m"]
    assert dead.status is not None
    (condition,) = dead.status.conditions
    status = replace(dead.status, conditions=(replace(condition, last_transition_time=since),))
    found.members["m"] = replace(dead, status=status)
    assert state_of(found).liveness is Liveness.EXPIRED


def test_a_pool_is_called_by_its_name_and_by_its_namespace_only_where_that_repeats() -> None:
    found = display_names([("y", "p"), ("x", "p"), ("x", "q")])
    assert found == {("x", "p"): "x/p", ("y", "p"): "y/p", ("x", "q"): "q"}


@pytest.mark.parametrize(("holders", "restarted"), [(None, False), ({"l": "s"}, False), ({"l": "new"}, True)])
def test_a_lease_that_was_read_with_a_new_holder_means_a_restart(
    holders: dict[str, str] | None, restarted: bool
) -> None:
    assert state_of(pool(holders=holders, session="s")).restarted is restarted
