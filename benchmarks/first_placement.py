"""First placement against its floor, on the real API server.

1,000 Items x 2 replicas on 20 Members: the time from the end of `kubectl apply` until every entry is
written, against the time that a bare aiohttp loop takes to write the very same Assignment objects to
the same server in the same run. Run as `make bench`; `--json` prints the figures for programs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from berth.kube import load_config
from berth.testing import ControlPlane

NAMESPACES = ("placement", "burst")
"""What the controller looks after; it leaves the namespaces of the bare loop alone."""
TIMEOUT = 300.0
API = "/apis/berth.dev/v1alpha1"


def manifests(items: int, members: int, replicas: int) -> tuple[str, str]:
    people = [
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "Member",
            "metadata": {"name": f"worker-{i:03d}"},
            "spec": {"limit": 4096, "zone": f"zone-{i % 3}"},
        }
        for i in range(members)
    ]
    things = [
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "Item",
            "metadata": {"name": f"item-{i:06d}"},
            "spec": {"replicas": replicas},
        }
        for i in range(items)
    ]

    def as_list(objects: list[dict[str, Any]]) -> str:
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})

    return as_list(people), as_list(things)


class Bare:
    """The least that any client has to do: one request after another, a few at a time, nothing else."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def list(self, namespace: str, plural: str) -> list[dict[str, Any]]:
        async with self.session.get(f"{self.base}{API}/namespaces/{namespace}/{plural}") as response:
            response.raise_for_status()
            return list((await response.json())["items"])

    async def create(self, namespace: str, plural: str, objects: list[dict[str, Any]]) -> None:
        await self._all("POST", [(f"namespaces/{namespace}/{plural}", o) for o in objects], {})

    async def replace_specs(self, namespace: str, objects: list[dict[str, Any]]) -> float:
        """Seconds to write `spec` of every Assignment as the controller does: one JSON patch each."""
        work = [
            (
                f"namespaces/{namespace}/assignments/{o['metadata']['name']}",
                [{"op": "replace", "path": "/spec", "value": o["spec"]}],
            )
            for o in objects
        ]
        started = time.perf_counter()
        await self._all("PATCH", work, {"Content-Type": "application/json-patch+json"})
        return time.perf_counter() - started

    async def _all(self, method: str, work: list[tuple[str, Any]], headers: dict[str, str]) -> None:
        gate = asyncio.Semaphore(32)

        async def one(path: str, body: Any) -> None:
            async with (
                gate,
                self.session.request(
                    method,
                    f"{self.base}{API}/{path}",
                    data=json.dumps(body),
                    headers={"Content-Type": "application/json"} | headers,
                ) as response,
            ):
                response.raise_for_status()
                await response.read()

        await asyncio.gather(*(one(path, body) for path, body in work))


async def announced(bare: Bare, namespace: str, members: int) -> None:
    """Wait until every Member has its (empty) Assignment."""
    while len(await bare.list(namespace, "assignments")) < members:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def placed(bare: Bare, namespace: str, slots: int) -> list[dict[str, Any]]:
    """The Assignments, once they list `slots` entries in all."""
    while True:
        found = await bare.list(namespace, "assignments")
        if sum(len(a["spec"].get("items", ())) for a in found) >= slots:
            return found
        await asyncio.sleep(0.005)


async def floor(bare: Bare, plane: ControlPlane, final: list[dict[str, Any]], name: str) -> float:
    """Seconds for the bare loop: empty Assignments first, as the controller had them, then the entries."""
    plane.create_namespace(name)
    empty = [
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "Assignment",
            "metadata": {"name": a["metadata"]["name"]},
            "spec": {"pool": a["spec"]["pool"], "term": 1, "items": []},
        }
        for a in final
    ]
    await bare.create(name, "assignments", empty)
    return await bare.replace_specs(name, final)


async def measure(plane: ControlPlane, args: argparse.Namespace) -> list[dict[str, float]]:
    access = await load_config(plane.kubeconfig).access()
    connector = aiohttp.TCPConnector(ssl=access.ssl, limit=64)
    people, things = manifests(args.items, args.members, args.replicas)
    slots = args.items * args.replicas
    runs = []
    async with aiohttp.ClientSession(connector=connector) as session:
        bare = Bare(session, access.base_url)
        for run in range(args.runs):
            namespace = f"placement-{run}"
            await asyncio.to_thread(plane.create_namespace, namespace)
            await asyncio.to_thread(plane.kubectl, "-n", namespace, "apply", "-f", "-", input=people)
            await announced(bare, namespace, args.members)
            # In one piece: kubectl takes longer than the placement, which goes on beside it.
            await asyncio.to_thread(
                plane.kubectl, "-n", namespace, "apply", "--server-side", "-f", "-", input=things
            )
            started = time.perf_counter()
            final = await placed(bare, namespace, slots)
            after_apply = time.perf_counter() - started
            # All at once: the controller sees the Items only when the last one is there.
            burst = f"burst-{run}"
            await asyncio.to_thread(plane.create_namespace, burst)
            await asyncio.to_thread(plane.kubectl, "-n", burst, "apply", "-f", "-", input=people)
            await announced(bare, burst, args.members)
            await bare.create(burst, "items", json.loads(things)["items"])
            started = time.perf_counter()
            await placed(bare, burst, slots)
            after_burst = time.perf_counter() - started
            bottom = await floor(bare, plane, final, f"floor-{run}")
            runs.append({"apply": after_apply, "burst": after_burst, "floor": bottom})
    return runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with ControlPlane() as plane, tempfile.TemporaryFile() as log:
        plane.apply_crds()
        controller = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("berth")),
                "controller",
                "--kubeconfig",
                str(plane.kubeconfig),
                *(f"--namespace={kind}-{run}" for run in range(args.runs) for kind in NAMESPACES),
            ],
            stderr=log,
        )
        try:
            runs = asyncio.run(asyncio.wait_for(measure(plane, args), TIMEOUT))
        except TimeoutError:
            log.seek(0)
            print(log.read()[-3000:].decode(errors="replace"), file=sys.stderr)
            print(f"not done within {TIMEOUT:.0f} s; above is what the controller said", file=sys.stderr)
            return 1
        finally:
            controller.terminate()
            controller.wait()
    if args.json:
        print(json.dumps(runs))
        return 0
    table = Table(
        title=f"{args.items} Items x {args.replicas} replicas on {args.members} Members",
        caption="seconds until every entry is written; the ratio is to the bare loop of the same run",
    )
    for column in ("run", "after kubectl apply", "ratio", "after a burst", "ratio", "bare loop"):
        table.add_column(column, justify="right")
    for number, run in enumerate(runs):
        table.add_row(
            str(number),
            f"{run['apply']:.3f}",
            f"{run['apply'] / run['floor']:.2f}",
            f"{run['burst']:.3f}",
            f"{run['burst'] / run['floor']:.2f}",
            f"{run['floor']:.3f}",
        )
    table.add_section()
    table.add_row(
        "median",
        "",
        f"{statistics.median(r['apply'] / r['floor'] for r in runs):.2f}",
        "",
        f"{statistics.median(r['burst'] / r['floor'] for r in runs):.2f}",
        "",
    )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
