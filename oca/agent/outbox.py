"""The outbox: counted bytes become numbered batches that stay until fill has stored them.

What was read, what is owed and the batch are one transaction, so a crash at any instant leaves
counts either in the counters or in a batch, never in both and never in neither. Within one boot
batches are numbered from 1 without gaps. All calls block; one thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from msgspec import UNSET

from oca.agent.deltas import CounterKey, Delta, Key, delta
from wire.codec import encode
from wire.events import PLAYED_MAX, ROWS_MAX, EventAck, EventBatch, FillProgress, Played

T = TypeVar("T")

OUTBOX_FILE = "outbox.sqlite"
BATCHES_MAX = 1_000
"""With so many waiting nothing is collected: the counters keep the sums, only minutes blur."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
  tab TEXT, asset INTEGER, home TEXT, bytes INTEGER NOT NULL, PRIMARY KEY (tab, asset, home)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS carry (
  asset INTEGER, home TEXT, bytes INTEGER NOT NULL, PRIMARY KEY (asset, home)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ring (name TEXT PRIMARY KEY, newest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (
  boot INTEGER, seq INTEGER, body BLOB NOT NULL, PRIMARY KEY (boot, seq)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One batch not acknowledged yet; `body` is the encoded EventBatch."""

    boot: int
    seq: int
    body: bytes


class Outbox:
    """`run/outbox.sqlite` of one appliance. Opening it begins a new boot."""

    def __init__(self, run_dir: Path, appliance: str, site: str, now_s: float) -> None:
        """`now_s` is Unix time: a boot's number is at least that, so that it grows even when the
        run folder was lost."""
        self._appliance, self._site = appliance, site
        self._db = sqlite3.connect(
            run_dir / OUTBOX_FILE, isolation_level=None, check_same_thread=False
        )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._seen: dict[CounterKey, int] = {
            (tab, asset, home): count
            for tab, asset, home, count in self._db.execute("SELECT * FROM seen")
        }
        self._carry: dict[Key, int] = {
            (asset, home): count for asset, home, count in self._db.execute("SELECT * FROM carry")
        }
        self.rings: dict[str, int] = dict(self._db.execute("SELECT name, newest FROM ring"))
        """Up to which row what players say was taken over, by ring (oca.playback)."""
        (last,) = self._db.execute("SELECT MAX(value) FROM meta WHERE name='boot'").fetchone()
        self.boot = max((last or 0) + 1, int(now_s))
        self._seq = 0
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (self.boot,))

    def begin_boot(self, boot: int) -> None:
        """Go on under a later number: somebody remembers one of ours that we do not."""
        if boot > self.boot:
            self.boot, self._seq = boot, 0
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (boot,))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def collect(
        self,
        counters: Iterable[tuple[CounterKey, int]],
        minute: int,
        played: Sequence[Played] = (),
        rings: Mapping[str, int] = MappingProxyType({}),
        filling: FillProgress | None = None,
    ) -> int:
        """Put what was delivered since the last time into batches; returns how many. With it goes
        what players said, read from `rings` up to the rows given, and how far the fill is."""
        change = delta(counters, self._seen, self._carry, minute)
        if not change.seen and not rings and filling is None:
            return 0
        batches = self._batches(change, played, filling)
        with _transaction(self._db):
            self._db.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)",
                [(*key, count) for key, count in change.seen.items()],
            )
            self._db.execute("DELETE FROM carry")
            self._db.executemany(
                "INSERT INTO carry VALUES (?, ?, ?)",
                [(*key, count) for key, count in change.carry.items()],
            )
            self._db.executemany("INSERT OR REPLACE INTO ring VALUES (?, ?)", rings.items())
            self._db.executemany(
                "INSERT INTO batch VALUES (?, ?, ?)",
                [(batch.boot, batch.seq, encode(batch)) for batch in batches],
            )
        self._seq += len(batches)
        self._seen.update(change.seen)
        self._carry = change.carry
        self.rings.update(rings)
        return len(batches)

    def _batches(
        self, change: Delta, played: Sequence[Played], filling: FillProgress | None
    ) -> list[EventBatch]:
        rows, said = _parts(change.rows, ROWS_MAX), _parts(played, PLAYED_MAX)
        told = [] if filling is None else [filling]
        return [
            EventBatch(
                appliance=self._appliance,
                site=self._site,
                boot=self.boot,
                seq=self._seq + 1 + number,
                rows=some or (),
                played=spoken or UNSET,
                filling=far or UNSET,
            )
            for number, (some, spoken, far) in enumerate(zip_longest(rows, said, told))
        ]

    def retire(self, tables: Iterable[str]) -> None:
        """These counter tables are gone for good: nothing of them needs to be remembered."""
        gone = set(tables)
        if gone:
            with _transaction(self._db):
                self._db.executemany("DELETE FROM seen WHERE tab=?", [(tab,) for tab in gone])
            self._seen = {key: count for key, count in self._seen.items() if key[0] not in gone}

    def waiting(self) -> int:
        """How many batches are not acknowledged."""
        (count,) = self._db.execute("SELECT COUNT(*) FROM batch").fetchone()
        return int(count)

    def first(self) -> Waiting | None:
        """The oldest batch that is not acknowledged."""
        row = self._db.execute(
            "SELECT boot, seq, body FROM batch ORDER BY boot, seq LIMIT 1"
        ).fetchone()
        return Waiting(*row) if row else None

    def acknowledge(self, ack: EventAck) -> int:
        """Forget what fill has stored; returns how many batches that was."""
        done = self._db.execute("DELETE FROM batch WHERE boot=? AND seq<=?", (ack.boot, ack.seq))
        return done.rowcount


def _parts(rows: Sequence[T], most: int) -> list[tuple[T, ...]]:
    return [tuple(rows[start : start + most]) for start in range(0, len(rows), most)]


class _transaction:
    """BEGIN … COMMIT, or ROLLBACK when something raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")
