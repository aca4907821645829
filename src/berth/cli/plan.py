"""`berth plan`: what the solver wants, and what would change."""

from __future__ import annotations

from typing import Annotated

import typer

from berth.cli.errors import UsageError, usage_errors
from berth.cli.options import (
    AllNamespaces,
    Context,
    Files,
    Kubeconfig,
    Namespace,
    Output,
    OutputOption,
    print_json,
)


def plan_command(
    files: Files = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="More files after -f.")] = None,
    output: OutputOption = Output.TABLE,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every change in the table, not just the first ones.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
) -> None:
    """Show where Items should be, what would change and why, and what cannot be placed.

    With -f it reads manifests of Items, Members, Assignments and Pools and needs no cluster:

        berth plan -f fleet.yaml

        kubectl get berth -o yaml | berth plan -f -

    A Member with a leaseName counts as live unless its condition Live is False.
    """
    with usage_errors():
        if more and not files:
            raise UsageError(f"{more[0]}: give files after -f, as in: berth plan -f {more[0]}")
        from berth.cli.planning import plan_json, plan_pool
        from berth.cli.snapshot import pool_keys
        from berth.cli.source import Source, load

        source = Source((*(files or ()), *(more or ())), kubeconfig, context, namespace, all_namespaces)
        pools = load(source)
        keys = pool_keys(pools)
        plans = {keys[at]: plan_pool(pools[at]) for at in sorted(pools)}
        if output is Output.JSON:
            print_json({"pools": {key: plan_json(plan) for key, plan in plans.items()}})
            return
        from berth.cli.plan_table import print_plans

        print_plans(plans, everything)
