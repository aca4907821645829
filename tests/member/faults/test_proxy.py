"""The proxy of the fault run does what its modes promise."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from waiting import until

from berth.kube import ApiError, Client, Decoder, Resource, load_config
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster

CONFIG_MAPS = Resource("", "v1", "configmaps")
SetMode = Callable[..., Awaitable[None]]


@pytest.fixture
async def proxy(control_plane: ControlPlane) -> AsyncIterator[asyncio.subprocess.Process]:
    program = str(Path(__file__).parent / "fault_proxy.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, str(control_plane.kubeconfig), "w",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    yield process
    process.kill()
    await process.wait()


@pytest.fixture
def set_mode(proxy: asyncio.subprocess.Process) -> SetMode:
    async def write(mode: str, delay: float = 0.0) -> None:
        assert proxy.stdin is not None
        command = {"name": "w", "mode": mode, "delay": delay}
        proxy.stdin.write(json.dumps(command).encode() + b"\n")
        await proxy.stdin.drain()

    return write


@pytest.fixture
async def client(proxy: asyncio.subprocess.Process, tmp_path: Path) -> AsyncIterator[Client]:
    assert proxy.stdout is not None
    port = json.loads(await proxy.stdout.readline())["w"]
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "w",
        "clusters": [{"name": "w", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "w", "user": {}}],
        "contexts": [{"name": "w", "context": {"cluster": "w", "user": "w"}}],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    async with Client(load_config(path), timeout=1.0) as client:
        yield client


@pytest.fixture
async def direct(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with Client(load_config(control_plane.kubeconfig)) as client:
        yield client


@pytest.fixture
async def watched(client: Client, namespace: str) -> AsyncIterator[list[str]]:
    """The names of the ConfigMaps that a watch through the proxy has shown."""
    names: list[str] = []

    async def watch() -> None:
        path, decoder = CONFIG_MAPS.path(namespace), Decoder(dict[str, Any])
        async with client.watch(path, decoder, {}, inactivity=90.0) as events:
            async for event, found in events:
                if event != "BOOKMARK":
                    names.append(found["metadata"]["name"])

    watching = asyncio.create_task(watch())
    yield names
    watching.cancel()
    await asyncio.wait({watching})


async def create(client: Client, namespace: str, name: str) -> None:
    body: dict[str, Any] = {"metadata": {"name": name}, "data": {}}
    await client.create(CONFIG_MAPS.path(namespace), body)


async def test_a_silent_watch_shows_nothing_until_later_while_requests_are_answered(
    client: Client, direct: Client, namespace: str, watched: list[str], set_mode: SetMode
) -> None:
    await create(client, namespace, "a")
    await until(lambda: watched == ["a"])
    await set_mode("silent")
    for name in ("b", "c", "d"):
        await create(client, namespace, name)
        assert (await client.get(CONFIG_MAPS.path(namespace, name)))["metadata"]["name"] == name
    assert watched == ["a"]
    await set_mode("ok")
    await until(lambda: watched == ["a", "b", "c", "d"])


async def test_a_request_that_is_not_answered_has_its_effect(
    client: Client, direct: Client, namespace: str, set_mode: SetMode
) -> None:
    await create(client, namespace, "a")
    await set_mode("unanswered")
    with pytest.raises(ApiError):
        await create(client, namespace, "b")
    assert (await direct.get(CONFIG_MAPS.path(namespace, "b")))["metadata"]["name"] == "b"
    await set_mode("ok")
    await create(client, namespace, "c")


async def test_nothing_gets_through_a_cut(client: Client, namespace: str, set_mode: SetMode) -> None:
    await create(client, namespace, "a")
    await set_mode("cut")
    with pytest.raises(ApiError):
        await create(client, namespace, "b")
    await set_mode("ok")
    await create(client, namespace, "b")
