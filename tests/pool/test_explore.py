"""Small fleets, exhaustively: no state that a few disturbances lead to breaks a promise."""

from __future__ import annotations

import pytest
import test_protocol  # noqa: F401 - its module is one of those that a mutation looks through
from explore import Counterexample, Fleet, Reached, State, search
from mutations import MUTATIONS, mutated


def explored(fleet: Fleet, start: State, max_states: int) -> Reached:
    try:
        return search(fleet, start, max_states=max_states)
    finally:
        fleet.close()


@pytest.mark.parametrize("kind", ["election", "order", "silence", "no answer"])
def test_no_promise_is_broken_wherever_one_disturbance_of_a_kind_leads(kind: str) -> None:
    fleet = Fleet(exclusive=True, kinds=frozenset({kind}))
    assert explored(fleet, fleet.settled(), 30_000).complete


def test_no_promise_is_broken_wherever_an_election_while_another_leader_grants_leads() -> None:
    fleet = Fleet(exclusive=True, kinds=frozenset({"election"}))
    reached = explored(fleet, fleet.granting(), 4_000)
    assert reached.depth >= 3


@pytest.mark.parametrize("exclusive", [True, False], ids=["Exclusive", "Overlap"])
def test_no_promise_is_broken_near_a_fleet_at_rest(exclusive: bool) -> None:
    fleet = Fleet(exclusive=exclusive, disturbances=3)
    reached = explored(fleet, fleet.settled(), 6_000)
    assert reached.depth >= 2


@pytest.mark.deep
@pytest.mark.parametrize("exclusive", [True, False], ids=["Exclusive", "Overlap"])
def test_no_promise_is_broken_in_the_nearest_million_states(exclusive: bool) -> None:
    fleet = Fleet(exclusive=exclusive, disturbances=2)
    reached = explored(fleet, fleet.settled(), 1_000_000)
    print(reached)
    assert reached.complete or reached.states >= 1_000_000


FOUND = {
    "surplus entries go although too few ready ones stay": ("settled", "order", "1: "),
    "Exclusive does not wait for the release": ("settled", "order", "2: "),
    "a new session keeps its old grants": ("settled", "restart", "4: "),
    "deaths are not confirmed": ("settled", "silence", "9: "),
    "the first grants and promotions after a take-over do not raise the term": (
        "granting",
        "election",
        "5: ",
    ),
}
"""Rules that are switched off: where the search starts, the disturbances, the promise that breaks."""


@pytest.mark.parametrize("name", FOUND)
def test_the_exploration_finds_a_short_way_to_break_a_promise_if(name: str) -> None:
    start, kind, promise = FOUND[name]
    exclusive, disturbances = name.startswith("Exclusive"), 1 if start == "granting" else 2
    mutation = next(m for m in MUTATIONS if m.name == name)
    with mutated(mutation):
        fleet = Fleet(exclusive=exclusive, disturbances=disturbances, kinds=frozenset({kind}))
        with pytest.raises(Counterexample) as found:
            explored(fleet, getattr(fleet, start)(), 20_000)
    assert found.value.broken.startswith(promise)
    assert len(found.value.trace) <= 8


def test_symmetric_states_are_joined() -> None:
    fleet = Fleet(replicas=(1, 1))
    start = fleet.first()
    swapped = start._replace(
        items=tuple(i._replace(replicas=n) for i, n in zip(start.items, (2, 1), strict=True))
    )
    mirrored = start._replace(
        items=tuple(i._replace(replicas=n) for i, n in zip(start.items, (1, 2), strict=True))
    )
    assert fleet.key(start) != fleet.key(swapped)
    assert fleet.key(swapped) == fleet.key(mirrored)
    fleet.close()
