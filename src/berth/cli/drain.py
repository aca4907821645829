"""`berth drain` and `berth undrain`: empty Members, and let them hold Items again."""

import asyncio
import re
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from berth.cli.analysis import brain_of
from berth.cli.cluster import with_client
from berth.cli.errors import UsageError, not_found, note
from berth.cli.objects import PoolObjects, Source
from berth.cli.options import Context, Kubeconfig, Namespace, Output, option, print_json
from berth.cli.tables import console
from berth.kinds import AssignmentObject, MemberObject
from berth.kube import ASSIGNMENTS, MEMBERS, Client, Conflict, NotFound
from berth.words import counted, still_here

PERIOD = 0.25
"""Seconds between two reads of what is left."""
NO_CONTROLLER_AFTER = 10.0
"""Seconds after which a note says that no controller has acted yet."""
LIMIT_BEFORE = "berth.dev/limit-before-drain"
"""Annotation of a drained Member: the limit that `berth undrain` restores."""
NO_CONTROLLER = "no controller has acted on the drain yet"
WAITING = "waiting for the controller"
ATTEMPTS = 5
"""Times that a write is tried when somebody else changes the Member meanwhile."""

Left = dict[str, list[str] | None]
"""By Member: the Items that it still has; None while no controller has acted on the drain."""


def drain_command(
    members: Annotated[list[str], typer.Argument(metavar="MEMBER", help="Members to empty.")],
    wait: Annotated[bool, option("Wait until they hold nothing.", "--wait")] = False,
    timeout: Annotated[str | None, option("How long to wait: 90s, 10m or 1h. Default: no limit.")] = None,
    output: Output = "table",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Empty Members, so that they can be stopped.

    It sets their limit to 0, and the controller moves their Items to other Members.

    `berth undrain` restores the limit. The exit code is 1 if --timeout passes before they are empty.
    """
    if timeout is not None and not wait:
        raise UsageError("--timeout needs --wait")
    seconds = None if timeout is None else parse_duration(timeout)

    async def run(client: Client, namespace: str | None) -> int:
        started = time.monotonic()
        drained = await set_limits(client, namespace, members, drain_patch)
        if output == "table":
            for one in drained:
                now = f"is draining: its limit was {one.before} and is now 0"
                print(f"Member {one.name} {now if one.changed else 'is already draining'}", flush=True)
        left: Left = {}
        try:
            if wait:
                left = await _wait(client, namespace, drained, seconds, output)
        except asyncio.CancelledError:
            note("stopped waiting; the drain goes on until berth undrain ends it")
            raise
        if output == "json":
            facts = [(_json(one, namespace), left.get(one.name)) for one in drained]
            print_json([f | {"drained": items == [] if wait else None, "left": items} for f, items in facts])
        elif not wait:
            print(f"berth drain {' '.join(members)} --wait waits until they are empty.")
        rest = {name: items for name, items in left.items() if items != []}
        for name, items in rest.items():
            held = NO_CONTROLLER if items is None else still_here(len(items))
            passed = f"{time.monotonic() - started:.0f} s"
            note(f"Member {name} is not empty after {passed}: {held}; see berth explain member {name}")
        return 1 if rest else 0

    if code := with_client(Source((), kubeconfig, context, namespace), run):
        raise typer.Exit(code)


def undrain_command(
    members: Annotated[list[str], typer.Argument(metavar="MEMBER", help="Members to use again.")],
    limit: Annotated[
        int | None, option("The new limit. Default: the limit before the drain.", min=1, max=4096)
    ] = None,
    output: Output = "table",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Let drained Members hold Items again."""

    async def run(client: Client, namespace: str | None) -> None:
        undrained = await set_limits(client, namespace, members, lambda m: undrain_patch(m, limit))
        if output == "json":
            print_json([_json(one, namespace) for one in undrained])
            return
        for one in undrained:
            again = f"may hold {counted(one.limit, 'Item')} again"
            words = again if one.changed else f"is not draining: its limit is {one.limit}"
            print(f"Member {one.name} {words}")

    with_client(Source((), kubeconfig, context, namespace), run)


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `10m`, `1h` or `1h30m`. Raises UsageError."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    if not text or parts is None:
        raise UsageError(f"--timeout is a time such as 90s, 10m or 1h30m, not {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


# ---- limits ----------------------------------------------------------------------------------------


class Limited(NamedTuple):
    """A Member after its limit was set."""

    name: str
    uid: str
    before: int
    """Its limit until now."""
    limit: int
    generation: int
    """The generation of the object that has the limit."""

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return self.limit != self.before


Json = dict[str, Any]


def drain_patch(member: Json) -> Json | None:
    """The merge patch that drains a Member; None where its limit is 0 already."""
    limit = member["spec"]["limit"]
    return None if limit == 0 else _patch(0, str(limit))


def undrain_patch(member: Json, limit: int | None) -> Json | None:
    """The merge patch that restores a Member's limit, or sets `limit`; None where nothing has to change.

    Raises UsageError where the limit before the drain is not known.
    """
    if limit is not None:
        return _patch(limit, None)
    if member["spec"]["limit"] > 0:
        return None
    before = (member["metadata"].get("annotations") or {}).get(LIMIT_BEFORE)
    if before is None or not before.isdecimal():
        name = member["metadata"]["name"]
        raise UsageError(
            f"Member {name} has limit 0, and its limit before the drain is not known: give --limit, as in: "
            f"berth undrain {name} --limit 100"
        )
    return _patch(int(before), None)


def _patch(limit: int, before: str | None) -> Json:
    return {"metadata": {"annotations": {LIMIT_BEFORE: before}}, "spec": {"limit": limit}}


async def set_limits(
    client: Client, namespace: str | None, names: list[str], patch: Callable[[Json], Json | None]
) -> list[Limited]:
    """Patch Members. Raises UsageError, before anything is written, where one of them does not exist."""
    for name in names:
        await _get_member(client, namespace, name)
    return [await _set_limit(client, namespace, name, patch) for name in dict.fromkeys(names)]


async def _get_member(client: Client, namespace: str | None, name: str) -> Json:
    try:
        member: Json = await client.get(MEMBERS.path(namespace, name))
        return member
    except NotFound:
        pass
    names = [m.metadata.name for m in await client.list(MEMBERS.path(namespace), type=MemberObject)]
    raise UsageError(not_found("Member", name, names, f"namespace {namespace}"))


async def _set_limit(
    client: Client, namespace: str | None, name: str, patch: Callable[[Json], Json | None]
) -> Limited:
    for attempt in range(1, ATTEMPTS + 1):
        member = await _get_member(client, namespace, name)
        before = member["spec"]["limit"]
        if (change := patch(member)) is None:
            break
        # The annotation must have the limit that is replaced, so nobody else's write may come between.
        change["metadata"]["resourceVersion"] = member["metadata"]["resourceVersion"]
        try:
            member = await client.patch(MEMBERS.path(namespace, name), change, "merge")
            break
        except (Conflict, NotFound):
            if attempt == ATTEMPTS:
                raise
    meta = member["metadata"]
    return Limited(meta["name"], meta["uid"], before, member["spec"]["limit"], meta["generation"])


def _json(one: Limited, namespace: str | None) -> Json:
    return {"member": one.name, "namespace": namespace, "limitBefore": one.before, "limit": one.limit}


# ---- --wait ----------------------------------------------------------------------------------------


async def _wait(
    client: Client, namespace: str | None, drained: list[Limited], timeout: float | None, output: Output
) -> Left:
    """What each Member still has when all are empty or the time is over.

    Until then it is shown: by bars on a terminal, else by a line for each change.
    """
    bars = output == "table" and sys.stdout.isatty()
    stream = sys.stderr if output == "json" else sys.stdout
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"))
    started, noted = time.monotonic(), False
    left: Left = {}
    with Progress(*columns, TimeElapsedColumn(), console=console(), disable=not bars) as progress:
        tasks = {m.name: progress.add_task(m.name, total=None, words=WAITING) for m in drained}
        while True:
            for member in drained:
                before = left.get(member.name)
                if before == []:
                    continue
                items = left[member.name] = await remaining(client, namespace, member)
                if items is None or (before and len(items) == len(before)):
                    continue
                words = f"{counted(len(items), 'Item')} left" if items else "empty"
                # A bar with a total of 0 would look busy for ever, even where a Member never held anything.
                task = progress.tasks[tasks[member.name]]
                total = max(task.total or 1, len(items))
                progress.update(task.id, total=total, completed=total - len(items), words=words)
                if not bars:
                    print(f"Member {member.name}: {words}", file=stream, flush=True)
            passed = time.monotonic() - started
            if all(items == [] for items in left.values()) or (timeout is not None and passed >= timeout):
                return left
            if passed > NO_CONTROLLER_AFTER and not noted and None in left.values():
                noted = True
                note(f"{NO_CONTROLLER}: is berth controller running?")
            await asyncio.sleep(PERIOD if timeout is None else min(PERIOD, timeout - passed))


async def remaining(client: Client, namespace: str | None, drained: Limited) -> list[str] | None:
    """Items that the Member still has; None while no controller has acted on the new limit.

    A deleted Member has none, and a new Member with the same name is ignored.
    """
    try:
        member = await client.get(MEMBERS.path(namespace, drained.name), type=MemberObject)
    except NotFound:
        return []
    if member.metadata.uid != drained.uid:
        return []
    try:
        assignment = await client.get(ASSIGNMENTS.path(namespace, drained.name), type=AssignmentObject)
        left = items_left(member, assignment)
    except NotFound:
        left = []
    observed = (member.status.observed_generation if member.status else None) or 0
    # A leader that has not observed the new limit may still be about to add something.
    return None if not left and observed < drained.generation else left


def items_left(member: MemberObject, assignment: AssignmentObject) -> list[str]:
    """Items that a Member still holds or reports, in the sense of its condition `Drained`."""
    if assignment.of_another(member.metadata.uid):
        return []
    name = member.metadata.name
    pool = PoolObjects("", member.spec.pool, members={name: member}, assignments={name: assignment})
    state = brain_of(pool).ledger.member_named(name)
    return sorted(state.held_or_reported) if state else []
