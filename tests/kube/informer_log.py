"""An informer of a scripted server, and what it reports."""

from typing import Any

from berth.kube import Backoff, Client, Informer, Resource

CONFIG_MAPS = Resource("", "v1", "configmaps")


class Log:
    """Records what an informer reports."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.errors: list[tuple[tuple[str, str], str]] = []

    def on_event(self, old: Any, new: Any) -> None:
        kind = "ADDED" if old is None else "DELETED" if new is None else "MODIFIED"
        self.events.append((kind, (new or old).metadata.name))

    def on_error(self, key: tuple[str, str], error: Exception) -> None:
        self.errors.append((key, str(error)))


def informer(client: Client, api: Any, log: Log, **options: Any) -> Informer[Any]:
    options = {"backoff": Backoff(0.02, 0.1), "on_event": log.on_event, "on_error": log.on_error} | options
    return Informer(client, CONFIG_MAPS, api.Thing, "ns", **options)


def names(inf: Informer[Any]) -> set[str]:
    return {name for _, name in inf.store}
