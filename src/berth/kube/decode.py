"""Lists and watch events into structs. One bad object never spoils the rest."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from berth.kinds.meta import HasMeta, Key, Meta
from berth.kube.errors import error_from_status
from berth.kube.pages import ListMeta, Page

__all__ = ["UNKNOWN", "Bad", "Decoder", "WatchEvent"]

T = TypeVar("T", bound=HasMeta)

UNKNOWN: Key = ("", "")
"""The key of an object whose very metadata cannot be read."""


@dataclass(frozen=True, slots=True)
class Bad:
    """An object that does not fit the struct: what it is called, its version, and why."""

    meta: Meta
    error: Exception


class WatchEvent(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One line of a watch: `type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: T


class _Version(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _OnlyVersion(msgspec.Struct):
    metadata: _Version


class _OnlyMeta(msgspec.Struct):
    metadata: Meta


class Decoder(Generic[T]):
    """Decodes what the API server sends about one kind into the caller's struct."""

    def __init__(self, type: type[T]) -> None:
        # Whole pages and lines are decoded in one go; only when that fails is each object looked at alone.
        page_type: Any = Page[type]  # type: ignore[valid-type]
        event_type: Any = WatchEvent[type]  # type: ignore[valid-type]
        self._page = msgspec.json.Decoder(page_type)
        self._raw_page = msgspec.json.Decoder(Page[msgspec.Raw])
        self._event = msgspec.json.Decoder(event_type)
        self._raw_event = msgspec.json.Decoder(WatchEvent[msgspec.Raw])  # type: ignore[type-var]
        self._object = msgspec.json.Decoder(type)

    def page(self, body: bytes) -> tuple[list[T], list[Bad], ListMeta]:
        """The objects of one page of a list, those that cannot be used, and the list's metadata.

        Raises msgspec.DecodeError where the page is no list at all.
        """
        try:
            page = self._page.decode(body)
            return page.items or [], [], page.metadata
        except msgspec.ValidationError:
            pass
        raw = self._raw_page.decode(body)
        objects: list[T] = []
        bad: list[Bad] = []
        for item in raw.items or ():
            try:
                objects.append(self._object.decode(item))
            except msgspec.DecodeError as error:
                bad.append(Bad(_meta(item), error))
        return objects, bad, raw.metadata

    def event(self, line: bytes) -> tuple[str, T | Bad | str]:
        """One line of a watch: its type and the object, or Bad; for a BOOKMARK the resourceVersion.

        Raises the ApiError that an ERROR event stands for, msgspec.DecodeError where the line is no event.
        """
        try:
            event = self._event.decode(line)
            if event.type in ("ADDED", "MODIFIED", "DELETED"):
                return event.type, event.object
        except msgspec.ValidationError:
            pass
        raw = self._raw_event.decode(line)
        if raw.type == "ERROR":
            raise error_from_status(bytes(raw.object))
        if raw.type == "BOOKMARK":
            return raw.type, msgspec.json.decode(raw.object, type=_OnlyVersion).metadata.resource_version
        try:
            return raw.type, self._object.decode(raw.object)
        except msgspec.DecodeError as error:
            return raw.type, Bad(_meta(raw.object), error)


def _meta(raw: msgspec.Raw) -> Meta:
    try:
        return msgspec.json.decode(raw, type=_OnlyMeta).metadata
    except msgspec.DecodeError:
        return Meta(name="")
