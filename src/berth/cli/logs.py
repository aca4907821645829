"""The format of log lines: key=value for people, JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Annotated

from berth.cli.errors import UsageError
from berth.cli.options import option

_LEVELS = ("debug", "info", "warning", "error")

LogFormat = Annotated[str, option("`text` (key=value) or `json`.")]
LogLevel = Annotated[str, option("`debug`, `info`, `warning` or `error`.")]


class _TextFormatter(logging.Formatter):
    """`2026-01-02T03:04:05.678Z level=info logger=berth.x message`, and a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"{_time(record)} level={record.levelname.lower()} logger={record.name}"
        error = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        return f"{prefix} {record.getMessage()}{error}"


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, with a traceback in `error`."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _time(record: logging.LogRecord) -> str:
    when = datetime.fromtimestamp(record.created, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure_logging(form: str, level: str) -> None:
    """Send all logs to standard error in `form` (`text` or `json`). Raises UsageError."""
    if form not in ("text", "json"):
        raise UsageError(f"--log-format must be text or json, not {form!r}")
    if level not in _LEVELS:
        raise UsageError(f"--log-level must be one of {', '.join(_LEVELS)}, not {level!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
