"""Progress of a long build: one changing line on a terminal, otherwise a line every 15 seconds."""

import sys
import time
from typing import TextIO

_QUIET_SECONDS = 15.0


class Progress:
    """Shows the progress; prints nothing before the first `step`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._start = time.monotonic()
        self._last = ""
        self._shown_at = float("-inf")
        self._open = False

    def step(self, text: str) -> None:
        """Start a step: always shown, on a line of its own."""
        self._end_line()
        self._show(text, force=True)

    def update(self, text: str) -> None:
        """Report progress within the step: shown at once on a terminal, else every 15 seconds."""
        if text != self._last:
            self._show(text, force=False)

    def close(self) -> None:
        """End the open line."""
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
