"""Helm for the pages that show it: built before the tests, where no test's timeout runs."""

import sys
from pathlib import Path

import pytest

from berth.testing import ControlPlaneError

# importlib mode finds neither the helpers of this folder nor tools/ by itself.
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
sys.path.insert(0, str(Path(__file__).parent))

from helm_binary import ensure_helm, find_helm

_ERROR = pytest.StashKey[str]()


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly or find_helm() is not None:
        return
    if any("helm_binary" in getattr(item, "fixturenames", ()) for item in session.items):
        capture = session.config.pluginmanager.getplugin("capturemanager")
        try:
            with capture.global_and_fixture_disabled():
                ensure_helm()
        except ControlPlaneError as error:
            session.config.stash[_ERROR] = str(error)


@pytest.fixture(scope="session")
def helm_binary(request: pytest.FixtureRequest) -> Path:
    if error := request.config.stash.get(_ERROR, None):
        pytest.fail(f"no Helm: {error}", pytrace=False)
    return ensure_helm()
