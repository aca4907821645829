import asyncio
import json
import ssl
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from informer_log import Log
from kubernetes import client as official
from kubernetes import config as official_config
from waiting import until

from berth.kube import (
    Backoff,
    Client,
    Config,
    Conflict,
    Decoder,
    Forbidden,
    Gone,
    Informer,
    Invalid,
    Meta,
    NotFound,
    Resource,
    load_config,
)
from berth.testing import ControlPlane

CONFIG_MAPS = Resource("", "v1", "configmaps")

pytestmark = pytest.mark.cluster


class ConfigMap(msgspec.Struct, frozen=True, gc=False):
    metadata: Meta
    data: dict[str, str] = {}


class Written(msgspec.Struct):
    metadata: Meta

    @property
    def version(self) -> int:
        return int(self.metadata.resource_version)


@pytest.fixture
async def client(config: Config) -> AsyncIterator[Client]:
    async with Client(config) as client:
        yield client


def body(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"kind": data.pop("kind", "plain")}}, "data": data}


async def create(client: Client, namespace: str, *names: str, **data: str) -> list[Written]:
    path = CONFIG_MAPS.path(namespace)
    return await asyncio.gather(*(client.create(path, body(name, **data), type=Written) for name in names))


def names(informer: Informer[ConfigMap]) -> set[str]:
    return {name for _, name in informer.store}


def kubectl_view(control_plane: ControlPlane, namespace: str) -> dict[str, str]:
    """Names and versions as kubectl sees them."""
    items = json.loads(control_plane.kubectl("get", "configmaps", "-n", namespace, "-o", "json"))["items"]
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


async def test_the_store_is_what_kubectl_sees_after_any_order_of_writes(
    control_plane: ControlPlane, client: Client, namespace: str
) -> None:
    await create(client, namespace, *(f"old-{i}" for i in range(23)))
    log = Log()
    informer = Informer(
        client,
        CONFIG_MAPS,
        ConfigMap,
        namespace,
        page_size=5,
        on_event=log.on_event,
    )
    async with informer:
        await informer.synced()
        assert len(informer.store) == 23
        assert len(log.events) == 23
        written = await create(client, namespace, *(f"new-{i}" for i in range(20)))
        for i in range(0, 20, 2):
            path = CONFIG_MAPS.path(namespace, f"new-{i}")
            written.append(await client.patch(path, {"data": {"x": "1"}}, "merge", type=Written))
            await client.delete(CONFIG_MAPS.path(namespace, f"old-{i}"))
        written += await create(client, namespace, "last")
        await informer.wait_for(max(one.version for one in written))
        view = await asyncio.to_thread(kubectl_view, control_plane, namespace)
        store = {name: cm.metadata.resource_version for (_, name), cm in informer.store.items()}
        assert store == view
        assert informer.failures == 0
    assert log.events.count(("DELETED", "old-0")) == 1
    assert log.events.index(("ADDED", "new-0")) < log.events.index(("MODIFIED", "new-0"))


async def test_an_object_of_the_official_client_is_in_the_store_once_its_version_was_reached(
    control_plane: ControlPlane, client: Client, namespace: str
) -> None:
    api = official.CoreV1Api(official_config.new_client_from_config(str(control_plane.kubeconfig)))
    async with Informer(client, CONFIG_MAPS, ConfigMap, namespace) as informer:
        await informer.synced()
        for i in range(20):
            manifest = {"metadata": {"name": f"own-{i}"}, "data": {"i": str(i)}}
            made = await asyncio.to_thread(api.create_namespaced_config_map, namespace, manifest)
            await asyncio.wait_for(informer.wait_for(made.metadata.resource_version), 20)
            assert informer.resource_version >= int(made.metadata.resource_version)
            assert informer.store[namespace, f"own-{i}"].data == {"i": str(i)}
    await asyncio.to_thread(api.api_client.close)


async def test_all_namespaces_and_selectors(client: Client, namespace: str) -> None:
    everywhere = Informer(client, CONFIG_MAPS, ConfigMap)
    one = Informer(client, CONFIG_MAPS, ConfigMap, namespace, field_selector="metadata.name=b")
    async with everywhere, one:
        await asyncio.gather(everywhere.synced(), one.synced())
        await create(client, namespace, "a", kind="red")
        (last,) = await create(client, namespace, "b", kind="blue")
        await everywhere.wait_for(last.version)
        assert {(namespace, "a"), (namespace, "b")} <= set(everywhere.store)
        await one.wait_for(last.version)
        assert names(one) == {"b"}
    red = await client.list(
        CONFIG_MAPS.path(namespace), {"labelSelector": "kind in (red,crimson)"}, type=ConfigMap
    )
    assert [config_map.metadata.name for config_map in red] == ["a"]


async def test_after_a_cut_the_watch_catches_up_without_listing_again(
    client: Client, proxy: Any, config: Config, namespace: str
) -> None:
    await create(client, namespace, "deleted", "changed", "kept")
    lists: list[int] = []

    def count(verb: str, resource: str, code: int, seconds: float) -> None:
        if verb == "GET" and code == 200:
            lists.append(code)

    async with Client(proxy.config(config), on_request=count) as through:
        informer = Informer(through, CONFIG_MAPS, ConfigMap, namespace, backoff=Backoff(0.05, 0.3))
        async with informer:
            await informer.synced()
            proxy.cut(refuse=True)
            await client.delete(CONFIG_MAPS.path(namespace, "deleted"))
            await client.patch(CONFIG_MAPS.path(namespace, "changed"), {"data": {"x": "2"}}, "merge")
            (last,) = await create(client, namespace, "new")
            await until(lambda: informer.failures >= 2)
            assert names(informer) == {"deleted", "changed", "kept"}
            proxy.allow()
            await asyncio.wait_for(informer.wait_for(last.version), 30)
            assert names(informer) == {"changed", "kept", "new"}
            assert informer.store[namespace, "changed"].data == {"x": "2"}
    assert len(lists) == 1


def forget(control_plane: ControlPlane, revision: int) -> None:
    """Compact etcd up to a revision and restart the API server, so that its cache is empty too."""
    pair, port = control_plane._running.credentials.api, control_plane._running.ports.etcd
    context = ssl.create_default_context(cafile=str(control_plane.ca_file))
    context.load_cert_chain(pair.certificate, pair.key)
    request = urllib.request.Request(
        f"https://127.0.0.1:{port}/v3/kv/compaction",
        data=json.dumps({"revision": revision, "physical": True}).encode(),
    )
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        assert answer.status == 200
    control_plane.restart_api_server()


async def test_after_a_version_that_the_server_has_forgotten_a_list_reports_deletions(
    control_plane: ControlPlane, client: Client, proxy: Any, config: Config, namespace: str
) -> None:
    path = CONFIG_MAPS.path(namespace)
    await create(client, namespace, "deleted", "reborn", "kept")
    log = Log()
    async with Client(proxy.config(config)) as through:
        informer = Informer(
            through,
            CONFIG_MAPS,
            ConfigMap,
            namespace,
            backoff=Backoff(0.05, 0.3),
            on_event=log.on_event,
        )
        async with informer:
            await informer.synced()
            log.events.clear()
            proxy.cut(refuse=True)
            page = await client.get(path, {"limit": 1})
            await client.delete(CONFIG_MAPS.path(namespace, "deleted"))
            await client.delete(CONFIG_MAPS.path(namespace, "reborn"))
            made = await create(client, namespace, "reborn", "new")
            await asyncio.to_thread(forget, control_plane, max(one.version for one in made))
            with pytest.raises(Gone):
                await client.get(path, {"limit": 1, "continue": page["metadata"]["continue"]})
            proxy.allow()
            await until(lambda: names(informer) == {"kept", "reborn", "new"})
            (last,) = await create(client, namespace, "after")
            await asyncio.wait_for(informer.wait_for(last.version), 30)
            assert "after" in names(informer)
    seen = [event for event in log.events if event[1] != "after"]
    assert sorted(seen) == [
        ("ADDED", "new"),
        ("ADDED", "reborn"),
        ("DELETED", "deleted"),
        ("DELETED", "reborn"),
    ]
    assert seen.index(("DELETED", "reborn")) < seen.index(("ADDED", "reborn"))


async def test_an_api_server_that_was_killed_and_came_back_costs_nothing_but_time(
    control_plane: ControlPlane, client: Client, namespace: str
) -> None:
    await create(client, namespace, "a", "b")
    async with Informer(client, CONFIG_MAPS, ConfigMap, namespace, backoff=Backoff(0.1, 1.0)) as informer:
        await informer.synced()
        await asyncio.to_thread(control_plane.kill)
        await until(lambda: informer.failures >= 1)
        await asyncio.to_thread(control_plane.start_api_server)
        await client.delete(CONFIG_MAPS.path(namespace, "a"))
        (last,) = await create(client, namespace, "c")
        await asyncio.wait_for(informer.wait_for(last.version), 40)
        assert names(informer) == {"b", "c"}


async def test_a_frozen_api_server_is_noticed_and_the_watch_resumed(
    control_plane: ControlPlane, client: Client, config: Config, namespace: str
) -> None:
    await create(client, namespace, "a")
    options: dict[str, Any] = {"inactivity": 1.0, "backoff": Backoff(0.1, 0.5)}
    async with (
        Client(config, timeout=1.0) as impatient,
        Informer(impatient, CONFIG_MAPS, ConfigMap, namespace, **options) as informer,
    ):
        await informer.synced()
        control_plane.pause()
        try:
            await until(lambda: informer.failures >= 2)
        finally:
            control_plane.resume()
        (last,) = await create(client, namespace, "b")
        await asyncio.wait_for(informer.wait_for(last.version), 30)
        assert names(informer) == {"a", "b"}


async def test_missing_rights_are_reported_and_the_informer_starts_once_they_are_granted(
    control_plane: ControlPlane, client: Client, namespace: str
) -> None:
    token = await asyncio.to_thread(control_plane.token, namespace, "worker")
    limited = load_config(control_plane.kubeconfig_for(token, namespace))
    assert limited.namespace == namespace
    async with Client(limited) as poor:
        with pytest.raises(Forbidden, match="configmaps"):
            await poor.create(CONFIG_MAPS.path(namespace), body("x"))
        async with Informer(poor, CONFIG_MAPS, ConfigMap, namespace, backoff=Backoff(0.1, 0.5)) as informer:
            await until(lambda: informer.failures >= 2)
            assert informer.resource_version == 0
            rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace
            rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]
            await client.create(f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": rules})
            binding = {
                "metadata": {"name": "reader"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
                "subjects": [{"kind": "ServiceAccount", "name": "worker", "namespace": namespace}],
            }
            await client.create(f"{rbac}/rolebindings", binding)
            (last,) = await create(client, namespace, "y")
            await asyncio.wait_for(informer.synced(), 30)
            await asyncio.wait_for(informer.wait_for(last.version), 30)
            with pytest.raises(Forbidden):
                await poor.create(CONFIG_MAPS.path(namespace), body("x"))


async def test_preconditions_and_patches_answer_as_the_design_relies_on(
    client: Client, namespace: str
) -> None:
    path = CONFIG_MAPS.path(namespace, "a")
    made = await client.create(CONFIG_MAPS.path(namespace), body("a", v="1"))
    with pytest.raises(Conflict) as exists:
        await client.create(CONFIG_MAPS.path(namespace), body("a"))
    assert exists.value.reason == "AlreadyExists"
    test = [
        {"op": "test", "path": "/data/v", "value": "1"},
        {"op": "replace", "path": "/data/v", "value": "2"},
    ]
    assert (await client.patch(path, test))["data"] == {"v": "2"}
    with pytest.raises(Invalid):
        await client.patch(path, test)
    made["data"] = {"v": "stale"}
    with pytest.raises(Conflict) as stale:
        await client.update(path, made)
    assert stale.value.reason == "Conflict"
    await client.create(CONFIG_MAPS.path(namespace), body("b", v="1"))
    assert len(await client.list(CONFIG_MAPS.path(namespace), type=ConfigMap)) == 2
    pages = client.pages(CONFIG_MAPS.path(namespace), None, Decoder(ConfigMap), limit=1)
    assert [(first, len(page)) async for first, page, _, _ in pages] == [(True, 1), (False, 1)]
    wrong = {"preconditions": {"uid": "not-this-one"}}
    with pytest.raises(Conflict):
        await client.delete(path, body=wrong)
    await client.delete(path)
    with pytest.raises(NotFound):
        await client.get(path)
