"""A control plane of its own, empty but for what a cluster has, with an audit log; and Helm."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from berth.testing import ControlPlane, ControlPlaneError

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
sys.path.insert(0, str(Path(__file__).parent))

from charting import Cluster, Helm
from helm_binary import ensure_helm, find_helm

_ERROR = pytest.StashKey[str]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build Helm now if a selected test needs it, where no test's timeout runs."""
    if session.config.option.collectonly or find_helm() is not None:
        return
    if any("helm" in getattr(item, "fixturenames", ()) for item in session.items):
        capture = session.config.pluginmanager.getplugin("capturemanager")
        try:
            with capture.global_and_fixture_disabled():
                ensure_helm()
        except ControlPlaneError as error:
            session.config.stash[_ERROR] = str(error)


@pytest.fixture(scope="session")
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    if error := request.config.stash.get(_ERROR, None):
        pytest.fail(f"no Helm: {error}", pytrace=False)
    return Helm(ensure_helm(), tmp_path_factory.mktemp("helm"))


AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts"]
  - level: None
"""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("audit")
    (folder / "policy.yaml").write_text(AUDIT_POLICY)
    audit = folder / "audit.log"
    flags = [
        f"--audit-policy-file={folder / 'policy.yaml'}",
        f"--audit-log-path={audit}",
        "--audit-log-mode=blocking",
    ]
    with ControlPlane(api_server_args=flags) as plane, ExitStack() as stack:
        audit.touch()
        yield Cluster(plane, audit, stack, folder)


@pytest.fixture(scope="session")
def cluster_helm(helm: Helm, cluster: Cluster) -> Helm:
    return Helm(helm.binary, helm.home, cluster.plane.kubeconfig)
