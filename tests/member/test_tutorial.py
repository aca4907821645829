"""Runs every program of docs/workers.md as it stands there."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from member_leader import MEMBERS, Leader
from waiting import until

from berth.testing import ControlPlane

DOCS = Path(__file__).parents[2] / "docs"
PROGRAMS = dict(
    re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", (DOCS / "workers.md").read_text(), re.DOTALL)
)
SAYS = {
    "first.py": ["prepare news {'url': 'x'}", "activate news 4", "deactivate news", "drop news"],
    "polling.py": ["poll news 4"],
    "fenced.py": [],
    "threads.py": ["poll news 4"],
    "inside.py": ["activate news 4", "ended: DRAINED"],
}


def test_every_python_program_of_the_page_is_run() -> None:
    assert PROGRAMS.keys() == SAYS.keys()
    assert len(PROGRAMS) == (DOCS / "workers.md").read_text().count("```python")


async def read(process: asyncio.subprocess.Process, lines: list[str]) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        lines.append(line.decode().rstrip("\n"))


@pytest.mark.cluster
@pytest.mark.parametrize("name", SAYS)
async def test_the_program_does_what_the_page_says(
    name: str, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    program = tmp_path / name
    program.write_text(PROGRAMS[name])
    async with Leader(control_plane, namespace) as leader:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-u", str(program), cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
            env=os.environ | {
                "BERTH_NAME": "worker-1", "BERTH_NAMESPACE": namespace, "BERTH_LEASE_SECONDS": "3",
                "BERTH_KUBECONFIG": str(control_plane.kubeconfig),
            },
        )  # fmt: skip
        lines: list[str] = []
        reading = asyncio.create_task(read(process, lines))
        try:
            await leader.until_limit("worker-1", 100)
            assert (await leader.read(MEMBERS, "worker-1") or {})["spec"]["pool"] == "feeds"
            await leader.item("news", url="x")
            await leader.give("worker-1", "news#0@3:4")
            await leader.until_reported("worker-1", "news@3=Active")
            if name == "fenced.py":
                await until(lambda: (tmp_path / "work.sqlite").stat().st_size > 0)
            # `Active` is reported before the callback begins.
            if SAYS[name]:
                await until(lambda: any(line.split()[0] in ("poll", "activate") for line in lines))
            process.send_signal(signal.SIGTERM)
            await leader.until_limit("worker-1", 0)
            await leader.give("worker-1")
            assert await asyncio.wait_for(process.wait(), 30) == 0
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading
    assert [line for line in SAYS[name] if line not in lines] == []
