"""The step rules, one sentence of behaviour each."""

from __future__ import annotations

from typing import Any

from berth.kinds import Entry
from berth.pool import Why
from berth.pool.rules import Edit, Holding, Rules, Step, View, step

A, B, C, D = range(4)
TERM = 20


def held(member: int, slot: int, **changes: Any) -> Holding:
    """An entry on a live Member, ready unless said otherwise."""
    epoch = 11 if slot == 0 else 0
    plain = Holding(member, slot, 10, epoch, ready=True, live=True, awaited=False, stopped=False)
    return plain._replace(**changes)


def dead(member: int, slot: int, **changes: Any) -> Holding:
    return held(member, slot, ready=False, live=False, stopped=True)._replace(**changes)


def item(replicas: int, *holdings: Holding, target: tuple[int, ...] = (), **changes: Any) -> View:
    view = View("x", replicas, holdings, target, target[0] if target else -1)
    return view._replace(**changes)


def rules(**changes: Any) -> Rules:
    plain = Rules(
        TERM, room=lambda _: 10, writable=lambda _: True, fullness=lambda _: 0.0, primaries=lambda _: 0.0
    )
    return plain._replace(**changes)


def after(view: View, done: Step) -> dict[int, Entry]:
    """The entries by Member as they are once the step is written."""
    entries = {h.member: Entry(view.name, h.slot, h.grant, h.epoch) for h in view.holdings}
    for edit in done.edits:
        if edit.entry is None:
            del entries[edit.member]
        else:
            entries[edit.member] = edit.entry
    return entries


def slots(view: View, done: Step) -> dict[int, int]:
    return {member: entry.slot for member, entry in after(view, done).items()}


# ---- add ----------------------------------------------------------------------------------------


def test_a_new_item_gets_all_its_replicas_and_its_primary_in_one_step() -> None:
    view = item(3, target=(B, A, C))
    done = step(view, rules())
    assert after(view, done) == {
        A: Entry("x", 1, TERM, 0),
        B: Entry("x", 0, TERM, TERM),
        C: Entry("x", 2, TERM, 0),
    }
    assert done.moves == 0


def test_nothing_is_added_on_a_member_without_room() -> None:
    view = item(2, held(A, 0), target=(A, B))
    done = step(view, rules(room=lambda m: 0 if m == B else 5))
    assert done.edits == ()
    assert done.wait is not None
    assert (done.wait.why, done.wait.members) == (Why.LIMIT, (B,))


def test_an_item_is_never_added_where_it_is_already() -> None:
    view = item(2, held(A, 0), held(B, 1), target=(A, B))
    assert step(view, rules()) == Step(done=True)


def test_an_item_that_is_where_it_should_be_is_done() -> None:
    assert step(item(1, held(A, 0), target=(A,)), rules()).done


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
    assert (done.moves, done.in_flight) == (1, 1)


def test_an_item_that_has_no_place_in_the_plan_is_not_on_a_move() -> None:
    assert step(item(1, held(A, 0), target=()), rules()).in_flight == 0


def test_recovery_is_never_held_back_by_the_budget() -> None:
    view = item(2, held(A, 0), target=(A, B))
    done = step(view, rules(moves_left=0))
    assert slots(view, done) == {A: 0, B: 1}
    assert done.moves == 0


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
    assert not done.done


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


# ---- promote ------------------------------------------------------------------------------------


def test_the_primary_moves_in_the_round_that_removes_the_old_one_and_after_its_write() -> None:
    view = item(1, held(A, 0), held(B, 1), target=(B,))
    done = step(view, rules())
    assert after(view, done) == {B: Entry("x", 0, 10, TERM)}
    assert Edit(B, Entry("x", 0, 10, TERM), after=(A,)) in done.edits


def test_a_promotion_after_a_death_waits_for_the_dead_ones_write_too() -> None:
    done = step(item(2, dead(A, 0), held(B, 1), target=(B, C)), rules())
    assert [e.after for e in done.edits if e.entry and e.entry.primary] == [(A,)]


def test_a_promotion_keeps_the_grant() -> None:
    view = item(1, held(B, 1, grant=7), target=(B,))
    assert after(view, step(view, rules()))[B] == Entry("x", 0, 7, TERM)


def test_a_ready_replica_is_promoted_before_one_that_is_not() -> None:
    view = item(2, held(A, 1, ready=False), held(B, 2), target=(A, B))
    assert after(view, step(view, rules()))[B].primary


def test_of_ready_replicas_the_plan_chooses_then_the_one_with_fewest_primaries() -> None:
    view = item(2, held(A, 1), held(B, 2), target=(A, B), primary=B)
    assert after(view, step(view, rules()))[B].primary
    view = view._replace(primary=-1)
    assert after(view, step(view, rules(primaries=lambda m: {A: 0.5, B: 0.1}[m])))[B].primary


def test_slot_0_stays_where_it_is_although_the_plan_would_choose_another() -> None:
    view = item(2, held(A, 0), held(B, 1), target=(B, A), primary=B)
    assert step(view, rules()).edits == ()


def test_active_balance_of_primaries_hands_slot_0_to_a_ready_holder() -> None:
    view = item(2, held(A, 0), held(B, 1), target=(B, A), primary=B)
    done = step(view, rules(active_primaries=True))
    assert after(view, done) == {A: Entry("x", 2, 10, 0), B: Entry("x", 0, 10, TERM)}
    assert Edit(B, Entry("x", 0, 10, TERM), after=(A,)) in done.edits


def test_active_balance_of_primaries_leaves_one_that_is_not_ready_alone() -> None:
    view = item(2, held(A, 0), held(B, 1, ready=False), target=(B, A), primary=B)
    assert step(view, rules(active_primaries=True)).edits == ()


def test_active_balance_of_primaries_rests_while_the_brake_is_on() -> None:
    view = item(2, held(A, 0), held(B, 1), target=(B, A), primary=B)
    assert step(view, rules(active_primaries=True, paused=True)).edits == ()


def test_of_two_claims_to_slot_0_the_higher_epoch_holds_it() -> None:
    view = item(2, held(A, 0, epoch=11), held(B, 0, epoch=12), target=(A, B))
    assert after(view, step(view, rules()))[B].primary
    assert not after(view, step(view, rules()))[A].primary


def test_a_primary_that_is_waited_for_keeps_slot_0() -> None:
    view = item(2, held(A, 0, live=False, awaited=True, ready=False), held(B, 1), target=(A, B))
    assert step(view, rules()).edits == ()


def test_nobody_is_promoted_for_an_item_without_replicas() -> None:
    view = item(0, held(A, 1), held(B, 2))
    assert after(view, step(view, rules())) == {}


# ---- promote under Exclusive --------------------------------------------------------------------


def test_exclusive_removes_the_old_primary_before_it_promotes() -> None:
    view = item(1, held(A, 0), held(B, 1), target=(B,))
    done = step(view, rules(exclusive=True))
    assert slots(view, done) == {B: 1}
    assert done.wait is not None
    assert (done.wait.why, done.wait.members) == (Why.RELEASE, (A,))


def test_exclusive_waits_for_whoever_may_still_work() -> None:
    view = item(1, held(B, 1), target=(B,), unreleased=(A,))
    done = step(view, rules(exclusive=True))
    assert done.edits == ()
    assert done.wait is not None
    assert done.wait.why is Why.RELEASE


def test_exclusive_waits_for_one_that_is_no_member_any_more() -> None:
    done = step(item(1, held(B, 1), target=(B,), unreleased=(-1,)), rules(exclusive=True))
    assert done.edits == ()


def test_exclusive_promotes_once_all_have_released() -> None:
    view = item(1, held(B, 1), target=(B,))
    assert slots(view, step(view, rules(exclusive=True))) == {B: 0}


def test_exclusive_gives_slot_0_back_to_the_one_that_has_not_released_it() -> None:
    view = item(1, held(A, 1), target=(A,), unreleased=(A,))
    assert slots(view, step(view, rules(exclusive=True))) == {A: 0}


def test_exclusive_leaves_the_entry_of_a_dead_primary_until_it_has_surely_stopped() -> None:
    view = item(2, dead(A, 0, stopped=False), held(B, 1), target=(B, C))
    done = step(view, rules(exclusive=True))
    assert slots(view, done) == {A: 0, B: 1, C: 2}
    assert done.wait is not None
    assert (done.wait.why, done.wait.members) == (Why.RELEASE, (A,))


def test_exclusive_drops_a_dead_primary_that_has_surely_stopped_and_promotes_after_it() -> None:
    view = item(2, dead(A, 0), held(B, 1), target=(B, C))
    done = step(view, rules(exclusive=True))
    assert slots(view, done) == {B: 0, C: 1}
    assert [e.after for e in done.edits if e.entry and e.entry.primary] == [(A,)]


def test_exclusive_demotes_for_balance_first_and_promotes_later() -> None:
    view = item(2, held(A, 0), held(B, 1), target=(B, A), primary=B)
    done = step(view, rules(exclusive=True, active_primaries=True))
    assert slots(view, done) == {A: 2, B: 1}


def test_overlap_does_not_wait_for_a_release() -> None:
    view = item(1, held(B, 1), target=(B,), unreleased=(A,))
    assert slots(view, step(view, rules())) == {B: 0}


# ---- a process that was started again -----------------------------------------------------------


def restarted(member: int, slot: int) -> Holding:
    return held(member, slot, ready=False, restarted=True)


def test_a_primary_that_was_started_again_gets_a_new_grant_and_a_new_epoch() -> None:
    view = item(1, restarted(A, 0), target=(A,))
    for exclusive in (False, True):
        done = step(view, rules(exclusive=exclusive))
        assert done.edits == (Edit(A, Entry("x", 0, TERM, TERM)),)


def test_a_ready_replica_is_promoted_instead_after_the_write_of_the_one_that_was_started_again() -> None:
    view = item(2, restarted(A, 0), held(B, 1), target=(A, B))
    done = step(view, rules())
    assert done.edits == (Edit(A, Entry("x", 2, TERM, 0)), Edit(B, Entry("x", 0, 10, TERM), (A,)))


def test_a_replica_that_is_not_ready_is_no_reason_to_move_slot_0() -> None:
    view = item(2, restarted(A, 0), held(B, 1, ready=False), target=(B, A))
    assert after(view, step(view, rules())) == {A: Entry("x", 0, TERM, TERM), B: Entry("x", 1, 10, 0)}


def test_exclusive_promotes_instead_only_after_what_the_new_process_says_is_known() -> None:
    """It may be of an older version, and work with what the one before it was given."""
    view = item(2, restarted(A, 0), held(B, 1), target=(A, B))
    done = step(view, rules(exclusive=True))
    assert after(view, done) == {A: Entry("x", 2, TERM, 0), B: Entry("x", 1, 10, 0)}
    assert done.wait is not None
    assert (done.wait.why, done.wait.members) == (Why.RELEASE, (A,))


def test_the_brake_does_not_hold_new_entries_back() -> None:
    view = item(2, restarted(A, 0), restarted(B, 1), target=(C, D))
    assert after(view, step(view, rules(paused=True))) == {
        A: Entry("x", 0, TERM, TERM),
        B: Entry("x", 1, TERM, 0),
    }


def test_what_was_started_again_does_not_count_as_ready_when_others_leave() -> None:
    view = item(2, held(A, 0), held(B, 1), restarted(C, 2), target=(A, C))
    done = step(view, rules())
    assert slots(view, done) == {A: 0, B: 1, C: 2}


# ---- slots --------------------------------------------------------------------------------------


def test_one_gap_in_the_slots_is_closed_a_step() -> None:
    view = item(3, held(A, 0), held(B, 3), held(C, 4), target=(A, B, C))
    done = step(view, rules())
    assert slots(view, done) == {A: 0, B: 3, C: 1}
    assert not done.done


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
