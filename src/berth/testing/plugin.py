"""pytest fixtures: `control_plane`, one a run with Berth's kinds applied, and `namespace`, one a test.

Use them with `pytest_plugins = ["berth.testing.plugin"]` in the top conftest.py.
"""

import re
import uuid
from collections.abc import Iterator

import pytest

from berth.testing.controlplane import ControlPlane
from berth.testing.errors import ControlPlaneError


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A running control plane with Berth's kinds applied, shared by every test of the run."""
    plane = ControlPlane()
    try:
        plane.start()
    except ControlPlaneError as error:
        pytest.fail(f"no control plane: {error}", pytrace=False)
    try:
        plane.apply_crds()
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a fresh namespace; deleted after the test, with everything of Berth in it."""
    readable = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    name = f"{readable or 'test'}-{uuid.uuid4().hex[:8]}"
    control_plane.create_namespace(name)
    yield name
    control_plane.delete_namespace(name)
