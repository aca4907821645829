"""Keeps Items placed on Members. Workers use `serve`, `Session`, `Worker`, `Held`, and `sync` for threads."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from berth import sync
    from berth.member import Held, NameTaken, Outcome, Session, SettingsError, Worker, serve

__all__ = ["Held", "NameTaken", "Outcome", "Session", "SettingsError", "Worker", "serve", "sync"]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for: `import berth` alone costs nothing."""
    if name == "sync":
        return import_module("berth.sync")
    if name in __all__:
        return getattr(import_module("berth.member"), name)
    raise AttributeError(f"module 'berth' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
