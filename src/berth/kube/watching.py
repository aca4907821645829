"""One watch: the events that the API server sends, decoded, until it ends."""

import contextlib
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec

from berth.kube.client import Client
from berth.kube.decode import Bad, Decoder
from berth.kube.errors import ApiError, not_understood
from berth.kube.wire import Params

T = TypeVar("T")


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


@contextlib.asynccontextmanager
async def watch(
    client: Client, path: str, decoder: Decoder[T], params: Params, *, inactivity: float
) -> AsyncIterator[AsyncIterator[tuple[str, T | Bad | ApiError | str]]]:
    """Watch a collection: a context manager whose value iterates over events as `Decoder.event` gives them.

    Bookmarks are asked for, so a stream that is silent for `inactivity` seconds (90 or more) is dead.
    Raises ApiError, also while iterating.
    """
    query = {**params, "watch": True, "allowWatchBookmarks": True}
    async with client.stream(path, query, inactivity=inactivity) as chunks:
        events = _events(chunks, decoder)
        yield events


async def _events(
    chunks: AsyncIterator[bytes], decoder: Decoder[T]
) -> AsyncIterator[tuple[str, T | Bad | ApiError | str]]:
    lines = LineSplitter()
    async for chunk in chunks:
        for line in lines.feed(chunk):
            try:
                yield decoder.event(line)
            except msgspec.DecodeError as error:
                raise not_understood(error, line) from error
