"""`berth status`: Pools and Members at a glance, problems first; live with --watch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from berth.cli.errors import usage_errors
from berth.cli.options import (
    AllNamespaces,
    Context,
    Kubeconfig,
    Namespace,
    Output,
    OutputOption,
    print_json,
)

if TYPE_CHECKING:
    from berth.cli.overview import Overview
    from berth.cli.source import Pools, Source


def status_command(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, live, until Ctrl-C.")] = False,
    output: OutputOption = Output.TABLE,
    everything: Annotated[bool, typer.Option("--all", help="Show every problem.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
) -> None:
    """Show how Pools and their Members are: problems first, then a bar of load for each Member.

    Bars: █ load, ░ what is missing to a fair share, ▓ what is above it.

    With --watch and -o json it prints one JSON document a line, whenever something has changed.
    """
    from berth.cli.source import Source

    with usage_errors():
        source = Source((), kubeconfig, context, namespace, all_namespaces)
        if watch:
            _watch(source, output, everything)
            return
        from berth.cli.source import load

        views = overviews(load(source))
        if output is Output.JSON:
            from berth.cli.overview import overview_json

            print_json({"pools": {key: overview_json(view) for key, view in views.items()}})
            return
        from berth.cli.bars import console
        from berth.cli.status_table import SHOWN, status_view

        console().print(status_view(views, _where(source), None if everything else SHOWN))


def overviews(pools: Pools) -> dict[str, Overview]:
    """Each Pool at a glance, by the name it is called by, sorted."""
    from berth.cli.overview import overview
    from berth.cli.snapshot import pool_keys

    keys = pool_keys(pools)
    return {keys[at]: overview(pools[at]) for at in sorted(pools)}


def _where(source: Source) -> str:
    if source.all_namespaces:
        return "any namespace"
    from berth.kube import load_config

    namespace = source.namespace or load_config(source.kubeconfig, source.context).namespace
    return f"namespace {namespace}; -A looks at all"


def _watch(source: Source, output: Output, everything: bool) -> None:
    from berth.cli.status_watch import watch

    asyncio.run(watch(source, _where(source), as_json=output is Output.JSON, everything=everything))
