"""Sorting Items before a round saves time and changes nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objects import assignment_object, item_object, lease_object, member_object, pool_spec

from berth.kinds import Handoff
from berth.pool import Leases, Ledger
from berth.pool import round as round_module
from berth.pool.progress import Progress
from berth.pool.round import plan_round
from berth.solve import solve


@st.composite
def fleets(draw: st.DrawFn) -> Ledger:
    """Small Pools in any state: fresh, settled, with gaps, dead Members, leftovers of gone Items."""
    leases = Leases()
    policy = pool_spec(
        handoff=draw(st.sampled_from(Handoff)),
        active_primaries=draw(st.booleans()),
    )
    fleet = Ledger(leases, policy)
    names = [f"m{i}" for i in range(draw(st.integers(1, 4)))]
    items = [f"i{i}" for i in range(draw(st.integers(0, 5)))]
    for item in items:
        if draw(st.integers(0, 5)):
            fleet.put_item(item_object(item, draw(st.integers(0, 3)), item, 1))
    for name in names:
        lease = f"lease-{name}" if draw(st.booleans()) else None
        if lease and draw(st.booleans()):
            leases.put(lease_object(lease, "someone", "then", 10.0), 0.0)
        seen = member_object(
            name, draw(st.integers(0, 4)), draw(st.sampled_from("ab")), lease=lease, uid=name
        )
        fleet.put_member(seen, 0.0)
        held = draw(st.lists(st.sampled_from(items), unique=True)) if items else []
        entries = []
        for item in sorted(held):
            slot = draw(st.integers(0, 3))
            entries.append(f"{item}#{slot}@{draw(st.integers(1, 3))}" + (":3" if slot == 0 else ""))
        fleet.put_assignment(assignment_object(name, tuple(entries), 3, f"a-{name}", name, 1, 1), 0.0)
    return fleet


@settings(deadline=None)
@given(fleets())
def test_a_round_is_the_same_whether_items_are_sorted_before_it_or_not(fleet: Ledger) -> None:
    solution = solve(fleet.problem())
    rows = list(range(len(fleet.items)))

    def plan(progress: Progress) -> tuple[bool, dict[tuple[int, str], object]]:
        made = plan_round(fleet, solution, rows, progress, term=4, now=0.0)
        return made.raises_term, {(row, e.item): e for row, write in made.writes.items() for e in write.edits}

    quick, slow = Progress(), Progress()
    quickly = plan(quick)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(round_module, "sort_items", lambda fleet, solution, rows: ([], [], rows))
        slowly = plan(slow)
    assert quickly == slowly
    assert quick == slow
