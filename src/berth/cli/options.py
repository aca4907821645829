"""Options that several commands share, and output as JSON."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Output(StrEnum):
    """How a command answers."""

    TABLE = "table"
    JSON = "json"


_CLUSTER = "Cluster"

OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="`table` for people, `json` for programs.")
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        help="Kubeconfig of the cluster. Default: the one that kubectl uses.", rich_help_panel=_CLUSTER
    ),
]
Context = Annotated[str | None, typer.Option(help="Context in the kubeconfig.", rich_help_panel=_CLUSTER)]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Namespace. Default: the one of the context.", rich_help_panel=_CLUSTER
    ),
]
AllNamespaces = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="Use all namespaces.", rich_help_panel=_CLUSTER)
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--filename",
        "-f",
        metavar="FILE...",
        help="Read manifests instead of the cluster: a file, a folder, or - for standard input; repeatable.",
    ),
]


def print_json(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
