"""Where the poller puts what it has read: SQLite, with the epoch as fencing token."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS feeds (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, position INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    feed TEXT NOT NULL, position INTEGER NOT NULL, text TEXT NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (feed, position)
);
"""


class StaleEpoch(Exception):  # noqa: N818 - says what is so
    """Somebody with a newer epoch has taken the feed over: what comes late is refused."""


class Store:
    """Positions and entries of feeds. Any number of processes may have it open."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=10.0, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def begin(self, feed: str, epoch: int) -> int:
        """Take a feed over with a new epoch; where to read on. Raises StaleEpoch.

        From here on nothing of an older epoch is accepted, even if nothing new has been written yet.
        """
        with self._transaction():
            self._fence(feed, epoch)
            return self._position(feed)

    def append(self, feed: str, epoch: int, entries: Sequence[str]) -> int:
        """Add entries after the last one; the new position. Raises StaleEpoch, and nothing is written."""
        with self._transaction():
            self._fence(feed, epoch)
            position = self._position(feed)
            rows = [(feed, position + n, text, epoch) for n, text in enumerate(entries)]
            self._db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
            end = position + len(rows)
            self._db.execute("UPDATE feeds SET position = ? WHERE name = ?", (end, feed))
            return end

    def read(self, feed: str) -> list[tuple[int, str, int]]:
        """All entries of a feed: position, text, and the epoch that wrote it."""
        query = "SELECT position, text, epoch FROM entries WHERE feed = ? ORDER BY position"
        return list(self._db.execute(query, (feed,)))

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db)

    def _fence(self, feed: str, epoch: int) -> None:
        self._db.execute("INSERT OR IGNORE INTO feeds VALUES (?, ?, 0)", (feed, epoch))
        # The check and the write are one statement of one transaction: nobody can come in between.
        done = self._db.execute(
            "UPDATE feeds SET epoch = ? WHERE name = ? AND epoch <= ?", (epoch, feed, epoch)
        )
        if done.rowcount == 0:
            (newest,) = self._db.execute("SELECT epoch FROM feeds WHERE name = ?", (feed,)).fetchone()
            raise StaleEpoch(f"feed {feed}: epoch {epoch} is older than {newest}")

    def _position(self, feed: str) -> int:
        (position,) = self._db.execute("SELECT position FROM feeds WHERE name = ?", (feed,)).fetchone()
        return int(position)


class _Transaction:
    """BEGIN IMMEDIATE: the lock is taken before anything is read."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
