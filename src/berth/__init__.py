"""Keeps Items placed on Members.

For workers in asyncio: `Worker` has the callbacks, `serve` runs them until a signal ends the process,
`Session` does the same as an async context manager and ends with an `Outcome`, `Held` is one Item while it
is held here. `berth.sync` has `Worker`, `serve`, `Session` and `Held` for threads. Wrong settings raise
`SettingsError`, a name that another live process uses raises `NameTaken`.

All durations are seconds. Grants and epochs are terms of the leader: integers from 1 that only grow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from berth import sync
    from berth.member import Held, NameTaken, Outcome, Session, SettingsError, Worker, serve

__all__ = ["Held", "NameTaken", "Outcome", "Session", "SettingsError", "Worker", "serve", "sync"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import berth` alone is fast."""
    if name == "sync":
        return import_module("berth.sync")
    if name in __all__:
        return getattr(import_module("berth.member"), name)
    raise AttributeError(f"module 'berth' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
