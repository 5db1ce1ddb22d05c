"""Counted bytes, stored durably and once: SQLite in WAL mode, one writer.

A batch is known by (appliance, boot, seq); what is acknowledged is on the disk (synchronous=FULL).
Rows are added up per day for planning and per minute for reports, so a busy fleet stays small.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import UNSET

from fill.demand import DemandRow
from wire.errors import WireError
from wire.events import EventAck, EventBatch

MINUTES_A_DAY = 1440
BUSY_S = 10.0  # a planner's read never holds the writer back; a checkpoint may, briefly
_SCHEMA = """
CREATE TABLE IF NOT EXISTS acked (
  appliance TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (appliance, boot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS early (
  appliance TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (appliance, boot, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivered (
  day INTEGER NOT NULL, home TEXT NOT NULL, asset INTEGER NOT NULL, site TEXT NOT NULL,
  bytes INTEGER NOT NULL, PRIMARY KEY (day, home, asset, site)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS minutes (
  minute INTEGER NOT NULL, home TEXT NOT NULL, site TEXT NOT NULL, appliance TEXT NOT NULL,
  bytes INTEGER NOT NULL, PRIMARY KEY (minute, home, site, appliance)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS purge_acks (
  appliance TEXT PRIMARY KEY, number INTEGER NOT NULL, at_s INTEGER NOT NULL) WITHOUT ROWID;
"""
_ADD_DAY = (
    "INSERT INTO delivered VALUES (?,?,?,?,?) "
    "ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes"
)
_ADD_MINUTE = (
    "INSERT INTO minutes VALUES (?,?,?,?,?) "
    "ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes"
)


@contextmanager
def reading(path: Path) -> Iterator[History]:
    """The history at `path`, for one question; raises WireError when it is none."""
    try:
        history = History(path)
        try:
            yield history
        finally:
            history.close()
    except sqlite3.Error as exc:
        raise unusable(path, exc) from exc


def unusable(path: Path, exc: sqlite3.Error) -> WireError:
    """What to tell of a history that cannot be used."""
    hint = "move it away: its counts are lost then, and new ones flow on"
    return WireError(str(path), "", f"this cannot be used as a history: {exc}", hint=hint)


class History:
    """The history database; one instance belongs to one thread."""

    def __init__(self, path: Path) -> None:
        """Opens, and makes if needed, the database at `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def store(self, batches: Iterable[EventBatch]) -> list[tuple[EventAck, bool]]:
        """Store batches in one transaction; for each the acknowledgement, and whether it was new.

        Raises sqlite3.Error, and then nothing of them is stored.
        """
        answers = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for batch in batches:
                new = self._is_new(batch)
                if new:
                    self._add(batch)
                answers.append((EventAck(boot=batch.boot, seq=self._advance(batch)), new))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return answers

    def demand(self, days: int) -> list[DemandRow]:
        """Bytes by day, home site and asset, of the `days` last days that have any."""
        rows = self._db.execute(
            "SELECT day, home, asset, SUM(bytes) FROM delivered WHERE day IN "
            "(SELECT DISTINCT day FROM delivered ORDER BY day DESC LIMIT ?) "
            "GROUP BY day, home, asset ORDER BY day, home, asset",
            (days,),
        )
        return [DemandRow(*row) for row in rows]

    def totals(self, since_minute: int) -> list[tuple[str, str, str, int]]:
        """(home site, serving site, appliance, bytes) from a minute (Unix minutes) on."""
        rows = self._db.execute(
            "SELECT home, site, appliance, SUM(bytes) FROM minutes WHERE minute >= ? "
            "GROUP BY home, site, appliance ORDER BY home, site, appliance",
            (since_minute,),
        )
        return list(rows)

    def forget(self, before_day: int, before_minute: int) -> None:
        """Drop counts of days (since 1970) and minutes (Unix minutes) before these."""
        self._db.execute("DELETE FROM delivered WHERE day < ?", (before_day,))
        self._db.execute("DELETE FROM minutes WHERE minute < ?", (before_minute,))

    def ack_purge(self, appliance: str, number: int, now_s: int) -> None:
        """Remember that an appliance has carried out the purge list up to `number`."""
        self._db.execute(
            "INSERT INTO purge_acks VALUES (?,?,?) ON CONFLICT DO UPDATE SET "
            "number = excluded.number, at_s = excluded.at_s WHERE excluded.number > number",
            (appliance, number, now_s),
        )

    def purge_acks(self) -> Mapping[str, tuple[int, int]]:
        """Appliance → (purge list acknowledged, when in Unix seconds)."""
        rows = self._db.execute("SELECT appliance, number, at_s FROM purge_acks")
        return {appliance: (number, at_s) for appliance, number, at_s in rows}

    def _is_new(self, batch: EventBatch) -> bool:
        if batch.seq <= self._acked(batch):
            return False
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO early VALUES (?,?,?)", (batch.appliance, batch.boot, batch.seq)
        )
        return cursor.rowcount == 1

    def _acked(self, batch: EventBatch) -> int:
        row = self._db.execute(
            "SELECT seq FROM acked WHERE appliance = ? AND boot = ?", (batch.appliance, batch.boot)
        ).fetchone()
        return int(row[0]) if row else 0

    def _advance(self, batch: EventBatch) -> int:
        """Move the acknowledgement over every batch that follows without a gap; return it.

        What the sender does not have any more was acknowledged by an earlier history.
        """
        key, start = (batch.appliance, batch.boot), self._acked(batch)
        seq = start if batch.oldest is UNSET else max(start, min(batch.oldest, batch.seq) - 1)
        early = self._db.execute(
            "SELECT seq FROM early WHERE appliance = ? AND boot = ? AND seq > ? ORDER BY seq",
            (*key, seq),
        )
        for (next_seq,) in early.fetchall():
            if next_seq > seq + 1:
                break
            seq = next_seq
        if seq != start:
            self._db.execute("INSERT OR REPLACE INTO acked VALUES (?,?,?)", (*key, seq))
            self._db.execute(
                "DELETE FROM early WHERE appliance = ? AND boot = ? AND seq <= ?", (*key, seq)
            )
        return seq

    def _add(self, batch: EventBatch) -> None:
        days: defaultdict[tuple[int, str, int, str], int] = defaultdict(int)
        minutes: defaultdict[tuple[int, str, str, str], int] = defaultdict(int)
        for row in batch.rows:
            days[row.minute // MINUTES_A_DAY, row.home, row.asset, batch.site] += row.bytes
            minutes[row.minute, row.home, batch.site, batch.appliance] += row.bytes
        self._db.executemany(_ADD_DAY, [(*key, count) for key, count in days.items()])
        self._db.executemany(_ADD_MINUTE, [(*key, count) for key, count in minutes.items()])
