"""Polls feeds, each by one process at a time, and keeps what it reads in SQLite.

    python examples/feeds/poller.py --store feeds.sqlite

Settings come from BERTH_* variables, see docs/workers.md. An Item's `data.source` is a file whose lines are
the feed (a stand-in for a URL), `data.seconds` how often to look.
"""

import argparse
import asyncio
import logging
from pathlib import Path

from store import StaleEpoch, Store

import berth

log = logging.getLogger("poller")


class Poller(berth.Worker):
    """The primary of an Item polls its feed; replicas stand by."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def prepare(self, item: berth.Held) -> None:
        if "source" not in item.data:
            raise ValueError("the Item's data has no `source`")

    async def activate(self, item: berth.Held) -> None:
        position = self.store.begin(item.name, item.epoch)
        log.info("%s: polling from %d on, epoch %d", item.name, position, item.epoch)
        item.spawn(self.poll(item))  # ends after deactivate, and at once when the Lease is lost

    async def poll(self, item: berth.Held) -> None:
        seconds = float(item.data.get("seconds", "1"))
        while item.active():
            lines = await asyncio.to_thread(Path(item.data["source"]).read_text)
            position = self.store.begin(item.name, item.epoch)
            new = lines.splitlines()[position:]
            # Between this look and the write time passes: the store checks the epoch once more.
            if new and item.active():
                try:
                    self.store.append(item.name, item.epoch, new)
                except StaleEpoch as error:
                    log.warning("%s", error)
                    return
            await asyncio.sleep(seconds)

    async def deactivate(self, item: berth.Held) -> None:
        log.info("%s: no longer polling", item.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="the SQLite file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    store = Store(arguments.store)
    try:
        asyncio.run(berth.serve(Poller(store)))
    finally:
        store.close()


if __name__ == "__main__":
    main()
