"""What each disk holds, in SQLite, so that a start needs no look into every folder.

Never the truth: that is the listing of `a/`. A row for what is not there, or a folder without a
row, is set right at the next start. So a refusal of this database stops nothing, and deleting the
file loses nothing but the dates of the last verification. All calls block; any thread may call.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oca.held import Held
from wire.log import get

INDEX_FILE = "index.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS asset (
  disk TEXT, asset INTEGER, bytes INTEGER NOT NULL, digest BLOB NOT NULL,
  verified_s INTEGER NOT NULL, PRIMARY KEY (disk, asset)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS age ON asset (disk, verified_s);
CREATE TABLE IF NOT EXISTS disk (uuid TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_log = get("index")


@dataclass(frozen=True, slots=True)
class Age:
    """One asset and when it was read and verified last (Unix time; 0: not known)."""

    asset: int
    disk: str
    verified_s: int


class Index:
    """`run/index.sqlite` of one appliance. `disk` is always a disk's uuid."""

    def __init__(self, run_dir: Path) -> None:
        """Open it; one that cannot be used is put aside, and everything listed anew."""
        self._path = run_dir / INDEX_FILE
        self._lock = threading.Lock()
        try:
            self._db = self._open()
        except sqlite3.Error as exc:
            self._db = self._begin_anew(str(exc))

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(_SCHEMA)
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        except BaseException:
            db.close()
            raise
        return db

    def _begin_anew(self, why: str) -> sqlite3.Connection:
        """Raises nothing: where no file can be made it lives in memory."""
        _log.error("the index cannot be used and is built anew; nothing is lost", why=why)
        try:
            for suffix in ("-wal", "-shm"):
                self._path.with_name(INDEX_FILE + suffix).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                self._path.rename(self._path.with_name(f"{INDEX_FILE}.broken"))
            return self._open()
        except (OSError, sqlite3.Error) as exc:
            _log.error("no index can be made, it is kept in memory", why=str(exc))
            db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            db.executescript(_SCHEMA)
            return db

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    # --- what is there ---------------------------------------------------------------------------

    def is_complete(self, disk: str) -> bool:
        """Whether everything on this disk was listed once; then the rows are believed."""
        return bool(self._rows("SELECT 1 FROM disk WHERE uuid=?", (disk,)))

    def held(self, disk: str) -> dict[int, Held]:
        """What the rows say of a disk."""
        sql = "SELECT asset, bytes, digest FROM asset WHERE disk=?"
        return {a: Held(n, digest.hex(), disk) for a, n, digest in self._rows(sql, (disk,))}

    def oldest(self, disks: Iterable[str]) -> Age | None:
        """What was verified longest ago, of all on these disks."""
        sql = "SELECT asset, disk, verified_s FROM asset WHERE disk=? ORDER BY verified_s LIMIT 1"
        found = [Age(*row) for disk in disks for row in self._rows(sql, (disk,))]
        return min(found, key=lambda age: age.verified_s, default=None)

    def since(self, disk: str, from_s: float) -> tuple[int, int]:
        """(assets, bytes) on a disk that were verified at `from_s` (Unix time) or later."""
        sql = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM asset WHERE disk=? AND verified_s>=?"
        rows = self._rows(sql, (disk, int(from_s)))
        return rows[0] if rows else (0, 0)

    # --- what changes ----------------------------------------------------------------------------

    def put(self, found: Mapping[int, Held], verified_s: float = 0) -> None:
        """These are stored; `verified_s` (Unix time) when they were verified."""
        rows = [
            (held.disk, asset, held.bytes, bytes.fromhex(held.digest), int(verified_s))
            for asset, held in found.items()
        ]
        self._change("INSERT OR REPLACE INTO asset VALUES (?, ?, ?, ?, ?)", rows)

    def remove(self, assets: Iterable[int], disk: str) -> None:
        """These are not on that disk (any more)."""
        self._change("DELETE FROM asset WHERE disk=? AND asset=?", [(disk, a) for a in assets])

    def complete(self, disk: str) -> None:
        """All that is on a disk has been put."""
        self._change("INSERT OR IGNORE INTO disk VALUES (?)", [(disk,)])

    def verified(self, age: Age) -> None:
        """An asset was read again, and is right."""
        row = (int(age.verified_s), age.disk, age.asset)
        self._change("UPDATE asset SET verified_s=? WHERE disk=? AND asset=?", [row])

    def keep_only(self, disks: Iterable[str]) -> None:
        """Forget disks that are no more: a replaced one does not come back."""
        kept = set(disks)
        gone = [row for row in self._rows("SELECT uuid FROM disk", ()) if row[0] not in kept]
        self._change("DELETE FROM asset WHERE disk=?", gone)
        self._change("DELETE FROM disk WHERE uuid=?", gone)

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as exc:
            self._doubt(exc)
            return []

    def _change(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        try:
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    self._db.executemany(sql, rows)
                    self._db.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                    raise
        except sqlite3.DatabaseError as exc:
            self._doubt(exc)

    def _doubt(self, exc: sqlite3.DatabaseError) -> None:
        """Full or refused: it is behind, which the next start sets right. Torn: begin anew."""
        _log.error("the index refuses", why=str(exc))
        if isinstance(exc, sqlite3.OperationalError):
            return
        with self._lock:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = self._begin_anew(str(exc))
