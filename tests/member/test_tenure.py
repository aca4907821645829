from berth.member.tenure import Tenure


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_it_is_valid_until_its_deadline_and_an_extension_in_time_moves_it() -> None:
    clock = Clock()
    tenure = Tenure(110.0, clock)
    clock.time = 109.9
    assert tenure.valid()
    assert tenure.extend(120.0)
    clock.time = 119.9
    assert tenure.valid()
    clock.time = 120.0
    assert not tenure.valid()


def test_a_process_that_slept_past_the_deadline_finds_out_at_its_first_look() -> None:
    clock = Clock()
    tenure = Tenure(110.0, clock)
    clock.time = 500.0
    assert not tenure.valid()
    assert tenure.left == 0.0


def test_a_renewal_that_comes_after_the_deadline_does_not_bring_it_back() -> None:
    clock = Clock()
    tenure = Tenure(110.0, clock)
    clock.time = 110.5
    assert not tenure.extend(125.0)
    assert not tenure.valid()


def test_once_ended_it_stays_ended_whatever_the_clock_says() -> None:
    clock = Clock()
    tenure = Tenure(110.0, clock)
    clock.time = 111.0
    assert not tenure.valid()
    clock.time = 105.0
    assert not tenure.valid()
    assert not tenure.extend(130.0)


def test_an_extension_never_shortens_it() -> None:
    clock = Clock()
    tenure = Tenure(110.0, clock)
    assert tenure.extend(104.0)
    assert tenure.until == 110.0
