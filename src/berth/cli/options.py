"""Options that several commands share."""

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


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="`table` for people, `json` for programs.")
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="How to reach the cluster. Default: as kubectl does.", rich_help_panel="Cluster"),
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.", rich_help_panel="Cluster")]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Default: the context's.", rich_help_panel="Cluster"),
]
AllNamespaces = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="All namespaces.", rich_help_panel="Cluster")
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--filename",
        "-f",
        metavar="FILE...",
        help="Read manifests instead of the cluster: files, folders, or - for standard input; repeatable.",
    ),
]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
