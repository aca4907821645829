"""Small versions of the scale benchmark: the same load, causes and checks, in seconds."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack

import pytest
from benchmarks.scale.beside import beside, compared
from benchmarks.scale.cases import Measured, first_placement, measure
from benchmarks.scale.child import ROOT
from benchmarks.scale.refuse import refusal
from benchmarks.scale.sizes import Size
from benchmarks.scale.soak import soak
from benchmarks.scale.stage import stage

from berth.testing import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def somewhere() -> str:
    return f"scale-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("reported", [False, True], ids=["Assumed", "Reported"])
async def test_each_cause_costs_few_writes_of_each_assignment_and_breaks_no_promise(
    control_plane: ControlPlane, reported: bool
) -> None:
    size = Size(200, 5)
    async with (
        stage(control_plane, size, namespace=somewhere(), reported=reported) as fleet,
        AsyncExitStack() as stack,
    ):
        placed, controller = await first_placement(fleet, stack)
        # Everything at once, in one round: each Assignment is written once, and only where something goes.
        assert (placed.writes, placed.touched, placed.most) == (5, 5, 1)
        assert placed.floor > 0

        lost = await measure(fleet, controller, "lost", lambda: fleet.lose(fleet.members[:1], seconds=2))
        assert lost.touched == 5
        assert lost.most <= 3

        async def join() -> float:
            return (await fleet.join(1))[1]

        joined = await measure(fleet, controller, "joined", join)
        assert joined.most <= 3  # add, then remove and promote, then a gap in the slots
        assert fleet.observer.history.violations == []
        assert fleet.observer.history.wrong_items() == []
        assert fleet.observer.history.checked >= 400


@pytest.mark.deep  # a minute or two, most of it waiting for quiet between the cases
async def test_two_checkouts_lead_one_fleet_in_turn_and_each_case_is_compared(
    control_plane: ControlPlane,
) -> None:
    turns: list[tuple[str, str]] = []

    def show(measured: Measured, code: str) -> None:
        turns.append((code, measured.case))

    async with stage(control_plane, Size(60, 6), namespace=somewhere(), item_status="Problems") as fleet:
        runs = await beside(fleet, ROOT, 1, show)
        assert len(fleet.members) == 6
        assert fleet.observer.history.violations == []
    cases = ["one Member joins", "one Member lost", "3 Members lost", "rolling update of 10%"]
    cases += ["60 Items added", "60 Items deleted"]
    assert turns == [(code, case) for code in ("other", "this") for case in cases]
    assert all(run["writes"] and run["seconds"] > 0 for case in cases for run in runs[case])
    assert compared(runs).row_count == len(cases)


async def test_an_api_server_that_refuses_everything_costs_nothing_but_time(
    control_plane: ControlPlane,
) -> None:
    async with stage(control_plane, Size(100, 4), namespace=somewhere()) as fleet:
        done = await refusal(fleet, 5.0)
    assert done.requests > 0
    assert (done.lost, done.ended, done.violations) == (0, None, [])
    assert done.converged < 30  # 10 s on a quiet machine


async def test_after_a_little_churn_the_caches_say_what_the_server_says(control_plane: ControlPlane) -> None:
    async with stage(control_plane, Size(200, 5), namespace=somewhere()) as fleet:
        done = await soak(fleet, 8.0, restarts=0)
    assert sum(done.events.values()) >= 3
    assert (done.drift, done.violations) == ([], [])


@pytest.mark.deep
@pytest.mark.timeout(1200)
async def test_a_soak_leaves_no_drift_no_broken_promise_and_no_growth() -> None:
    with ControlPlane() as plane:  # its own: it is restarted
        plane.apply_crds()
        async with stage(plane, Size(2000, 20), namespace=somewhere()) as fleet:
            done = await soak(fleet, 300.0, restarts=2)
    assert (done.drift, done.violations) == ([], [])
    assert done.growth < 0.05
