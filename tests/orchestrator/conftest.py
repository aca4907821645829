from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from berth.orchestrator import InMemoryCommunicator, Orchestrator

# The tests of this folder share helpers, which importlib mode does not find by itself.
sys.path.insert(0, str(Path(__file__).parent))

Fleet = tuple[Orchestrator[Any, Any], InMemoryCommunicator[Any, Any]]


@pytest.fixture
def fleet() -> Callable[..., Fleet]:
    """An orchestrator over workers w0..wN-1 and tasks t0..tM-1, with a short timeout."""

    def make(workers: int = 0, tasks: int = 0, *, instances: int = 1, **options: Any) -> Fleet:
        communicator: InMemoryCommunicator[Any, Any] = InMemoryCommunicator()
        options.setdefault("timeout", 5.0)
        orchestrator: Orchestrator[Any, Any] = Orchestrator(communicator, **options)
        for number in range(workers):
            orchestrator.add_worker(f"w{number}")
        for number in range(tasks):
            orchestrator.add_task(f"t{number}", instances=instances)
        return orchestrator, communicator

    logging.getLogger("asyncio").setLevel(logging.WARNING)
    return make
