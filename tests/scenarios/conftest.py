import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

# The tests of this folder share a harness, which importlib mode does not find by itself.
sys.path.insert(0, str(Path(__file__).parent))

from stage import Controller, Stage

from berth.testing import ControlPlane


@pytest.fixture(scope="module")
def shared_controller(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Controller]:
    """One controller for all namespaces, for stories that need no control over it.

    It must be gone before the stories of other modules start, which start controllers of their own.
    """
    lead = f"scenarios-lead-{uuid.uuid4().hex[:8]}"
    control_plane.create_namespace(lead)
    controller = Controller(control_plane.kubeconfig, tmp_path_factory.mktemp("controller"), None, lead)
    try:
        yield controller.wait_leading()
    finally:
        controller.terminate()
        control_plane.delete_namespace(lead)


@pytest.fixture
def stage(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """A namespace without a controller: the story starts its own."""
    with Stage(control_plane, namespace, tmp_path) as stage:
        yield stage


@pytest.fixture
def led(shared_controller: Controller, stage: Stage) -> Stage:
    """A namespace that the shared controller looks after."""
    return stage
