"""Options that several commands share, and the output and the logs that they ask for."""

import json
import logging
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def option(help: str, *names: str, panel: str | None = None, **more: Any) -> Any:
    """An option with its help; `names` where they do not follow from the parameter."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


cluster_option = partial(option, panel="Cluster")
PORT = {"min": 1, "max": 65535}

Output = Annotated[
    Literal["table", "json"], option("`table` for people, `json` for programs.", "--output", "-o")
]
Kubeconfig = Annotated[Path | None, cluster_option("Kubeconfig of the cluster. Default: that of kubectl.")]
PodKubeconfig = Annotated[
    Path | None,
    cluster_option("Kubeconfig of the cluster. Default: the pod's service account, or as kubectl."),
]
Context = Annotated[str | None, cluster_option("Context in the kubeconfig.")]
Namespace = Annotated[
    str | None, cluster_option("Namespace. Default: that of the context.", "--namespace", "-n")
]
AllNamespaces = Annotated[bool, cluster_option("Use all namespaces.", "--all-namespaces", "-A")]
Files = Annotated[
    list[str] | None,
    option(
        "Read manifests instead of the cluster: a file, a folder, or - for standard input; repeatable.",
        "--filename",
        "-f",
        metavar="FILE...",
    ),
]
LogFormat = Annotated[Literal["text", "json"], option("`text` is key=value.")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], option("The lowest level that is logged.")]


def print_json(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def configure_logging(form: str, level: str) -> None:
    """Send all logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Formatter(logging.Formatter):
    """`2026-01-02T03:04:05.678Z level=info logger=berth.x message`, with a traceback below it; or as JSON."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        if self._json:
            return json.dumps(entry)
        line = "{time} level={level} logger={logger} {message}".format(**entry)
        return f"{line}\n{entry['error']}" if "error" in entry else line
