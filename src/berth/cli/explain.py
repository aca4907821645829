"""`berth explain item|member`: where it is and why, what is wanted, and the one thing that it waits for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from berth.cli.errors import UsageError, usage_errors
from berth.cli.options import Context, Files, Kubeconfig, Namespace, Output, OutputOption, print_json

if TYPE_CHECKING:
    from berth.cli.snapshot import PoolSnapshot
    from berth.cli.source import Source

explain_app = typer.Typer(
    help="Say where an Item or a Member stands: what is, what is wanted, and what it waits for.",
    no_args_is_help=True,
)


@explain_app.command("item")
def item_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the Item.")],
    files: Files = None,
    output: OutputOption = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Say who holds an Item and why, who should, and the one thing that it waits for now."""
    with usage_errors():
        from berth.cli.explaining import explain_item
        from berth.cli.situation import situation
        from berth.cli.source import Source

        source = Source(tuple(files or ()), kubeconfig, context, namespace)
        pool = _pool(source, "Item", name, lambda p: p.items, _listed)
        facts = explain_item(situation(pool), name)
        _answer(facts, pool, output)


@explain_app.command("member")
def member_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the Member.")],
    files: Files = None,
    output: OutputOption = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Say what a Member holds and why, what it should hold, and the one thing that it waits for now."""
    with usage_errors():
        from berth.cli.explaining import explain_member
        from berth.cli.situation import situation
        from berth.cli.source import Source

        source = Source(tuple(files or ()), kubeconfig, context, namespace)
        pool = _pool(source, "Member", name, lambda p: p.members, lambda p: p.assignments)
        facts = explain_member(situation(pool), name)
        _answer(facts, pool, output)


def _pool(
    source: Source,
    kind: str,
    name: str,
    existing: Callable[[PoolSnapshot], Iterable[str]],
    listed: Callable[[PoolSnapshot], Iterable[str]],
) -> PoolSnapshot:
    """The Pool whose `existing` objects have the name; else one in which it is only listed."""
    from berth.cli.source import load

    pools = load(source).values()
    found = [p for p in pools if name in existing(p)] or [p for p in pools if name in set(listed(p))]
    if len(found) == 1:
        return found[0]
    if found:
        where = ", ".join(sorted(p.namespace for p in found))
        raise UsageError(f"there are {len(found)} {kind}s of that name ({where}): give --namespace")
    names = sorted(name for p in pools for name in existing(p))
    raise UsageError(missing(kind, name, names, _where(source)))


def _where(source: Source) -> str:
    """Where was looked for a name."""
    if source.files:
        space = f" for namespace {source.namespace}" if source.namespace else ""
        return f" in what was read{space}"
    from berth.cli.cluster import namespace_of
    from berth.kube import load_config

    return f" in namespace {namespace_of(source, load_config(source.kubeconfig, source.context))}"


def _listed(pool: PoolSnapshot) -> Iterable[str]:
    """Items that some Assignment lists."""
    return (text.partition("#")[0] for a in pool.assignments.values() for text in a.items)


def missing(kind: str, name: str, names: list[str], where: str = "") -> str:
    """That there is no object of that name, and which there are."""
    close = difflib.get_close_matches(name, names, n=3) or names[:3]
    more = f" and {len(names) - len(close)} more" if len(names) > len(close) else ""
    known = f"there are: {', '.join(close)}{more}" if names else f"there are no {kind}s at all"
    return f"{kind} {name} does not exist{where}; {known}"


def _answer(facts: dict[str, Any], pool: PoolSnapshot, output: Output) -> None:
    if output is Output.JSON:
        print_json(facts)
        return
    from berth.cli.explain_text import print_facts

    print_facts(facts, led=bool(pool.leader))
