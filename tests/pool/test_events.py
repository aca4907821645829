"""The fleet after any events is the fleet that one would build from what is there now."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from objects import assignment_object, changed, item_object, lease_object, member_object
from reading import let_time_pass

from berth.kinds import Entry, Report, format_entry, format_report
from berth.kinds.entry import Phase
from berth.pool import Leases, Ledger

ITEMS = ["i0", "i1", "i2"]
MEMBERS = ["m0", "m1", "m2"]

entry_lists = st.dictionaries(
    st.sampled_from(ITEMS),
    st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)),
    max_size=3,
).map(
    lambda chosen: tuple(
        format_entry(Entry(name, slot, min(grant, epoch), epoch if slot == 0 else 0))
        for name, (slot, grant, epoch) in sorted(chosen.items())
    )
)
report_lists = st.dictionaries(
    st.sampled_from(ITEMS), st.tuples(st.integers(1, 9), st.sampled_from(Phase)), max_size=3
).map(lambda chosen: tuple(format_report(Report(n, g, p)) for n, (g, p) in sorted(chosen.items())))
member_specs = st.builds(
    member_object,
    name=st.just(""),
    limit=st.integers(0, 3),
    zone=st.sampled_from(["", "a", "b"]),
    draining=st.booleans(),
    lease=st.sampled_from([None, "l0", "l1"]),
    reported=st.booleans(),
    uid=st.sampled_from(["u1", "u2"]),
    created=st.sampled_from(["t1", "t2"]),
    generation=st.just(1),
)
events = st.one_of(
    st.tuples(st.just("item"), st.sampled_from(ITEMS), st.one_of(st.none(), st.integers(0, 3))),
    st.tuples(st.just("member"), st.sampled_from(MEMBERS), st.one_of(st.none(), member_specs)),
    st.tuples(
        st.just("assignment"),
        st.sampled_from(MEMBERS),
        st.one_of(
            st.none(),
            st.builds(
                assignment_object,
                name=st.just(""),
                items=entry_lists,
                term=st.just(9),
                uid=st.sampled_from(["a1", "a2"]),
                owner=st.sampled_from(["u1", "u2"]),
                generation=st.integers(1, 5),
                resource_version=st.just(1),
                session=st.sampled_from(["", "s1", "s2"]),
                reports=report_lists,
                problems=st.just(()),
                written_for=st.sampled_from(["", "s1", "s2"]),
            ),
        ),
    ),
    st.tuples(
        st.just("lease"),
        st.sampled_from(["l0", "l1"]),
        st.one_of(
            st.none(),
            st.tuples(st.sampled_from(["", "s1", "s2"]), st.sampled_from(["r1", "r2"])),
        ),
    ),
    st.tuples(st.just("time"), st.just(""), st.sampled_from([0.1, 5.0, 11.0, 15.0])),
)


class Told:
    """A fleet and what it was told last."""

    def __init__(self) -> None:
        self.leases = Leases()
        self.fleet = Ledger(self.leases)
        self.now = 100.0
        self.there: dict[tuple[str, str], Any] = {}

    def tell(self, kind: str, name: str, what: Any) -> None:
        fleet = self.fleet
        if kind == "time":
            self.now += what
            let_time_pass(fleet, self.now)
            return
        if what is None:
            self.there.pop((kind, name), None)
        else:
            self.there[kind, name] = what
        match kind:
            case "item":
                fleet.delete_item(name) if what is None else fleet.put_item(item_object(name, what))
            case "member":
                if what is None:
                    fleet.delete_member(name, self.now)
                else:
                    fleet.put_member(changed(what, name=name), self.now)
            case "assignment":
                if what is None:
                    fleet.delete_assignment(name, self.now)
                else:
                    fleet.put_assignment(changed(what, name=name), self.now)
            case "lease":
                if what is None:
                    self.leases.delete(lease_object(name), self.now)
                elif self.leases.put(lease_object(name, what[0], what[1], 10.0), self.now):
                    fleet.lease_changed(name, self.now)


def picture(fleet: Ledger) -> dict[str, Any]:
    """All that placement depends on, by name instead of by row."""
    problem, names = fleet.problem(), fleet.member_rows.names
    items = {}
    for name, row in fleet.items.of.items():
        holders = [names[m] for m in problem.held[row] if m >= 0]
        primary = int(problem.held_primary[row])
        ready = [m.name for m in fleet.holders(row) if m.ready(name)]
        items[name] = (
            int(problem.replicas[row]),
            sorted(holders),
            names[primary] if primary >= 0 else None,
            sorted(ready),
            row in fleet.generations,
        )
    zones = {number: zone for zone, number in fleet._zones.items()}
    members = {}
    for name, row in fleet.member_rows.of.items():
        member = fleet.members[row]
        members[name] = (
            int(problem.limit[row]),
            bool(problem.live[row]),
            bool(problem.draining[row]) and member.info is not None,
            zones[int(problem.zone[row])] if member.info else None,
            member.entries,
            member.reports,
            member.owned,
            member.live,
            member.liveness,
            member.owned and member.restarted,
            member.owned and member.unstamped,
            row in fleet.sessions.restarted,
            row in fleet.sessions.uncertain,
        )
    rows = [fleet.member_rows.of[m] for m in sorted(fleet.member_rows.of)]
    ages = sorted(range(len(rows)), key=lambda n: problem.age[rows[n]])
    free = [row for row, name in enumerate(fleet.items.names) if name is None]
    empty = all(problem.replicas[row] == 0 and (problem.held[row] < 0).all() for row in free)
    return {"items": items, "members": members, "ages": ages, "free rows are empty": empty}


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(events, max_size=30))
def test_any_order_of_events_leads_to_what_a_fresh_start_would_see(happened: list[Any]) -> None:
    told = Told()
    for event in happened:
        told.tell(*event)
    fresh = Told()
    # The same observer's memory of Leases, and nothing else that came before.
    fresh.leases = told.leases
    fresh.fleet = Ledger(told.leases)
    fresh.now = told.now
    for (kind, name), what in sorted(told.there.items(), key=lambda pair: pair[0]):
        if kind != "lease":
            fresh.tell(kind, name, what)
    assert picture(told.fleet) == picture(fresh.fleet)
    assert picture(told.fleet)["free rows are empty"]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(events, max_size=20), events)
def test_whatever_changes_the_problem_marks_it_dirty(happened: list[Any], last: Any) -> None:
    told = Told()
    for event in happened:
        told.tell(*event)

    def arrays() -> list[Any]:
        fleet, problem = told.fleet, told.fleet.problem()
        live = [(m, row) for m, row in fleet.member_rows.of.items() if problem.live[row]]
        return [
            {
                name: int(problem.replicas[row])
                for name, row in fleet.items.of.items()
                if problem.replicas[row]
            },
            {m: (int(problem.limit[r]), int(problem.zone[r]), bool(problem.draining[r])) for m, r in live},
        ]

    before = arrays()
    told.fleet.changed.problem = False
    told.tell(*last)
    if arrays() != before:
        assert told.fleet.changed.problem
