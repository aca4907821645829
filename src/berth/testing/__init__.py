"""A real Kubernetes control plane here: a library, pytest fixtures and `python -m berth.testing`."""

from berth.testing.controlplane import ControlPlane
from berth.testing.errors import ControlPlaneError

__all__ = ["ControlPlane", "ControlPlaneError"]
