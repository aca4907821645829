"""Options that several commands share, and output as JSON."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


def option(help: str, *names: str, panel: str | None = None, **more: Any) -> Any:
    """An option with its help; `names` where they do not follow from the parameter."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


class Output(StrEnum):
    """How a command answers."""

    TABLE = "table"
    JSON = "json"


CLUSTER = "Cluster"
PORT = {"min": 1, "max": 65535}

OutputOption = Annotated[Output, option("`table` for people, `json` for programs.", "--output", "-o")]
Kubeconfig = Annotated[
    Path | None, option("Kubeconfig of the cluster. Default: that of kubectl.", panel=CLUSTER)
]
PodKubeconfig = Annotated[
    Path | None,
    option("Kubeconfig of the cluster. Default: the pod's service account, or as kubectl.", panel=CLUSTER),
]
Context = Annotated[str | None, option("Context in the kubeconfig.", panel=CLUSTER)]
Namespace = Annotated[
    str | None, option("Namespace. Default: that of the context.", "--namespace", "-n", panel=CLUSTER)
]
AllNamespaces = Annotated[bool, option("Use all namespaces.", "--all-namespaces", "-A", panel=CLUSTER)]
Files = Annotated[
    list[str] | None,
    option(
        "Read manifests instead of the cluster: a file, a folder, or - for standard input; repeatable.",
        "--filename",
        "-f",
        metavar="FILE...",
    ),
]


def print_json(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
