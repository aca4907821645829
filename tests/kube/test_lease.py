"""The state machine of a Lease, and how long it is ours. No clock but the test's."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.kube import OwnerReference, Timing
from berth.kube.lease import (
    LeaseClaim,
    LeaseSpec,
    LeaseState,
    claimed,
    judge,
    lease_spec,
    micro_time,
    observe,
    released,
    renewed,
)
from berth.kube.loop_thread import STEPS, Watchdog
from berth.kube.timing import Validity

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
ME = LeaseClaim("ns", "l", "me")


def spec(
    holder: str | None, renewed_at: str = "t0", duration: int | None = 15, transitions: int = 0
) -> LeaseSpec:
    return LeaseSpec(holder, duration, renewed_at, transitions)


def test_a_lease_that_does_not_exist_is_absent_and_one_without_holder_is_free() -> None:
    assert judge(observe(None, None, 0.0), "me", 0.0) is LeaseState.ABSENT
    assert judge(observe(None, spec(None), 0.0), "me", 0.0) is LeaseState.FREE
    assert judge(observe(None, spec(""), 0.0), "me", 0.0) is LeaseState.FREE
    assert judge(observe(None, lease_spec({"metadata": {}}), 0.0), "me", 0.0) is LeaseState.FREE


def test_our_own_lease_is_ours_however_old() -> None:
    assert judge(observe(None, spec("me"), 0.0), "me", 1e6) is LeaseState.HELD_BY_US


def test_anothers_lease_expires_only_after_we_watched_it_unrenewed_for_its_whole_duration() -> None:
    seen = observe(None, spec("other", "written years ago"), 100.0)
    assert judge(seen, "me", 100.0) is LeaseState.HELD_BY_OTHER
    seen = observe(seen, spec("other", "written years ago"), 114.0)
    assert judge(seen, "me", 115.0) is LeaseState.HELD_BY_OTHER
    assert judge(seen, "me", 115.1) is LeaseState.EXPIRED


@pytest.mark.parametrize("change", [("other", "t1", 0), ("third", "t0", 0), ("other", "t0", 1)])
def test_any_sign_of_life_restarts_the_time(change: tuple[str, str, int]) -> None:
    holder, renewed_at, transitions = change
    seen = observe(None, spec("other"), 0.0)
    seen = observe(seen, spec(holder, renewed_at, transitions=transitions), 14.0)
    assert judge(seen, "me", 28.0) is LeaseState.HELD_BY_OTHER
    assert judge(seen, "me", 29.1) is LeaseState.EXPIRED


def test_a_renew_time_that_goes_back_is_a_sign_of_life_too() -> None:
    seen = observe(None, spec("other", "2026-01-02T12:00:00.000000Z"), 0.0)
    seen = observe(seen, spec("other", "2020-01-02T12:00:00.000000Z"), 14.0)
    assert judge(seen, "me", 20.0) is LeaseState.HELD_BY_OTHER


def test_a_lease_without_a_duration_gets_that_of_the_observer() -> None:
    seen = observe(None, spec("other", duration=None), 0.0, default_duration=5.0)
    assert judge(seen, "me", 4.0) is LeaseState.HELD_BY_OTHER
    assert judge(seen, "me", 5.1) is LeaseState.EXPIRED


def test_the_holders_own_duration_counts_not_ours() -> None:
    seen = observe(None, spec("other", duration=60), 0.0, default_duration=5.0)
    assert judge(seen, "me", 59.0) is LeaseState.HELD_BY_OTHER


@given(
    st.lists(
        st.tuples(st.floats(0.0, 20.0), st.sampled_from(["other", "third"]), st.integers(0, 2)), min_size=1
    ),
    st.floats(0.0, 40.0),
)
def test_no_lease_expires_sooner_than_its_duration_after_its_last_change(
    history: list[tuple[float, str, int]], wait: float
) -> None:
    now, seen, last, since = 0.0, None, None, 0.0
    for pause, holder, version in history:
        now += pause
        if (holder, version) != last:
            last, since = (holder, version), now
        seen = observe(seen, spec(holder, f"t{version}"), now)
    now += wait
    expected = LeaseState.EXPIRED if now - since > 15.0 else LeaseState.HELD_BY_OTHER
    assert judge(seen, "me", now) is expected


def test_a_micro_time_has_six_digits_and_is_utc() -> None:
    assert micro_time(NOON) == "2026-01-02T12:00:00.000000Z"
    tokyo = NOON.astimezone(timezone(timedelta(hours=9))) + timedelta(microseconds=7)
    assert micro_time(tokyo) == "2026-01-02T12:00:00.000007Z"


def test_a_new_lease_carries_name_labels_owner_and_no_transition() -> None:
    owner = OwnerReference("berth.dev/v1alpha1", "Member", "m", "u1")
    body = claimed(None, LeaseClaim("ns", "l", "me", {"a": "b"}, [owner]), 1.5, NOON)
    assert body["metadata"] == {
        "name": "l",
        "namespace": "ns",
        "labels": {"a": "b"},
        "ownerReferences": [{"apiVersion": "berth.dev/v1alpha1", "kind": "Member", "name": "m", "uid": "u1"}],
    }
    assert body["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 2,
        "acquireTime": "2026-01-02T12:00:00.000000Z",
        "renewTime": "2026-01-02T12:00:00.000000Z",
        "leaseTransitions": 0,
    }


def test_taking_a_lease_counts_a_transition_and_keeps_what_it_does_not_know() -> None:
    lease = {
        "metadata": {"name": "l", "resourceVersion": "7", "labels": {"x": "y"}},
        "spec": {"holderIdentity": "other", "leaseTransitions": 4, "strategy": "OldestEmulationVersion"},
    }
    body = claimed(lease, ME, 15.0, NOON)
    assert body["metadata"] == lease["metadata"]
    assert (body["spec"]["leaseTransitions"], body["spec"]["strategy"]) == (5, "OldestEmulationVersion")
    assert claimed(body, ME, 15.0, NOON)["spec"]["leaseTransitions"] == 5
    assert (
        claimed(released(body, NOON), LeaseClaim("ns", "l", "next"), 15.0, NOON)["spec"]["leaseTransitions"]
        == 6
    )
    assert lease["spec"]["holderIdentity"] == "other"
    assert claimed({"metadata": {}, "spec": None}, ME, 15.0, NOON)["spec"]["leaseTransitions"] == 1


def test_a_renewal_changes_renew_time_even_when_the_wall_clock_stands_still() -> None:
    first = claimed(None, ME, 15.0, NOON)
    second = renewed(first, NOON)
    assert second["spec"]["renewTime"] == "2026-01-02T12:00:00.000001Z"
    assert second["spec"]["acquireTime"] == first["spec"]["acquireTime"]


def test_a_released_lease_names_nobody() -> None:
    body = released(claimed(None, ME, 15.0, NOON), NOON)
    assert judge(observe(None, lease_spec(body), 0.0), "next", 0.0) is LeaseState.FREE


def test_periods_have_defaults_and_must_not_contradict_each_other() -> None:
    timing = Timing.of(15.0)
    assert (timing.margin, timing.renew_deadline, timing.retry_period) == (1.0, 14.0, 2.0)
    for wrong in ({"renew_deadline": 14.5}, {"retry_period": 14.0}, {"retry_period": 0.0}):
        with pytest.raises(ValueError, match="a Lease needs"):
            Timing.of(15.0, **wrong)


def test_a_lease_is_held_from_the_time_its_renewal_was_sent_until_the_deadline() -> None:
    validity = Validity(Timing.of(15.0, renew_deadline=10.0))
    assert not validity.held(0.0)
    assert validity.deadline() is None
    assert validity.start(sent=100.0, now=103.0)
    assert (validity.until(), validity.deadline()) == (110.0, 114.0)
    assert validity.held(109.9)
    assert validity.extend(sent=102.0, now=104.0)
    assert validity.held(111.9)
    assert not validity.held(112.0)


def test_a_lease_that_lapsed_is_not_revived_by_a_late_answer() -> None:
    validity = Validity(Timing.of(15.0, renew_deadline=10.0))
    validity.start(sent=100.0, now=100.0)
    assert not validity.extend(sent=105.0, now=110.0)
    assert not validity.held(106.0)
    assert not validity.extend(sent=111.0, now=111.0)
    assert validity.start(sent=120.0, now=120.0)
    assert validity.held(121.0)
    validity.end()
    assert not validity.held(121.0)


def test_a_lease_found_to_have_ended_stays_ended() -> None:
    validity = Validity(Timing.of(15.0, renew_deadline=10.0))
    validity.start(sent=100.0, now=100.0)
    assert not validity.held(110.0)
    assert not validity.extend(sent=109.0, now=109.9)


def test_a_lease_that_took_too_long_to_acquire_is_not_held() -> None:
    validity = Validity(Timing.of(15.0, renew_deadline=10.0))
    assert not validity.start(sent=100.0, now=110.0)
    assert not validity.held(110.0)


def test_answers_in_the_wrong_order_do_not_shorten_a_lease() -> None:
    validity = Validity(Timing.of(15.0, renew_deadline=10.0))
    validity.start(sent=100.0, now=100.0)
    validity.extend(sent=105.0, now=105.5)
    validity.extend(sent=103.0, now=106.0)
    assert validity.until() == 115.0


async def test_the_watchdog_counts_unanswered_questions_not_seconds() -> None:
    watchdog = Watchdog(8.0, asyncio.get_running_loop())
    now = 0.0
    for _ in range(3 * STEPS):  # a loop that answers is never blocked
        assert not watchdog.blocked(now)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        now += watchdog.period
    assert not watchdog.blocked(now)
    assert not watchdog.blocked(now + 1000.0)  # the whole process stood still: one more question
    now += 1000.0
    for _ in range(STEPS - 2):
        now += watchdog.period
        assert not watchdog.blocked(now)
    assert not watchdog.blocked(now + watchdog.period / 2)
    assert watchdog.blocked(now + watchdog.period)
