"""Lists and watch events into structs. One bad object never spoils the rest."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from berth.kinds.meta import HasMeta, Meta
from berth.kube.errors import error_from_response, not_understood

T = TypeVar("T")


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    """`metadata` of a list: the token of the next page ("" after the last), and the state that it shows."""

    continue_: str = msgspec.field(default="", name="continue")
    resource_version: str = ""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. The server may write an empty list as null."""

    metadata: ListMeta
    items: list[T] | None = None


@dataclass(frozen=True, slots=True)
class Bad:
    """An object that does not fit the struct: its metadata (empty if that is unreadable), and the error."""

    meta: Meta
    error: Exception


class WatchEvent(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One line of a watch: `type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: T


class LineSplitter:
    """Splits chunks that end anywhere into lines of any length. Each byte is examined once."""

    def __init__(self) -> None:
        self._tail: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their newlines; empty lines are left out."""
        head, *rest = chunk.split(b"\n")
        if not rest:
            self._tail.append(chunk)
            return []
        first = b"".join((*self._tail, head))
        last = rest.pop()
        self._tail = [last] if last else []
        return [line for line in (first, *rest) if line]


class Decoder(Generic[T]):
    """Decodes what the API server sends about one kind into the caller's struct."""

    def __init__(self, type: type[T]) -> None:
        # Pages and lines are decoded as a whole; objects are decoded one by one only when that fails.
        page_type: Any = Page[type]  # type: ignore[valid-type]
        event_type: Any = WatchEvent[type]  # type: ignore[valid-type]
        self._page = msgspec.json.Decoder(page_type)
        self._raw_page = msgspec.json.Decoder(Page[msgspec.Raw])
        self._event = msgspec.json.Decoder(event_type)
        self._raw_event = msgspec.json.Decoder(WatchEvent[msgspec.Raw])
        self._object = msgspec.json.Decoder(type)

    def page(self, body: bytes) -> tuple[list[T], list[Bad], ListMeta]:
        """The objects of one page of a list, those that do not fit, and the list's metadata.

        Raises msgspec.DecodeError if the page is not a list.
        """
        try:
            page = self._page.decode(body)
            return page.items or [], [], page.metadata
        except msgspec.ValidationError:
            raw = self._raw_page.decode(body)
        decoded = [self._decode(item) for item in raw.items or ()]
        bad = [found for found in decoded if isinstance(found, Bad)]
        return [found for found in decoded if not isinstance(found, Bad)], bad, raw.metadata

    async def events(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, T | Bad | str]]:
        """The events of a watch, as `event` returns them. Raises ApiError."""
        lines = LineSplitter()
        async for chunk in chunks:
            for line in lines.feed(chunk):
                try:
                    yield self.event(line)
                except msgspec.DecodeError as error:
                    raise not_understood(error, line) from error

    def event(self, line: bytes) -> tuple[str, T | Bad | str]:
        """One line of a watch: its type, and the object or Bad; for a BOOKMARK its resourceVersion.

        Raises the ApiError that an ERROR stands for, and msgspec.DecodeError if the line is not an event.
        """
        try:
            event = self._event.decode(line)
            if event.type in ("ADDED", "MODIFIED", "DELETED"):
                return event.type, event.object
        except msgspec.ValidationError:
            pass
        raw = self._raw_event.decode(line)
        if raw.type == "ERROR":
            raise error_from_response(None, "", bytes(raw.object))
        if raw.type == "BOOKMARK":  # it has only the metadata that a list has, too
            return raw.type, self._raw_page.decode(raw.object).metadata.resource_version
        return raw.type, self._decode(raw.object)

    def _decode(self, raw: msgspec.Raw) -> T | Bad:
        try:
            return self._object.decode(raw)
        except msgspec.DecodeError as error:
            try:
                return Bad(msgspec.json.decode(raw, type=HasMeta).metadata, error)
            except msgspec.DecodeError:
                return Bad(Meta(name=""), error)
