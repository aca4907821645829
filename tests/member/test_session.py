import asyncio
from collections.abc import AsyncIterator

import pytest
from fakes import Recorder, until
from leader import MEMBERS, Leader

from berth import Outcome, Session
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def leader(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Leader]:
    async with Leader(control_plane, namespace) as leader:
        yield leader


@pytest.fixture
def worker() -> Recorder:
    return Recorder()


def session_of(worker: Recorder, leader: Leader, name: str = "w", **options: object) -> Session:
    settings = {"lease_seconds": 3.0, "limit": 10, "zone": "z", **options}
    return Session(worker, name=name, namespace=leader.namespace, kubeconfig=leader.kubeconfig, **settings)  # type: ignore[arg-type]


async def test_it_announces_a_member_under_a_lease_that_its_id_holds(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader) as session:
        member, lease = await leader.read(MEMBERS, "w"), await leader.lease("w")
        assert member is not None
        assert lease is not None
        assert member["spec"] == {
            "pool": "default", "zone": "z", "limit": 10, "leaseName": "w", "readiness": "Reported",
            "draining": False,
        }  # fmt: skip
        assert lease["spec"]["holderIdentity"] == session.id
        assert session.live


async def test_an_item_is_prepared_activated_handed_over_and_dropped(
    worker: Recorder, leader: Leader
) -> None:
    await leader.item("a", url="http://x")
    async with session_of(worker, leader) as session:
        await leader.give("w", "a#1@3")
        await leader.until_reported("w", "a@3=Ready")
        assert worker.seen["a"].data == {"url": "http://x"}
        await leader.give("w", "a#0@3:4")
        await leader.until_reported("w", "a@3=Active")
        await until(lambda: worker.log == ["prepare a", "activate a@4"])
        assert (await leader.status("w"))["session"] == session.id
        await leader.give("w", "a#1@3")
        await leader.until_reported("w", "a@3=Ready")
        await leader.give("w")
        await leader.until_reported("w")
        assert worker.log == ["prepare a", "activate a@4", "deactivate a", "drop a"]
        await leader.give("w", "a#1@9")
        await leader.until_reported("w", "a@9=Ready")


async def test_a_drain_sets_the_limit_to_0_and_withdraws_once_nothing_is_held(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader) as session:
        await leader.give("w", "a#0@3:4", "b#1@3")
        await leader.until_reported("w", "a@3=Active", "b@3=Ready")
        drain = asyncio.create_task(session.drain())
        await leader.until_limit("w", 0)
        assert not drain.done()
        await leader.give("w")
        assert await drain is Outcome.DRAINED
        assert await leader.read(MEMBERS, "w") is None
        assert await leader.lease("w") is None
    assert sorted(worker.log[-3:]) == ["deactivate a", "drop a", "drop b"]
