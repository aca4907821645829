"""The examples of docs/orchestrator.md are Python, and the one that can be run does what it says."""

from __future__ import annotations

import re
from pathlib import Path

from berth.orchestrator import InMemoryCommunicator, Orchestrator

DOCS = Path(__file__).parents[2] / "docs" / "orchestrator.md"


async def test_the_examples_of_the_manual_work():
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        compile(block, str(DOCS), "exec")
    names = {"InMemoryCommunicator": InMemoryCommunicator, "Orchestrator": Orchestrator}
    exec(blocks[-1], names)
    await names["test_tasks_of_a_dead_worker_run_elsewhere"]()
