from berth.member.worker import Tenure


class Lease:
    def __init__(self) -> None:
        self.seconds = 10.0

    def __call__(self) -> float:
        return self.seconds


def test_it_is_valid_as_long_as_the_lease_cannot_have_expired() -> None:
    lease = Lease()
    tenure = Tenure(lease)
    assert tenure.valid()
    assert tenure.left == 10.0
    lease.seconds = 0.0
    assert not tenure.valid()


def test_once_it_was_found_to_have_ended_a_later_renewal_does_not_revive_it() -> None:
    lease = Lease()
    tenure = Tenure(lease)
    lease.seconds = -3.0
    assert not tenure.valid()
    lease.seconds = 10.0
    assert not tenure.valid()
    assert tenure.left == 0.0


def test_it_can_be_ended_before_the_lease() -> None:
    tenure = Tenure(Lease())
    tenure.end()
    assert not tenure.valid()
