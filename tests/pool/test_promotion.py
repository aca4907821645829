"""The step rules, one sentence of behaviour each: who becomes the primary, and what a restart changes."""

from __future__ import annotations

from steps import TERM, A, B, C, D, after, dead, held, item, rules, slots

from berth.kinds import Entry
from berth.pool import Why
from berth.pool.rules import Edit, Holding, step

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
    view = item(2, held(A, 1), held(B, 2), target=(B, A))
    assert after(view, step(view, rules()))[B].primary
    view = item(3, held(A, 1), held(B, 2), target=(C, A, B))
    assert after(view, step(view, rules(primaries=lambda m: {A: 0.5, B: 0.1, C: 0.0}[m])))[B].primary


def test_slot_0_stays_where_it_is_although_the_plan_would_choose_another() -> None:
    view = item(2, held(A, 0), held(B, 1), target=(B, A))
    assert step(view, rules()).edits == ()


def test_active_balance_of_primaries_hands_slot_0_to_a_ready_holder() -> None:
    view = item(2, held(A, 0), held(B, 1), target=(B, A))
    done = step(view, rules(active_primaries=True))
    assert after(view, done) == {A: Entry("x", 2, 10, 0), B: Entry("x", 0, 10, TERM)}
    assert Edit(B, Entry("x", 0, 10, TERM), after=(A,)) in done.edits


def test_active_balance_of_primaries_leaves_one_that_is_not_ready_alone() -> None:
    view = item(2, held(A, 0), held(B, 1, ready=False), target=(B, A))
    assert step(view, rules(active_primaries=True)).edits == ()


def test_active_balance_of_primaries_rests_while_the_brake_is_on() -> None:
    view = item(2, held(A, 0), held(B, 1), target=(B, A))
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
    view = item(2, held(A, 0), held(B, 1), target=(B, A))
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
