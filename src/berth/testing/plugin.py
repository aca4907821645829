"""pytest fixtures: `control_plane`, one per run with Berth's kinds applied, and `namespace`, one per test.

Use them with `pytest_plugins = ["berth.testing.plugin"]` in the top conftest.py. Servers that are missing are
built after collection, with visible progress and outside of the timeouts of tests.
"""

import re
import uuid
from collections.abc import Iterator

import pytest

from berth.testing import build
from berth.testing.binaries import API_SERVER, ETCD, find
from berth.testing.controlplane import ControlPlane
from berth.testing.errors import ControlPlaneError

_BUILD_ERROR = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker for tests that start their own control planes."""
    config.addinivalue_line("markers", "cluster: runs on the real API server that berth.testing starts")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the servers now if a selected test needs them and they are missing."""
    needed = any(
        "control_plane" in getattr(item, "fixturenames", ()) or item.get_closest_marker("cluster")
        for item in session.items
    )
    if not needed or session.config.option.collectonly or all(map(find, (ETCD, API_SERVER))):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            build.ensure([ETCD, API_SERVER])
    except ControlPlaneError as error:
        session.config.stash[_BUILD_ERROR] = str(error)


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A running control plane with Berth's kinds applied, shared by all tests of the run."""
    if error := request.config.stash.get(_BUILD_ERROR, None):
        pytest.fail(f"no control plane: {error}", pytrace=False)
    try:
        with ControlPlane() as plane:
            plane.apply_crds()
            yield plane
    except ControlPlaneError as failure:
        pytest.fail(f"no control plane: {failure}", pytrace=False)


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a new namespace, which is deleted after the test with the objects of Berth in it."""
    readable = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    name = f"{readable or 'test'}-{uuid.uuid4().hex[:8]}"
    control_plane.create_namespace(name)
    yield name
    control_plane.delete_namespace(name)
