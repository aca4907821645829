"""The lanes by which changes of entries are counted."""

from __future__ import annotations

import pytest

from berth.kinds import Entry
from berth.pool import Lane
from berth.pool.changes import lane

REPLICA = Entry("a", 1, 3, 0)
PRIMARY = Entry("a", 0, 3, 4)


@pytest.mark.parametrize(
    ("before", "after", "is_move", "wanted"),
    [
        (None, REPLICA, False, Lane.RECOVERY),
        (None, PRIMARY, False, Lane.RECOVERY),
        (None, REPLICA, True, Lane.MOVE),
        (REPLICA, None, False, Lane.REMOVE),
        (REPLICA, PRIMARY, False, Lane.PROMOTE),
        (PRIMARY, REPLICA, False, Lane.DEMOTE),
        (REPLICA, REPLICA._replace(slot=2), False, Lane.SLOT),
        (REPLICA, REPLICA._replace(slot=2), True, Lane.SLOT),
        (REPLICA, REPLICA._replace(grant=5), False, Lane.SESSION),
        (PRIMARY, PRIMARY._replace(grant=5, epoch=5), False, Lane.SESSION),
        (PRIMARY, REPLICA._replace(grant=5), False, Lane.DEMOTE),
        (REPLICA, PRIMARY._replace(grant=5, epoch=5), False, Lane.PROMOTE),
    ],
)
def test_a_change_is_counted_by_what_it_is_for(
    before: Entry | None, after: Entry | None, is_move: bool, wanted: Lane
) -> None:
    assert lane(before, after, is_move=is_move) is wanted
