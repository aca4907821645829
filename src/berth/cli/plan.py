"""`berth plan`: what the solver wants, and what would change."""

from collections import Counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from berth.cli.analysis import MemberSummary, PoolPlan, plan_pool
from berth.cli.errors import UsageError
from berth.cli.objects import Source, display_names
from berth.cli.options import AllNamespaces, Context, Files, Kubeconfig, Namespace, Output, option, print_json
from berth.cli.reasons import why_changed
from berth.cli.tables import console, member_table, more, table
from berth.pool.reasons import MESSAGES
from berth.solve import LEVELS
from berth.words import counted

SHOWN = 20
"""Rows of changes and of Items that cannot be placed, without `--all`."""


def plan_command(
    files: Files = None,
    more_files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="More files after -f.")
    ] = None,
    output: Output = "table",
    everything: Annotated[bool, option("List every change, not only the first 20.", "--all")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
) -> None:
    """Show where Items should be, what would change, and why.

    With -f it reads manifests of Items, Members, Assignments and Pools and needs no cluster:

        berth plan -f fleet.yaml

        kubectl get berth -o yaml | berth plan -f -

    A Member with a leaseName counts as live unless its condition Live is False.
    """
    if more_files and not files:
        raise UsageError(f"{more_files[0]}: give files after -f, as in: berth plan -f {more_files[0]}")
    source = Source((*(files or ()), *(more_files or ())), kubeconfig, context, namespace, all_namespaces)
    pools = source.load()
    plans = {name: plan_pool(pools[key]) for key, name in display_names(pools).items()}
    if output == "json":
        print_json({"pools": {name: plan_json(plan) for name, plan in plans.items()}})
        return
    screen = console()
    if not plans:
        screen.print("There are no Pools, Items or Members.")
    for number, (name, plan) in enumerate(plans.items()):
        if number:
            screen.print()
        _print_plan(screen, name, plan, None if everything else SHOWN)


def plan_json(plan: PoolPlan) -> dict[str, Any]:
    """A plan for programs; a stable interface."""
    proof, changes = plan.solution.proof, plan.changes.values()
    return {
        "slots": {"wanted": plan.pool.slots_wanted, "placed": plan.items.total()},
        "members": {
            member.name: {
                "zone": member.zone,
                "limit": member.limit,
                "items": plan.items[member.name],
                "primaries": plan.primaries[member.name],
                "usage": {},
            }
            for member in plan.members.values()
        },
        "items": {
            name: {
                "members": members,
                "missing": plan.pool.items[name].spec.replicas - len(members),
                "reason": plan.short[name].value if name in plan.short else None,
            }
            for name, members in plan.wanted.items()
        },
        "changes": {
            "add": [[change.item, member] for change in changes for member in change.gains],
            "remove": [[change.item, member] for change in changes for member in change.leaves],
            "promote": [[change.item, change.promotes] for change in changes if change.promotes],
        },
        "levels": {name: {"reached": proof.reached[name], "bound": proof.bounds[name]} for name in LEVELS},
        "optimal": plan.solution.optimal,
        "seconds": round(plan.solution.seconds, 6),
    }


def _print_plan(screen: Console, name: str, plan: PoolPlan, shown: int | None) -> None:
    changes = list(plan.changes.values())
    where = counted(len(plan.members), "Member")
    slots = f"{plan.items.total()} of {plan.pool.slots_wanted} slots placed on {where}"
    add, remove = sum(len(c.gains) for c in changes), sum(len(c.leaves) for c in changes)
    counts = f"{add} to add, {remove} to remove, {sum(bool(c.promotes) for c in changes)} to promote"
    screen.print(Text.assemble(("Pool ", "bold"), (name, "bold cyan"), f": {slots}; {counts}"))
    troubled = plan.solution.engine == "plain" or plan.solution.trouble
    screen.print(_proof(plan), style="yellow" if troubled else "dim")
    if plan.members:
        screen.print(member_table(plan.members.values(), "PLAN", lambda m: _counts(plan, m)))
    screen.print()
    if changes:
        why = {change.item: why_changed(plan, change) for change in changes}
        reasons = Counter(why.values()).most_common(6)
        screen.print("Changes by reason: " + "; ".join(f"{count} × {reason}" for reason, count in reasons))
        moves = [
            (c.item, _members(c.leaves, "red"), _members(c.gains, "green"), c.promotes or "", why[c.item])
            for c in changes[:shown]
        ]
        screen.print(table(("ITEM", "FROM", "TO", "PRIMARY", "WHY"), moves), *more(len(changes), shown))
    else:
        screen.print("Nothing changes.")
    if plan.short:
        headers = ("CANNOT BE PLACED", "MISSING", "REASON", "WHY")
        short = [_short(plan, name) for name in sorted(plan.short)[:shown]]
        screen.print()
        screen.print(table(headers, short), *more(len(plan.short), shown))


def _counts(plan: PoolPlan, member: MemberSummary) -> dict[str, int]:
    name = member.name
    return {"HELD": member.items, "PLAN": plan.items[name], "PRIMARIES": plan.primaries[name]}


def _members(names: list[str], style: str) -> Text:
    return Text(", ".join(names) or "-", style)


def _short(plan: PoolPlan, name: str) -> tuple[Text, Text, str, str]:
    """An Item that cannot be placed, how many replicas are missing, and why."""
    replicas, reason = plan.pool.items[name].spec.replicas, plan.short[name]
    missing = f"{replicas - len(plan.wanted[name])} of {replicas}"
    return Text(name, "yellow"), Text(missing, justify="right"), reason.value, MESSAGES[reason]


def _proof(plan: PoolPlan) -> str:
    """Whether the plan is proven to be the best, which engine found it, and what failed before."""
    found = plan.solution
    if found.engine == "plain":
        return (
            f"A makeshift plan: the solver's usual engines gave none ({found.why or found.trouble}). "
            "It places what is missing and moves nothing for balance."
        )
    why = f" ({found.why})" if found.why else ""
    engine = f"the {found.engine} engine in {found.seconds:.3f} s{why}"
    # The quick engine's plan is used where the longer search, which may find a better one, fails.
    trouble = f" The search for a better plan failed ({found.trouble})." if found.trouble else ""
    level = found.proof.first_open
    if level is None:
        return f"Proven optimal in all {len(LEVELS)} levels by {engine}.{trouble}"
    reached, bound = found.proof.reached[level], found.proof.bounds[level]
    return f"Not proven optimal, by {engine}: {level} is {reached}, its bound {bound}.{trouble}"
