import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.kinds import Entry, Phase
from berth.member.steps import MAYBE_PRIMARY, Position, Stage, Step, next_step, phase, superseded

REPLICA = Entry("a", 1, 5, 0)
PRIMARY = Entry("a", 0, 5, 8)
LATER_PRIMARY = Entry("a", 0, 5, 9)
GIVEN_AGAIN = Entry("a", 1, 7, 0)


@pytest.mark.parametrize(
    ("at", "target", "step"),
    [
        (Position(Stage.ABSENT, 0), None, None),
        (Position(Stage.ABSENT, 0), REPLICA, Step.PREPARE),
        (Position(Stage.PREPARING, 5), REPLICA, Step.PREPARE),
        (Position(Stage.PREPARING, 5), None, Step.DROP),
        (Position(Stage.PREPARED, 5), REPLICA, None),
        (Position(Stage.PREPARED, 5), PRIMARY, Step.ACTIVATE),
        (Position(Stage.PREPARED, 5), GIVEN_AGAIN, Step.DROP),
        (Position(Stage.PREPARED, 5, stale=True), PRIMARY, Step.PREPARE),
        (Position(Stage.ACTIVATING, 5, 8), PRIMARY, Step.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8), PRIMARY, None),
        (Position(Stage.ACTIVE, 5, 8), LATER_PRIMARY, Step.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8), REPLICA, Step.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8), None, Step.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8), GIVEN_AGAIN, Step.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8, lost=True), PRIMARY, Step.DEACTIVATE),
        (Position(Stage.ACTIVE, 5, 8, stale=True), PRIMARY, Step.DEACTIVATE),
        (Position(Stage.DEACTIVATING, 5, 8), PRIMARY, Step.DEACTIVATE),
        (Position(Stage.PREPARED, 5, lost=True), PRIMARY, Step.DROP),
    ],
)
def test_the_next_step_is(at: Position, target: Entry | None, step: Step | None) -> None:
    assert next_step(at, target) is step


positions = st.builds(
    Position,
    stage=st.sampled_from(Stage),
    grant=st.sampled_from([5, 7]),
    epoch=st.sampled_from([8, 9]),
    lost=st.booleans(),
    stale=st.booleans(),
)
targets = st.none() | st.sampled_from([REPLICA, PRIMARY, LATER_PRIMARY, GIVEN_AGAIN, Entry("a", 0, 7, 9)])


def after(at: Position, step: Step, target: Entry | None) -> Position:
    """Where a step that goes well leads to."""
    match step:
        case Step.PREPARE:
            assert target is not None
            return Position(Stage.PREPARED, target.grant)
        case Step.ACTIVATE:
            assert target is not None
            return Position(Stage.ACTIVE, at.grant, target.epoch)
        case Step.DEACTIVATE:
            return Position(Stage.PREPARED, at.grant, at.epoch, at.lost, at.stale)
        case Step.DROP:
            return Position(Stage.ABSENT, 0)


@given(positions, targets)
def test_every_position_leads_to_the_target_in_four_steps_or_fewer(
    at: Position, target: Entry | None
) -> None:
    taken: list[Step] = []
    while (step := next_step(at, target)) is not None:
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
    said = phase(at, target, failed)
    if at.stage in MAYBE_PRIMARY and not at.lost:
        assert said is not None
        if target is not None:
            assert said is Phase.ACTIVE
    if said is None:
        assert at.stage is Stage.ABSENT
        assert target is None


@given(positions, targets)
def test_a_callback_that_ends_something_is_never_cancelled(at: Position, target: Entry | None) -> None:
    assert not superseded(Step.DEACTIVATE, at, target)
    assert not superseded(Step.DROP, at, target)


@given(positions, targets)
def test_nothing_is_reported_as_ready_for_a_session_that_has_ended(
    at: Position, target: Entry | None
) -> None:
    if at.lost:
        assert phase(at, target, False) not in (Phase.READY, Phase.ACTIVE)
