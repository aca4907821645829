import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berth.testing import ControlPlane

# The tests of this folder share helpers (`member_*`), which importlib mode does not find by itself.
sys.path.insert(0, str(Path(__file__).parent))

from member_fakes import Recorder
from member_leader import Leader


@pytest.fixture
async def leader(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Leader]:
    async with Leader(control_plane, namespace) as leader:
        yield leader


@pytest.fixture
def worker() -> Recorder:
    return Recorder()
