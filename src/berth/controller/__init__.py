"""The operator itself: kopf wiring, the loop of each Pool, status writers, metrics."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from berth.controller.app import run, serve
    from berth.controller.leader import Controller, Options

__all__ = ["Controller", "Options", "run", "serve"]

_MODULES = {"run": "app", "serve": "app", "Controller": "leader", "Options": "leader"}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for: `berth status` reads the kinds and needs no kopf."""
    if name not in _MODULES:
        raise AttributeError(f"module 'berth.controller' has no attribute {name!r}")
    return getattr(import_module(f"berth.controller.{_MODULES[name]}"), name)
