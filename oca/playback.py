"""What players said of their playing (CMCD), kept for the metrics and for the agent's events.

An adapter: a ring in a file mapping, one writer (a worker), read by the agent. Telemetry, asserted
by clients, so it may be lost and never costs much: a minute of one session on one asset is one row,
counted in place; the ring's size is fixed, and what the agent did not read in time is overwritten
(and counted as lost). It survives `kill -9` like the counters. Only what was granted is noted, so a
stranger cannot write here. A session's id is kept as a hash and never leaves the box.

`played-W.map` (worker W); every number 8 bytes, little-endian:

    0   8  magic  b"OCAPLAY1"
    8   8  u64    bytes a row (192)
    16  8  u64    capacity in rows
    24  8  u64    number of the newest row: published after the row is whole
    32 16  zero
    48 16  ring id, random
    64  -  rows: number, minute (Unix), asset, session (hash, 0: none said), COLUMNS, and the home
           site (64 bytes UTF-8, NUL-padded)

Row n is at place (n - 1) mod capacity. Rows are in order of their minutes.
"""

from __future__ import annotations

import hashlib
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from oca.account import DemandKey
from oca.counters import CounterFileError, map_file, reserve
from oca.http.cmcd import Cmcd
from oca.playrow import COLUMNS, News, Row
from oca.reasons import BUFFER, BUFFER_MS, SLOT, THROUGHPUT, THROUGHPUT_KBPS

MAGIC = b"OCAPLAY1"
HEADER_BYTES = 64
HOME_BYTES = 64
ROW_BYTES = 8 * (4 + len(COLUMNS)) + HOME_BYTES
RING_ROWS = 16_384
"""3 MB: two minutes of the 4,000 viewers that fill 10 Gbit/s, each on two renditions."""

KBPS_MAX = 10_000_000
BUFFER_MS_MAX = 3_600_000
"""Larger numbers are mistakes, and would spoil a sum."""

AHEAD_MINUTES = 5
"""A row further ahead is from before the clock was put back: it does not grow any more."""

_NAME = re.compile(r"played-(\d+)\.map\Z")
_WORDS = ROW_BYTES // 8
_NEWEST = 3
_REQUESTS, _STARVED, _STARTUPS, _LATE = (4 + i for i in range(4))
_SUMS = {name: 4 + COLUMNS.index(f"{name}_sum") for name in ("br", "tb", "mtp", "bl")}
_BR, _TB, _MTP, _BL = _SUMS.values()

_SLOT_REQUESTS = SLOT["oca_cmcd_requests_total"]
_SLOT_STARVED = SLOT["oca_cmcd_starved_total"]
_SLOT_STARTUPS = SLOT["oca_cmcd_startups_total"]
_SLOT_LATE = SLOT["oca_cmcd_late_total"]
_SLOT_MTP, _SLOT_MTP_SUM = SLOT[f'{THROUGHPUT}_bucket{{le="500"}}'], SLOT[f"{THROUGHPUT}_sum"]
_SLOT_BL, _SLOT_BL_SUM = SLOT[f'{BUFFER}_bucket{{le="250"}}'], SLOT[f"{BUFFER}_sum"]


class Ring:
    """The worker's side: rows of the present minute are counted in place."""

    def __init__(self, run_dir: Path, worker: int, *, rows: int = RING_ROWS) -> None:
        """Go on with the ring of an earlier life of this worker, or make one."""
        path = run_dir / f"played-{worker}.map"
        if not _is_ours(path, rows):
            numbers = (ROW_BYTES, rows, 0, 0, 0)
            header = MAGIC + b"".join(n.to_bytes(8, "little") for n in numbers) + os.urandom(16)
            reserve(path, header, HEADER_BYTES + rows * ROW_BYTES)
        self._mapping, self._rows = map_file(path, write=True), rows
        self._words = memoryview(self._mapping).cast("q")
        self._minute = 0
        self._places: dict[tuple[DemandKey, str | None], int] = {}

    def place(self, key: DemandKey, sid: str | None, minute: int) -> int:
        """Where (in words) the row of this session on this asset in this minute is."""
        if minute != self._minute:
            self._minute = minute
            self._places.clear()
        place = self._places.get((key, sid))
        if place is None:
            if len(self._places) >= self._rows:
                self._places.clear()  # lapped within a minute: two rows must not share a place
            place = self._places[key, sid] = self._append(key, sid)
        return place

    def _append(self, key: DemandKey, sid: str | None) -> int:
        number = self._words[_NEWEST] + 1
        start = HEADER_BYTES + (number - 1) % self._rows * ROW_BYTES
        fixed = (0, self._minute, key[0], _hash(sid))
        row = b"".join(n.to_bytes(8, "little") for n in fixed) + bytes(8 * len(COLUMNS))
        self._mapping[start : start + ROW_BYTES] = row + key[1].encode().ljust(HOME_BYTES, b"\0")
        self._words[start // 8] = number
        self._words[_NEWEST] = number
        return start // 8

    def add(self, place: int, column: int, n: int = 1) -> None:
        """Count `n` more in a column of the row at `place`."""
        self._words[place + column] += n

    def sum(self, place: int, column: int, value: int) -> None:
        """Add a value to a sum and its count."""
        self._words[place + column] += value
        self._words[place + column + 1] += 1


class Playback:
    """Takes down what players say: into the worker's metrics, and a ring where there is one."""

    def __init__(self, metrics: memoryview, ring: Ring | None = None) -> None:
        """`metrics` are the worker's slots."""
        self._metrics, self._ring = metrics, ring

    def note(self, said: Cmcd, key: DemandKey | None, minute: int) -> int:
        """A request that was granted; returns the place of its row for `late`, -1 for none."""
        mtp = None if said.mtp is None else min(said.mtp, KBPS_MAX)
        bl = None if said.bl is None else min(said.bl, BUFFER_MS_MAX)
        self._count(said, mtp, bl)
        ring = self._ring
        if ring is None or key is None:
            return -1
        place = ring.place(key, said.sid, minute)
        ring.add(place, _REQUESTS)
        if said.bs:
            ring.add(place, _STARVED)
        if said.su:
            ring.add(place, _STARTUPS)
        if said.br is not None:
            ring.sum(place, _BR, min(said.br, KBPS_MAX))
        if said.tb is not None:
            ring.sum(place, _TB, min(said.tb, KBPS_MAX))
        if mtp is not None:
            ring.sum(place, _MTP, mtp)
        if bl is not None:
            ring.sum(place, _BL, bl)
        return place

    def _count(self, said: Cmcd, mtp: int | None, bl: int | None) -> None:
        metrics = self._metrics
        metrics[_SLOT_REQUESTS] += 1
        if said.bs:
            metrics[_SLOT_STARVED] += 1
        if said.su:
            metrics[_SLOT_STARTUPS] += 1
        if mtp is not None:
            metrics[_SLOT_MTP + bisect_left(THROUGHPUT_KBPS, mtp)] += 1
            metrics[_SLOT_MTP_SUM] += mtp
        if bl is not None:
            metrics[_SLOT_BL + bisect_left(BUFFER_MS, bl)] += 1
            metrics[_SLOT_BL_SUM] += bl

    def late(self, place: int) -> None:
        """An answer was not even sent when its player needed it."""
        self._metrics[_SLOT_LATE] += 1
        if self._ring is not None and place >= 0:
            self._ring.add(place, _LATE)


def _hash(sid: str | None) -> int:
    """63 bits of a session's id, the same in every worker; 0 for none."""
    if sid is None:
        return 0
    digest = hashlib.blake2b(sid.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1 or 1


def _is_ours(path: Path, rows: int) -> bool:
    try:
        with map_file(path, write=False) as mapping:
            head = b"".join(n.to_bytes(8, "little") for n in (ROW_BYTES, rows))
            whole = len(mapping) == HEADER_BYTES + rows * ROW_BYTES
            return whole and mapping[:24] == MAGIC + head
    except (CounterFileError, FileNotFoundError):
        return False


# --- the agent's side ----------------------------------------------------------------------------


def read_rings(run_dir: Path, read: Mapping[str, int], before_minute: int) -> list[News]:
    """The rows of minutes before `before_minute` (Unix minutes) that come after those read already.

    `read` says up to which row of which ring that is. Rows of the present minute still grow.
    """
    found = []
    for path in sorted(p for p in run_dir.iterdir() if _NAME.match(p.name)):
        with suppress(FileNotFoundError), path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            if len(head) == HEADER_BYTES and head[:8] == MAGIC:
                found.append(_news(head, file.read, read, before_minute))
    return [news for news in found if news.rows or news.lost]


def _news(
    head: bytes, body: Callable[[], bytes], read: Mapping[str, int], before_minute: int
) -> News:
    """The new rows of a ring; its `body` is not read when there are none."""
    ring = head[48:64].hex()
    row_bytes, capacity, newest = memoryview(head[8:32]).cast("q")
    before = min(read.get(ring, 0), newest)
    if row_bytes != ROW_BYTES or before == newest:
        return News(ring, before, 0, ())
    raw = memoryview(body())
    rows: list[Row] = []
    last = max(before, newest - capacity)
    for number in range(last + 1, newest + 1):
        start = (number - 1) % capacity * ROW_BYTES
        words = raw[start : start + ROW_BYTES - HOME_BYTES].cast("q")
        if before_minute <= words[1] < before_minute + AHEAD_MINUTES:
            break
        last = number
        if words[0] == number:  # else another lap has come over it
            rows.append(_row(words, bytes(raw[start + 8 * len(words) : start + ROW_BYTES])))
    return News(ring, last, last - before - len(rows), tuple(rows))


def _row(words: memoryview, home: bytes) -> Row:
    said = dict(zip(COLUMNS, words[4:], strict=True))
    name = home.rstrip(b"\0").decode("utf-8", "replace")
    return Row(words[1], words[2], name, words[3], said)
