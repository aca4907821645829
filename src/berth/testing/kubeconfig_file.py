"""Kubeconfig files with embedded credentials."""

import base64
import os
from pathlib import Path
from typing import Any

import yaml

from berth.testing.certificates import KeyPair
from berth.testing.errors import ControlPlaneError

_NAME = "berth-testing"


def write(path: Path, url: str, authority: Path, user: KeyPair | str, namespace: str) -> None:
    """Write a kubeconfig that only its owner can read; `user` is a client certificate or a bearer token."""
    credentials: dict[str, Any] = (
        {"token": user}
        if isinstance(user, str)
        else {"client-certificate-data": _encoded(user.certificate), "client-key-data": _encoded(user.key)}
    )
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": _NAME,
        "clusters": [
            {"name": _NAME, "cluster": {"server": url, "certificate-authority-data": _encoded(authority)}}
        ],
        "users": [{"name": _NAME, "user": credentials}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME, "namespace": namespace}}],
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            yaml.safe_dump(document, file, sort_keys=False)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ControlPlaneError(f"the kubeconfig {path} cannot be written: {error.strerror}") from error


def check_target(path: Path) -> None:
    """Refuse to replace a kubeconfig of another cluster, such as ~/.kube/config."""
    if not path.parent.is_dir():
        raise ControlPlaneError(f"the kubeconfig {path} cannot be written: no folder {path.parent}")
    try:
        content = path.read_text() if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ControlPlaneError(f"the kubeconfig {path} cannot be written: {error}") from error
    if content.strip() and f"current-context: {_NAME}" not in content:
        raise ControlPlaneError(
            f"{path} has other content and would be removed at the end: name a file that does not exist"
        )


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
