from datetime import UTC, datetime

import pytest

from berth.cli.analysis import fleet_of
from berth.cli.objects import Condition, PoolObjects, display_names
from berth.fleet import AssignmentSeen, ItemSeen, Liveness, MemberSeen

WALL = datetime(2026, 1, 1, 0, 1, 0, tzinfo=UTC)


def snapshot(
    session: str = "s", live: Condition | None = None, holders: dict[str, str] | None = None
) -> PoolObjects:
    held = AssignmentSeen("m", ("a#0@1:1",), owner="u", session=session, reports=("a@1=Active",))
    return PoolObjects(
        "ns", "p",
        items={"a": ItemSeen("a", 1)},
        members={"m": MemberSeen("m", 5, lease="l", reported=True, uid="u")},
        member_conditions={"m": (live,)} if live else {},
        assignments={"m": held},
        lease_holders=holders,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("holders", "ready"), [(None, True), ({"l": "s"}, True), ({"l": "another"}, False), ({"l": ""}, False)]
)
def test_reports_of_another_session_than_the_leases_holder_count_for_nothing(
    holders: dict[str, str] | None, ready: bool
) -> None:
    state = fleet_of(snapshot(holders=holders)).member_named("m")
    assert state is not None
    assert (state.live, state.ready("a")) == (True, ready)


@pytest.mark.parametrize(
    ("reason", "since", "expected"),
    [
        ("LeaseReleased", "2026-01-01T00:00:00Z", Liveness.FREED),
        ("LeaseMissing", "2026-01-01T00:00:00Z", Liveness.MISSING),
        ("LeaseExpired", "2026-01-01T00:00:59.5Z", Liveness.EXPIRED),
        ("LeaseExpired", "2026-01-01T00:00:00Z", Liveness.SURE),
        ("Unknown", "", Liveness.EXPIRED),
    ],
)
def test_a_dead_member_is_as_long_dead_as_its_condition_says(
    reason: str, since: str, expected: Liveness
) -> None:
    condition = Condition("Live", "False", reason, since=since)
    state = fleet_of(snapshot(live=condition), WALL).member_named("m")
    assert state is not None
    assert (state.live, state.liveness) == (False, expected)


def test_a_pool_is_called_by_its_name_and_by_its_namespace_only_where_that_repeats() -> None:
    found = display_names([("y", "p"), ("x", "p"), ("x", "q")])
    assert found == {("x", "p"): "x/p", ("y", "p"): "y/p", ("x", "q"): "q"}


@pytest.mark.parametrize(("holders", "restarted"), [(None, False), ({"l": "s"}, False), ({"l": "new"}, True)])
def test_a_lease_that_was_read_with_a_new_holder_means_a_restart(
    holders: dict[str, str] | None, restarted: bool
) -> None:
    pool = snapshot(holders=holders)
    pool.assignments["m"] = pool.assignments["m"]._replace(written_for="s")
    state = fleet_of(pool).member_named("m")
    assert state is not None
    assert state.restarted is restarted
