"""The step rules, one sentence of behaviour each: what is added, removed and numbered."""

from __future__ import annotations

from steps import TERM, A, B, C, D, after, dead, held, item, rules, slots

from berth.kinds import Entry
from berth.pool import Why
from berth.pool.rules import Edit, Step, step

# ---- add ----------------------------------------------------------------------------------------


def test_a_new_item_gets_all_its_replicas_and_its_primary_in_one_step() -> None:
    view = item(3, target=(B, A, C))
    done = step(view, rules())
    assert after(view, done) == {
        A: Entry("x", 1, TERM, 0),
        B: Entry("x", 0, TERM, TERM),
        C: Entry("x", 2, TERM, 0),
    }
    assert done.moves == ()


def test_nothing_is_added_on_a_member_without_room() -> None:
    view = item(2, held(A, 0), target=(A, B))
    done = step(view, rules(room=lambda m: 0 if m == B else 5))
    assert done.edits == ()
    assert done.wait is not None
    assert (done.wait.why, done.wait.members) == (Why.LIMIT, (B,))


def test_an_item_is_never_added_where_it_is_already() -> None:
    view = item(2, held(A, 0), held(B, 1), target=(A, B))
    assert step(view, rules()) == Step()


def test_an_item_that_is_where_it_should_be_is_done() -> None:
    assert step(item(1, held(A, 0), target=(A,)), rules()).wait is None


def test_a_move_beyond_the_budget_waits_for_it() -> None:
    view = item(1, held(A, 0), target=(B,))
    done = step(view, rules(moves_left=0))
    assert done.edits == ()
    assert done.wait is not None
    assert done.wait.why is Why.BUDGET


def test_a_move_within_the_budget_adds_first_and_is_counted() -> None:
    view = item(1, held(A, 0), target=(B,))
    done = step(view, rules(moves_left=1))
    assert slots(view, done) == {A: 0, B: 1}
    assert (done.moves, done.in_flight) == ((B,), 1)


def test_an_item_that_has_no_place_in_the_plan_is_not_on_a_move() -> None:
    assert step(item(1, held(A, 0), target=()), rules()).in_flight == 0


def test_recovery_is_never_held_back_by_the_budget() -> None:
    view = item(2, held(A, 0), target=(A, B))
    done = step(view, rules(moves_left=0))
    assert slots(view, done) == {A: 0, B: 1}
    assert done.moves == ()


def test_no_move_begins_while_the_brake_is_on() -> None:
    done = step(item(1, held(A, 0), target=(B,)), rules(paused=True))
    assert done.edits == ()
    assert done.wait is not None
    assert done.wait.why is Why.PAUSED


def test_recovery_goes_on_while_the_brake_is_on() -> None:
    view = item(2, held(A, 0), target=(A, B))
    assert slots(view, step(view, rules(paused=True))) == {A: 0, B: 1}


def test_an_item_does_not_move_off_a_member_that_is_waited_for() -> None:
    view = item(1, held(A, 0, live=False, awaited=True, ready=False), target=(B,))
    done = step(view, rules())
    assert done.edits == ()
    assert done.wait is not None
    assert (done.wait.why, done.wait.members) == (Why.OUTAGE, (A,))


# ---- remove -------------------------------------------------------------------------------------


def test_entries_of_dead_members_are_dropped_and_replaced_at_once() -> None:
    view = item(2, held(A, 0), dead(B, 1), target=(A, C))
    assert slots(view, step(view, rules())) == {A: 0, C: 1}


def test_entries_of_a_member_that_is_waited_for_stay() -> None:
    view = item(2, held(A, 0), held(B, 1, live=False, awaited=True, ready=False), target=(A, B))
    done = step(view, rules())
    assert done.edits == ()
    assert done.wait is not None


def test_a_surplus_entry_goes_once_enough_ready_ones_stay() -> None:
    view = item(2, held(A, 0), held(B, 1), held(C, 2), target=(A, C))
    assert slots(view, step(view, rules())) == {A: 0, C: 2}


def test_a_surplus_entry_stays_while_its_replacement_is_not_ready() -> None:
    view = item(2, held(A, 0), held(B, 1), held(C, 2, ready=False), target=(A, C))
    done = step(view, rules())
    assert done.edits == ()
    assert done.wait is not None
    assert (done.wait.why, done.wait.members) == (Why.NOT_READY, (C,))


def test_what_is_added_in_a_step_does_not_count_as_ready_in_it() -> None:
    view = item(1, held(A, 0), target=(B,))
    assert A in after(view, step(view, rules()))


def test_one_that_is_not_ready_may_go_while_enough_ready_ones_stay() -> None:
    view = item(1, held(A, 0), held(B, 1, ready=False), target=(A,))
    assert slots(view, step(view, rules())) == {A: 0}


def test_an_item_may_be_taken_down_to_what_the_plan_gives_it_where_that_is_less_than_it_asks_for() -> None:
    view = item(3, held(A, 0), held(B, 1), held(C, 2), target=(A, B))
    assert slots(view, step(view, rules())) == {A: 0, B: 1}


def test_the_last_ready_replica_stays_although_the_plan_has_no_place_for_the_item() -> None:
    view = item(2, held(A, 0), target=())
    done = step(view, rules())
    assert A in after(view, done)
    assert done.wait is not None
    assert (done.wait.why, done.wait.members) == (Why.NO_PLACE, (A,))


def test_of_two_surplus_entries_the_fullest_member_is_relieved_first() -> None:
    view = item(2, held(A, 0), held(B, 1), held(C, 2), target=(D, A))
    done = step(view, rules(room=lambda _: 0, fullness=lambda m: {B: 0.2, C: 0.9}.get(m, 0.5)))
    assert [e for e in done.edits if e.entry is None] == [Edit(C, None)]


def test_entries_of_an_item_that_is_gone_are_all_taken_away() -> None:
    view = item(0, held(A, 0), held(B, 1, ready=False))
    assert after(view, step(view, rules())) == {}


def test_entries_of_an_item_that_is_gone_are_taken_away_while_the_brake_is_on() -> None:
    assert after(item(0, held(A, 0)), step(item(0, held(A, 0)), rules(paused=True))) == {}


def test_nothing_is_taken_away_from_an_item_while_the_brake_is_on() -> None:
    view = item(1, held(A, 0), held(B, 1), target=(A,))
    assert step(view, rules(paused=True)).edits == ()


def test_fewer_replicas_are_taken_away_at_once() -> None:
    view = item(1, held(A, 0), held(B, 1), held(C, 2), target=(A,))
    assert slots(view, step(view, rules())) == {A: 0}


# ---- slots --------------------------------------------------------------------------------------


def test_one_gap_in_the_slots_is_closed_a_step() -> None:
    view = item(3, held(A, 0), held(B, 3), held(C, 4), target=(A, B, C))
    done = step(view, rules())
    assert slots(view, done) == {A: 0, B: 3, C: 1}
    assert done.wait is not None


def test_a_slot_that_two_have_is_given_to_one() -> None:
    view = item(3, held(A, 0), held(B, 1), held(C, 1), target=(A, B, C))
    assert sorted(slots(view, step(view, rules())).values()) == [0, 1, 2]


def test_slots_stay_as_they_are_while_something_else_happens() -> None:
    view = item(2, held(A, 0), held(B, 3), target=(A, B, C))
    assert slots(view, step(view, rules()))[B] == 3


def test_closing_a_gap_needs_no_new_term() -> None:
    view = item(2, held(A, 0), held(B, 2), target=(A, B))
    assert after(view, step(view, rules()))[B] == Entry("x", 1, 10, 0)


def test_a_lower_claim_to_slot_0_is_promoted_anew_when_the_higher_one_goes_in_the_same_step() -> None:
    view = item(1, held(A, 0, epoch=15), held(B, 0, epoch=11), target=(B,))
    assert after(view, step(view, rules())) == {B: Entry("x", 0, 10, TERM)}
