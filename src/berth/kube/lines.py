"""Splits a byte stream into lines."""

__all__ = ["LineSplitter"]


class LineSplitter:
    """Cuts chunks that end anywhere into lines, which may be megabytes long: each byte is looked at once."""

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
