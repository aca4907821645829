from typing import Any

import pytest
from pydantic import ValidationError

from berth.kinds import (
    API_VERSION,
    PLURALS,
    Assignment,
    Handoff,
    Item,
    ItemStatusMode,
    Member,
    Pool,
    PoolSpec,
    PrimaryBalance,
    Readiness,
    ZonePolicy,
)
from berth.kinds.crds import RESOURCES


def test_an_empty_item_spec_has_the_defaults() -> None:
    item = Item.model_validate({"apiVersion": API_VERSION, "kind": "Item", "metadata": {"name": "a"}})
    assert (item.spec.pool, item.spec.replicas, item.spec.data) == ("default", 1, {})


def test_a_member_needs_only_its_limit() -> None:
    spec = Member.model_validate({"spec": {"limit": 7}}).spec
    assert (spec.pool, spec.zone, spec.limit, spec.draining) == ("default", "", 7, False)
    assert (spec.lease_name, spec.readiness) == (None, Readiness.ASSUMED)


def test_an_empty_pool_spec_has_the_defaults() -> None:
    spec = Pool.model_validate({"metadata": {"name": "default"}}).spec
    assert spec == PoolSpec()
    assert (spec.handoff, spec.zones, spec.item_status) == (
        Handoff.OVERLAP,
        ZonePolicy.SPREAD,
        ItemStatusMode.FULL,
    )
    assert (spec.balance.tolerance_percent, spec.balance.primaries) == (0, PrimaryBalance.PROMOTION)
    assert spec.moves.max_in_flight is None
    outage = spec.outage
    assert (outage.delay_seconds, outage.brake_percent, outage.brake_min_members) == (0, 55, 10)


def test_a_dump_by_alias_equals_the_wire_format() -> None:
    written = {
        "apiVersion": API_VERSION,
        "kind": "Pool",
        "metadata": {"name": "feeds", "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": []},
        "spec": {"handoff": "Exclusive", "outage": {"delaySeconds": 30}},
        "status": {"term": 3},
    }
    pool = Pool.model_validate(written)
    assert pool.model_dump(mode="json", by_alias=True, exclude_unset=True) == written


@pytest.mark.parametrize(
    ("model", "spec", "field"),
    [
        (Item, {"replicas": 33}, "spec.replicas"),
        (Item, {"replicas": -1}, "spec.replicas"),
        (Item, {"replicas": "3"}, "spec.replicas"),
        (Item, {"replicas": True}, "spec.replicas"),
        (Item, {"pool": "Not_A_Label"}, "spec.pool"),
        (Item, {"pool": "a" * 64}, "spec.pool"),
        (Item, {"pool": "a\n"}, "spec.pool"),
        (Item, {"data": {str(key): "" for key in range(65)}}, "spec.data"),
        (Item, {"data": {"k": "x" * 4097}}, "spec.data.k"),
        (Item, {"data": {"k": "ü" * 2049}}, "spec.data.k"),
        (Item, {"data": {"k": 1}}, "spec.data.k"),
        (Item, {"replica": 3}, "spec.replica"),
        (Member, {}, "spec.limit"),
        (Member, {"limit": 4097}, "spec.limit"),
        (Member, {"limit": 1, "zone": "a b"}, "spec.zone"),
        (Member, {"limit": 1, "leaseName": ""}, "spec.leaseName"),
        (Member, {"limit": 1, "readiness": "Maybe"}, "spec.readiness"),
        (Member, {"limit": 1, "draining": "yes"}, "spec.draining"),
        (Assignment, {"pool": "default"}, "spec.term"),
        (Assignment, {"pool": "default", "term": 0}, "spec.term"),
        (Assignment, {"pool": "default", "term": 1, "items": ["a#0@1"]}, "spec.items.0"),
        (Pool, {"handoff": "exclusive"}, "spec.handoff"),
        (Pool, {"balance": {"tolerancePercent": 101}}, "spec.balance.tolerancePercent"),
        (Pool, {"outage": {"delaySeconds": -1}}, "spec.outage.delaySeconds"),
        (Pool, {"outage": {"brakePercent": 101}}, "spec.outage.brakePercent"),
        (Pool, {"moves": {"maxInFlight": -1}}, "spec.moves.maxInFlight"),
    ],
)
def test_the_models_refuse_what_the_api_server_refuses(
    model: type[Any], spec: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"metadata": {"name": "a"}, "spec": spec})
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [field]


@pytest.mark.parametrize("name", ["a.b", "a" * 64])
def test_a_pool_that_nothing_could_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"metadata\.name"):
        Pool.model_validate({"metadata": {"name": name}})


@pytest.mark.parametrize("model", [Item, Member, Assignment])
@pytest.mark.parametrize("name", ["A", "a#1", "a@1", "a:1", "a=1", "a" * 254, "a..b"])
def test_a_name_that_no_entry_could_hold_is_refused(model: type[Any], name: str) -> None:
    spec = {"pool": "default", "term": 1} if model is Assignment else {"pool": "default"}
    if model is Member:
        spec = {"limit": 1}
    with pytest.raises(ValidationError, match=r"metadata\.name"):
        model.model_validate({"metadata": {"name": name}, "spec": spec})


def test_an_object_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="kind"):
        Item.model_validate({"kind": "Member"})
    with pytest.raises(ValidationError, match="apiVersion"):
        Item.model_validate({"apiVersion": "berth.dev/v2", "kind": "Item"})


def test_a_status_of_a_newer_version_is_read() -> None:
    member = Member.model_validate({"spec": {"limit": 1}, "status": {"items": 3, "new": True}})
    assert member.status is not None
    assert member.status.items == 3


def test_every_kind_has_a_plural() -> None:
    assert {model.about.name for model in RESOURCES} == set(PLURALS)
