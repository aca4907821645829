"""The floor of a cold start: list the same objects, page by page, into plain dicts, and end."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from benchmarks.scale.bare import bare
from benchmarks.scale.objects import path

PLURALS = ("items", "members", "assignments", "leases", "pools")


async def main(kubeconfig: Path, namespace: str) -> None:
    async with bare(kubeconfig) as client:
        started = time.perf_counter()
        found = await asyncio.gather(*(client.list(path(namespace, plural)) for plural in PLURALS))
        seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "objects": sum(map(len, found))}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
