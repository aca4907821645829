import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.kinds import Entry, Phase
from berth.member.steps import MAYBE_PRIMARY, Callback, Position, Stage, next_callback, phase, superseded

REPLICA = Entry("a", 1, 5, 0)
PRIMARY = Entry("a", 0, 5, 8)
LATER_PRIMARY = Entry("a", 0, 5, 9)
GIVEN_AGAIN = Entry("a", 1, 7, 0)


@pytest.mark.parametrize(
    ("at", "target", "step"),
    [
        (Position(Stage.ABSENT, 0), None, None),
        (Position(Stage.ABSENT, 0), REPLICA, Callback.PREPARE),
        (Position(Stage.PREPARING, 5), REPLICA, Callback.PREPARE),
        (Position(Stage.PREPARING, 5), None, Callback.DROP),
        (Position(Stage.PREPARED, 5), REPLICA, None),
        (Position(Stage.PREPARED, 5), PRIMARY, Callback.ACTIVATE),
        (Position(Stage.PREPARED, 5), GIVEN_AGAIN, Callback.DROP),
        (Position(Stage.PREPARED, 5, stale=True), PRIMARY, Callback.PREPARE),
        (Position(Stage.ACTIVATING, 5, 8), PRIMARY, Callback.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8), PRIMARY, None),
        (Position(Stage.ACTIVE, 5, 8), LATER_PRIMARY, Callback.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8), REPLICA, Callback.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8), None, Callback.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8), GIVEN_AGAIN, Callback.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8, lost=True), PRIMARY, Callback.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8, stale=True), PRIMARY, Callback.DEACTIVATE),
        (Position(Stage.DEACTIVATING, 5, 8), PRIMARY, Callback.DEACTIVATE),
        (Position(Stage.PREPARED, 5, lost=True), PRIMARY, Callback.DROP),
    ],
)
def test_the_next_step_is(at: Position, target: Entry | None, step: Callback | None) -> None:
    assert next_callback(at, target) is step


positions = st.builds(
    Position,
    stage=st.sampled_from(Stage),
    grant=st.sampled_from([5, 7]),
    epoch=st.sampled_from([8, 9]),
    lost=st.booleans(),
    stale=st.booleans(),
)
targets = st.none() | st.sampled_from([REPLICA, PRIMARY, LATER_PRIMARY, GIVEN_AGAIN, Entry("a", 0, 7, 9)])


def after(at: Position, step: Callback, target: Entry | None) -> Position:
    """Where a step that goes well leads to."""
    match step:
        case Callback.PREPARE:
            assert target is not None
            return Position(Stage.PREPARED, target.grant)
        case Callback.ACTIVATE:
            assert target is not None
            return Position(Stage.ACTIVE, at.grant, target.epoch)
        case Callback.DEACTIVATE:
            return Position(Stage.PREPARED, at.grant, at.epoch, at.lost, at.stale)
        case Callback.DROP:
            return Position(Stage.ABSENT, 0)


@given(positions, targets)
def test_every_position_leads_to_the_target_in_four_steps_or_fewer(
    at: Position, target: Entry | None
) -> None:
    taken: list[Callback] = []
    while (step := next_callback(at, target)) is not None:
        taken.append(step)
        at = after(at, step, target)
        assert len(taken) <= 4, taken
    if target is None:
        assert at.stage is Stage.ABSENT
    else:
        assert at.grant == target.grant
        assert at.stage is (Stage.ACTIVE if target.primary else Stage.PREPARED)


@given(positions, targets, st.booleans())
def test_an_item_that_may_be_worked_on_as_primary_never_looks_released(
    at: Position, target: Entry | None, failed: bool
) -> None:
    """Gone from spec, it is listed in some phase; where an entry stands, it is listed as Active."""
    reported = phase(at, target, failed)
    if at.stage in MAYBE_PRIMARY and not at.lost:
        assert reported is not None
        if target is not None:
            assert reported is Phase.ACTIVE
    if reported is None:
        assert at.stage is Stage.ABSENT
        assert target is None


@given(positions, targets)
def test_a_callback_that_ends_something_is_never_cancelled(at: Position, target: Entry | None) -> None:
    assert not superseded(Callback.DEACTIVATE, at, target)
    assert not superseded(Callback.DROP, at, target)


@given(positions, targets)
def test_nothing_is_reported_as_ready_for_a_session_that_has_ended(
    at: Position, target: Entry | None
) -> None:
    if at.lost:
        assert phase(at, target, False) not in (Phase.READY, Phase.ACTIVE)
