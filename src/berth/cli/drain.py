"""`berth drain` and `berth undrain`: empty a Member, and let it hold Items again."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from berth.cli.errors import UsageError, complain, note, usage_errors
from berth.cli.options import Context, Kubeconfig, Namespace, Output, OutputOption, print_json
from berth.words import counted, still_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from berth.cli.draining import Patched
    from berth.kube import Client

PERIOD = 0.25
"""Seconds between two looks at what is left."""
UNHEARD = 10.0
"""Seconds after which the user is told that no controller has acted yet."""


def drain_command(
    members: Annotated[list[str], typer.Argument(metavar="MEMBER", help="Members to empty.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they hold nothing.")] = False,
    timeout: Annotated[
        str | None, typer.Option(help="How long to wait, as in 90s, 10m or 1h. Default: for ever.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="The same as berth undrain.")] = False,
    output: OutputOption = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Empty Members: set their limit to 0, so that what they hold moves elsewhere.

    The limit until now is remembered for berth undrain. Exit code 1 when --timeout passes first.
    """
    with usage_errors():
        if undo:
            if wait or timeout:
                raise UsageError("--undo takes effect at once: give it without --wait and --timeout")
            _undrain(members, None, output, (kubeconfig, context, namespace))
            return
        if timeout is not None and not wait:
            raise UsageError("--timeout needs --wait")
        seconds = None if timeout is None else parse_duration(timeout)
        code = asyncio.run(_drain(members, wait, seconds, output, (kubeconfig, context, namespace)))
    if code:
        raise typer.Exit(code)


def undrain_command(
    members: Annotated[list[str], typer.Argument(metavar="MEMBER", help="Members to use again.")],
    limit: Annotated[
        int | None, typer.Option(min=1, max=4096, help="The new limit. Default: that before the drain.")
    ] = None,
    output: OutputOption = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Let drained Members hold Items again, up to the limit that they had."""
    with usage_errors():
        _undrain(members, limit, output, (kubeconfig, context, namespace))


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `10m`, `1h` or `1h30m`. Raises UsageError."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    if not text or parts is None:
        raise UsageError(f"--timeout is a time such as 90s, 10m or 1h30m, not {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


async def _drain(
    names: list[str], wait: bool, timeout: float | None, output: Output, access: tuple[Any, Any, str | None]
) -> int:
    from berth.cli.cluster import connect
    from berth.cli.draining import check_names, drain
    from berth.kube import load_config

    config = load_config(access[0], access[1])
    namespace = access[2] or config.namespace
    started = time.monotonic()
    async with connect(config) as client:
        await check_names(client, namespace, names)
        drained = [await drain(client, namespace, name) for name in dict.fromkeys(names)]
        for one in drained:
            if output is Output.TABLE:
                print(_said(one), flush=True)
        try:
            left = await _wait(client, namespace, drained, timeout, output) if wait else None
        except asyncio.CancelledError:
            note("berth: no longer waiting; the drain goes on, and berth undrain ends it")
            raise
    if output is Output.JSON:
        print_json([_facts(one, namespace, left) for one in drained])
    if left is None:
        if output is Output.TABLE:
            print(f"berth drain {' '.join(names)} --wait waits until they are empty.")
        return 0
    stuck = {name: items for name, items in left.items() if items is None or items}
    for name, items in stuck.items():
        held = "no controller has acted on it yet" if items is None else still_here(len(items))
        complain(
            f"Member {name} is not empty after {time.monotonic() - started:.0f} s: {held}; "
            f"see berth explain member {name}"
        )
    return 1 if stuck else 0


def _said(one: Patched) -> str:
    if one.changed:
        return f"Member {one.name} is draining: its limit was {one.before} and is 0 now"
    return f"Member {one.name} is draining already: its limit is 0"


def _facts(one: Patched, namespace: str, left: dict[str, list[str] | None] | None) -> dict[str, Any]:
    items = left[one.name] if left is not None else None
    return {
        "member": one.name,
        "namespace": namespace,
        "limitBefore": one.before,
        "limit": one.limit,
        "drained": None if left is None else items == [],
        "left": items,
    }


async def _wait(
    client: Client, namespace: str, drained: list[Patched], timeout: float | None, output: Output
) -> dict[str, list[str] | None]:
    """What each Member still has when all are empty or the time is over."""
    from berth.cli.draining import remaining

    started = time.monotonic()
    left: dict[str, list[str] | None] = {}
    warned = False
    with _progress(output) as show:
        while True:
            for one in drained:
                if left.get(one.name) != []:
                    left[one.name] = await remaining(client, namespace, one)
            show(left)
            passed = time.monotonic() - started
            if all(items == [] for items in left.values()) or (timeout is not None and passed >= timeout):
                return left
            if passed > UNHEARD and not warned and any(items is None for items in left.values()):
                warned = True
                note("berth: no controller has acted on it yet: is berth controller running?")
            await asyncio.sleep(PERIOD if timeout is None else min(PERIOD, timeout - passed))


def _progress(output: Output) -> Any:
    """A context manager whose value shows what is left: bars on a terminal, lines elsewhere."""
    if output is Output.JSON or not sys.stdout.isatty():
        return nullcontext(_lines(sys.stderr if output is Output.JSON else sys.stdout))
    from berth.cli.drain_bar import Bars

    return Bars()


def _lines(stream: Any) -> Callable[[dict[str, list[str] | None]], None]:
    before: dict[str, int] = {}

    def show(left: dict[str, list[str] | None]) -> None:
        for name, items in left.items():
            count = -1 if items is None else len(items)
            if before.get(name) != count and count >= 0:
                words = f"{counted(count, 'Item')} left" if count else "empty"
                print(f"Member {name}: {words}", file=stream, flush=True)
                before[name] = count

    return show


def _undrain(
    names: list[str], limit: int | None, output: Output, access: tuple[Any, Any, str | None]
) -> None:
    from berth.cli.cluster import connect
    from berth.cli.draining import check_names, undrain
    from berth.kube import load_config

    config = load_config(access[0], access[1])
    namespace = access[2] or config.namespace

    async def run() -> list[Patched]:
        async with connect(config) as client:
            await check_names(client, namespace, names)
            return [await undrain(client, namespace, name, limit) for name in dict.fromkeys(names)]

    for_all = asyncio.run(run())
    if output is Output.JSON:
        print_json(
            [
                {"member": one.name, "namespace": namespace, "limitBefore": one.before, "limit": one.limit}
                for one in for_all
            ]
        )
        return
    for one in for_all:
        if one.changed:
            print(f"Member {one.name} may hold {counted(one.limit, 'Item')} again")
        else:
            print(f"Member {one.name} does not drain: its limit is {one.limit}")
