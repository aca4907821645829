"""How log lines look: key=value for people, JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from berth.cli.errors import UsageError

_LEVELS = ("debug", "info", "warning", "error")


class TextFormatter(logging.Formatter):
    """`2026-01-02T03:04:05.678Z level=info logger=berth.x message`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, more only for a traceback."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = f"{when.replace('+00:00', 'Z')} level={record.levelname.lower()} logger={record.name} "
        line += record.getMessage()
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, with a traceback in `error`."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure_logging(form: str, level: str) -> None:
    """Send all logs to standard error in `form` (`text` or `json`). Raises UsageError."""
    if form not in ("text", "json"):
        raise UsageError(f"--log-format is text or json, not {form!r}")
    if level not in _LEVELS:
        raise UsageError(f"--log-level is one of {', '.join(_LEVELS)}, not {level!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
