"""Counters live in shared file mappings, so they survive `kill -9` and cost the hot path one store.

One writer per file (a worker; the agent for the generation word), any number of readers. Every
number is 8 bytes, aligned, little-endian, so a reader never sees half of one. Files are reserved on
disk when made, because a store into a mapping of a full disk would be SIGBUS. Three kinds, all in
the run folder:

`metrics-W.map` (worker index W): fixed, named slots; a worker that starts again goes on from them.

    0   8  magic  b"OCAMETR1"
    8   8  u64    bytes of the names block (a multiple of 8)
    16  8  u64    number of slots
    24  8  u64    zero
    32  -  names, as Prometheus samples, one a line, NUL-padded
    -   8  i64 per slot, in the order of the names

`demand-W-N.map` (worker W, table number N growing from 0): bytes of bodies delivered to players,
cumulative per (asset, home site). Rows are only ever appended and keep their place. When a table is
full it is sealed, never changes again, and N+1 begins from zero. A row's number may fall again
(bytes that the peer never acknowledged are taken back), even below what was read before.

    0   8  magic  b"OCADMND1"
    8   8  u64    bytes a row (80)
    16  8  u64    capacity in rows
    24  8  u64    rows in use: published after the row is whole
    32  8  u64    sealed: 1 when a later table took over
    40  8  u64    zero
    48 16  table id, random: names the table for ever, whatever its file is called
    64  -  rows: asset u64, bytes i64, home site 64 bytes UTF-8, NUL-padded

`generation.map`: one u64 that the agent raises whenever something cached may be wrong.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oca.account import DemandKey
from oca.reasons import CONNECTIONS_OPEN, SLOT_NAMES

METRICS_MAGIC = b"OCAMETR1"
DEMAND_MAGIC = b"OCADMND1"
METRICS_HEADER_BYTES = 32
DEMAND_HEADER_BYTES = 64
HOME_BYTES = 64  # wire.ids.SiteId has at most 63
ROW_BYTES = 16 + HOME_BYTES
TABLE_ROWS = 16_384
"""1.3 MB a table: a box holds thousands of assets for a handful of home sites."""

GENERATION_FILE = "generation.map"
_DEMAND_NAME = re.compile(r"demand-(\d+)-(\d+)\.map\Z")
_METRICS_NAME = re.compile(r"metrics-(\d+)\.map\Z")

_WORDS = ROW_BYTES // 8
_HEADER_WORDS = DEMAND_HEADER_BYTES // 8
_USED, _SEALED = 3, 4


class CounterFileError(Exception):
    """A file in the run folder is not a counter file of ours, or is cut off."""


def reserve(path: Path, content: bytes, size_bytes: int) -> None:
    """Make `path` of `size_bytes` that begins with `content`; it appears whole, by rename."""
    temp = path.with_name(path.name + ".new")
    fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(fd, 0, size_bytes)
        os.pwrite(fd, content, 0)
    finally:
        os.close(fd)
    temp.replace(path)


def map_file(path: Path, *, write: bool) -> mmap.mmap:
    """Map all of `path`; the descriptor is not kept. Raises CounterFileError when it is empty."""
    fd = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)
    try:
        access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
        return mmap.mmap(fd, 0, access=access)
    except ValueError as exc:  # an empty file
        raise CounterFileError(f"{path}: empty") from exc
    finally:
        os.close(fd)


# --- metrics -------------------------------------------------------------------------------------


def _names_block(names: tuple[str, ...]) -> bytes:
    block = "\n".join(names).encode()
    return block + b"\0" * (-len(block) % 8)


def read_metrics(path: Path) -> dict[str, int]:
    """Every sample of one worker: name → value. Raises CounterFileError when the file is torn."""
    with map_file(path, write=False) as mapping:
        words = memoryview(mapping)[:METRICS_HEADER_BYTES].cast("Q")
        names_bytes, slots = words[1], words[2]
        words.release()
        start = METRICS_HEADER_BYTES + names_bytes
        if mapping[:8] != METRICS_MAGIC or start + 8 * slots > len(mapping):
            raise CounterFileError(f"{path}: not a metrics mapping")
        names = mapping[METRICS_HEADER_BYTES:start].rstrip(b"\0").decode().split("\n")
        values = memoryview(mapping[start : start + 8 * slots]).cast("q")
        return dict(zip(names, values, strict=True))


def open_metrics(run_dir: Path, worker: int) -> memoryview:
    """The worker's slots as a writable view of i64, indexed by `oca.reasons.SLOT`.

    What an earlier life of the same worker counted is carried over by name, except the gauge of
    open connections, which begins at zero.
    """
    path = run_dir / f"metrics-{worker}.map"
    before: dict[str, int] = {}
    if path.exists():
        try:
            before = read_metrics(path)
        except CounterFileError:
            before = {}
    if tuple(before) != SLOT_NAMES:
        names = _names_block(SLOT_NAMES)
        header = METRICS_MAGIC + b"".join(
            n.to_bytes(8, "little") for n in (len(names), len(SLOT_NAMES), 0)
        )
        reserve(path, header + names, METRICS_HEADER_BYTES + len(names) + 8 * len(SLOT_NAMES))
    mapping = map_file(path, write=True)
    start = len(mapping) - 8 * len(SLOT_NAMES)
    slots = memoryview(mapping)[start:].cast("q")
    for i, name in enumerate(SLOT_NAMES):
        slots[i] = before.get(name, 0) if name != CONNECTIONS_OPEN else 0
    return slots


def nobody_connected(run_dir: Path, worker: int) -> None:
    """Say that a worker whose process is gone has no open connections, however it ended."""
    try:
        with map_file(run_dir / f"metrics-{worker}.map", write=True) as mapping:
            start = len(mapping) - 8 * len(SLOT_NAMES)
            names = _names_block(SLOT_NAMES)
            if mapping[METRICS_HEADER_BYTES:start] == names:
                at = start + 8 * SLOT_NAMES.index(CONNECTIONS_OPEN)
                mapping[at : at + 8] = bytes(8)
    except (CounterFileError, FileNotFoundError):
        return


def metrics_files(run_dir: Path) -> list[tuple[int, Path]]:
    """(worker index, file) of every metrics mapping in the run folder, in order."""
    found = [(_METRICS_NAME.match(p.name), p) for p in run_dir.iterdir()]
    return sorted((int(m.group(1)), p) for m, p in found if m)


# --- demand --------------------------------------------------------------------------------------


class Demand:
    """The worker's side: `add(key, n)` bytes of body delivered, negative to take back."""

    def __init__(self, run_dir: Path, worker: int, *, rows: int = TABLE_ROWS) -> None:
        """Go on with the newest table of this worker in `run_dir`, or begin table 0."""
        self._run_dir, self._worker, self._rows = run_dir, worker, rows
        self._place: dict[DemandKey, int] = {}
        self.uncounted_bytes = 0
        """Lost to the books because the disk of the run folder is full: serving goes on."""
        self._words = memoryview(b"").cast("Q")
        self._bytes = memoryview(b"").cast("q")
        mine = [t for t in _demand_names(run_dir) if t[0] == worker]
        self._number = mine[-1][1] if mine else 0
        for _, _, path in mine[:-1]:
            _seal(path)  # where an earlier life died in between
        if mine and self._adopt(mine[-1][2]):
            return
        self._begin(self._number + 1 if mine else 0)

    def add(self, key: DemandKey, n: int) -> None:
        """Count `n` bytes (may be negative) of asset `key[0]` for viewers of home site `key[1]`."""
        place = self._place.get(key)
        if place is None:
            try:
                place = self._append(key)
            except OSError:
                self.uncounted_bytes += n
                return
        self._bytes[place] += n

    def _append(self, key: DemandKey) -> int:
        used = self._words[_USED]
        if used >= self._words[2]:
            full = self._words
            self._begin(self._number + 1)
            full[_SEALED] = 1
            used = 0
        start = DEMAND_HEADER_BYTES + used * ROW_BYTES
        row = key[0].to_bytes(8, "little") + bytes(8) + key[1].encode().ljust(HOME_BYTES, b"\0")
        if len(row) != ROW_BYTES:
            raise ValueError(f"home site id longer than {HOME_BYTES} bytes: {key[1]!r}")
        self._mapping[start : start + ROW_BYTES] = row
        self._words[_USED] = used + 1
        place = _HEADER_WORDS + used * _WORDS + 1
        self._place[key] = place
        return place

    def _begin(self, number: int) -> None:
        numbers = (ROW_BYTES, self._rows, 0, 0, 0)
        header = DEMAND_MAGIC + b"".join(n.to_bytes(8, "little") for n in numbers) + os.urandom(16)
        path = self._run_dir / f"demand-{self._worker}-{number}.map"
        reserve(path, header, DEMAND_HEADER_BYTES + self._rows * ROW_BYTES)
        self._number = number
        self._open(path)
        self._place = {}

    def _adopt(self, path: Path) -> bool:
        """Take up the table of an earlier life; False when it is sealed or not whole."""
        try:
            table = read_table(path)
        except CounterFileError:
            return False
        if table.sealed:
            return False
        self._open(path)
        self._place = {key: _HEADER_WORDS + i * _WORDS + 1 for i, key in enumerate(table.rows)}
        return True

    def _open(self, path: Path) -> None:
        self._mapping = map_file(path, write=True)
        self._words = memoryview(self._mapping).cast("Q")
        self._bytes = memoryview(self._mapping).cast("q")


def _seal(path: Path) -> None:
    try:
        with map_file(path, write=True) as mapping:
            if len(mapping) >= DEMAND_HEADER_BYTES:
                mapping[8 * _SEALED] = 1
    except (CounterFileError, FileNotFoundError):
        return


@dataclass(frozen=True, slots=True)
class Table:
    """One demand table as read: `rows` maps (asset, home site) → cumulative body bytes."""

    table_id: str
    worker: int
    number: int
    sealed: bool
    path: Path
    rows: dict[DemandKey, int]


def _demand_names(run_dir: Path) -> list[tuple[int, int, Path]]:
    found = [(_DEMAND_NAME.match(p.name), p) for p in run_dir.iterdir()]
    return sorted((int(m.group(1)), int(m.group(2)), p) for m, p in found if m)


def read_table(path: Path) -> Table:
    """One table. `sealed` is read before the rows, so a sealed table's rows are its last word.

    Raises CounterFileError when the file is not a demand table.
    """
    name = _DEMAND_NAME.match(path.name)
    if name is None:
        raise CounterFileError(f"{path}: not a demand table's name")
    with map_file(path, write=False) as mapping:
        if len(mapping) < DEMAND_HEADER_BYTES or mapping[:8] != DEMAND_MAGIC:
            raise CounterFileError(f"{path}: not a demand table")
        with memoryview(mapping) as view, view[:DEMAND_HEADER_BYTES].cast("Q") as words:
            row_bytes, sealed, used = words[1], words[_SEALED], words[_USED]
        end = DEMAND_HEADER_BYTES + used * row_bytes
        if row_bytes < ROW_BYTES or end > len(mapping):
            raise CounterFileError(f"{path}: cut off, or of another version")
        table_id = mapping[48:64].hex()
        rows = dict(_rows(mapping, used, row_bytes))
    return Table(table_id, int(name.group(1)), int(name.group(2)), sealed == 1, path, rows)


def _rows(mapping: mmap.mmap, used: int, row_bytes: int) -> Iterator[tuple[DemandKey, int]]:
    with memoryview(mapping) as view, view.cast("q") as words:
        for i in range(used):
            start = DEMAND_HEADER_BYTES + i * row_bytes
            home = bytes(view[start + 16 : start + 16 + HOME_BYTES]).rstrip(b"\0").decode()
            yield (words[start // 8], home), words[start // 8 + 1]


def read_tables(run_dir: Path) -> list[Table]:
    """Every whole demand table in the run folder, by worker and number; for the agent.

    A sealed table whose rows have been taken over may be unlinked by the agent (`Table.path`);
    the newest table of a worker never, whatever it says.
    """
    tables = []
    for _worker, _number, path in _demand_names(run_dir):
        try:
            tables.append(read_table(path))
        except (CounterFileError, FileNotFoundError):
            continue
    return tables


# --- generation ----------------------------------------------------------------------------------


class Generation:
    """The word that makes every worker forget what it cached. The agent raises it; workers look."""

    def __init__(self, run_dir: Path) -> None:
        """Map the word in `run_dir`, made (as 1) when it is not there yet."""
        path = run_dir / GENERATION_FILE
        if not path.exists():
            reserve(path, (1).to_bytes(8, "little"), 8)
        self.words = memoryview(map_file(path, write=True)).cast("Q")
        """Element 0 is the word; the hot path compares it without a call."""

    @property
    def value(self) -> int:
        """The present generation; only ever grows."""
        return self.words[0]

    def raise_word(self) -> int:
        """Agent only: make every worker forget, from its next request on. Returns the new value."""
        self.words[0] += 1
        return self.words[0]
