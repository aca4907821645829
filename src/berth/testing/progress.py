"""Progress of a long build: one line that changes on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import TextIO

_QUIET_SECONDS = 15.0


class Progress:
    """Shows what goes on; says nothing at all until the first `step`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._start = time.monotonic()
        self._last = ""
        self._shown_at = float("-inf")
        self._open = False

    def step(self, text: str) -> None:
        """Begin a step: always shown, on a line of its own."""
        self._end_line()
        self._show(text, force=True)

    def update(self, text: str) -> None:
        """Say how far the step is: shown at once on a terminal, else every 15 seconds."""
        if text != self._last:
            self._show(text, force=False)

    def close(self) -> None:
        """End the line that is open."""
        self._end_line()

    def _show(self, text: str, *, force: bool) -> None:
        now = time.monotonic()
        if not self._terminal and not force and now - self._shown_at < _QUIET_SECONDS:
            return
        self._last, self._shown_at = text, now
        line = f"[{int(now - self._start) // 60}:{int(now - self._start) % 60:02}] {text}"
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line}")
            self._open = True
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _end_line(self) -> None:
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False
