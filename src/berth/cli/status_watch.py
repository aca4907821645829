"""The state of Pools, live: informers keep the objects, and what changed is drawn anew."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from berth.cli.bars import console
from berth.cli.cluster import assemble, connect, namespace_of, probe
from berth.cli.overview import Overview, overview_json
from berth.cli.source import Pools, Source
from berth.cli.status import overviews
from berth.cli.status_table import SHOWN, headline, status_view
from berth.kinds import AssignmentObject, ItemObject, MemberObject, PoolObject
from berth.kube import ASSIGNMENTS, ITEMS, MEMBERS, POOLS, Client, Informer, load_config

PERIOD = 0.5
"""Seconds between two drawings, more where a fleet is so large that one takes long."""
SHARE = 5
"""At most one part in so many of the time is spent on looking."""
FRESH = 10.0
"""Seconds for which a failed connection is mentioned."""


class Follower:
    """Keeps all objects of Berth of a namespace (None: of all); an async context manager."""

    def __init__(self, client: Client, namespace: str | None) -> None:
        self.changed = asyncio.Event()
        self._stack = AsyncExitStack()

        def follow(resource: Any, type_: Any) -> Informer[Any]:
            return Informer(client, resource, type_, namespace, on_event=lambda *_: self.changed.set())

        self._items: Informer[ItemObject] = follow(ITEMS, ItemObject)
        self._members: Informer[MemberObject] = follow(MEMBERS, MemberObject)
        self._assignments: Informer[AssignmentObject] = follow(ASSIGNMENTS, AssignmentObject)
        self._pools: Informer[PoolObject] = follow(POOLS, PoolObject)

    async def __aenter__(self) -> Follower:
        for informer in (self._items, self._members, self._assignments, self._pools):
            await self._stack.enter_async_context(informer)
        for informer in (self._items, self._members, self._assignments, self._pools):
            await informer.synced()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def pools(self) -> Pools:
        """The Pools as they stand. Leases are not followed: their renewals would be most of the traffic."""
        stores = (self._items.store, self._members.store, self._assignments.store, self._pools.store)
        items, members, assignments, pools = stores
        return assemble(items.values(), members.values(), assignments.values(), pools.values(), None)


class LastWarning(logging.Handler):
    """Keeps the last warning of the client, to be shown where it does not disturb the picture."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""
        self.at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.text, self.at = record.getMessage(), time.monotonic()

    def fresh(self) -> str:
        """The message, while it is news."""
        return self.text if self.text and time.monotonic() - self.at < FRESH else ""


async def watch(source: Source, where: str, *, as_json: bool, everything: bool) -> None:
    """Show what changes until cancelled."""
    warnings = LastWarning()
    logging.getLogger("berth").addHandler(warnings)
    config = load_config(source.kubeconfig, source.context)
    namespace = namespace_of(source, config)
    try:
        async with connect(config) as client:
            await probe(client, namespace)
            async with Follower(client, namespace) as follower:
                screen = console()
                if as_json:
                    await _lines(follower, _json_line)
                elif screen.is_terminal:
                    await _live(follower, screen, where, warnings, None if everything else SHOWN)
                else:
                    await _lines(follower, lambda views: _text_lines(views, where))
    finally:
        logging.getLogger("berth").removeHandler(warnings)


async def _live(
    follower: Follower, screen: Console, where: str, warnings: LastWarning, shown: int | None
) -> None:
    with Live(console=screen, auto_refresh=False, screen=False) as live:
        while True:
            started = time.monotonic()
            follower.changed.clear()
            picture: RenderableType = status_view(overviews(follower.pools()), where, shown)
            live.update(Group(picture, _footer(warnings)), refresh=True)
            await asyncio.sleep(max(PERIOD, SHARE * (time.monotonic() - started)))
            # Drawn again in a while even if nothing came: a warning is news for some time only.
            try:
                async with asyncio.timeout(FRESH / 2):
                    await follower.changed.wait()
            except TimeoutError:
                pass


def _footer(warnings: LastWarning) -> Text:
    warning = warnings.fresh()
    now = datetime.now().astimezone().strftime("%H:%M:%S")
    if warning:
        return Text(f"{now}  {warning}", "yellow")
    return Text(f"{now}  Ctrl-C ends", "dim")


async def _lines(follower: Follower, lines: Any) -> None:
    before = ""
    while True:
        started = time.monotonic()
        follower.changed.clear()
        text = lines(overviews(follower.pools()))
        if text != before:
            print(text, flush=True)
            before = text
        await asyncio.sleep(max(PERIOD, SHARE * (time.monotonic() - started)))
        await follower.changed.wait()


def _json_line(views: dict[str, Overview]) -> str:
    return json.dumps(
        {"pools": {key: overview_json(view) for key, view in views.items()}}, ensure_ascii=False
    )


def _text_lines(views: dict[str, Overview], where: str) -> str:
    if not views:
        return f"There is nothing of berth.dev in {where}."
    return "\n".join(
        f"{headline(key, view).plain}; {len(view.troubles)} problems"
        + (f", first: {view.troubles[0].message}" if view.troubles else "")
        for key, view in views.items()
    )
