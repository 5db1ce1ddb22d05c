"""The operator's tables of AS numbers and places, read from CSV in a process of their own.

`python -m steering.networks FD asn|place FILE` writes one table to FD, at low priority: half a
million rows would hold up the loop for seconds.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from steering.aside import TooLongError, answer, aside
from steering.places import (
    NetworkTable,
    Tables,
    asn_table,
    asn_table_of,
    place_table,
    place_table_of,
)
from wire.errors import WireError
from wire.log import get

NICENESS = 10
READ_S_MAX = 120.0  # half a million rows take 4 s, on a busy machine ten times as long
_READ = {"asn": asn_table, "place": place_table}
_LOADED = {"asn": asn_table_of, "place": place_table_of}
_log = get("networks")


class Networks:
    """The tables of a running replica. A file is read when it is new or another than it was."""

    def __init__(self, take_up: Callable[[Tables], None]) -> None:
        """`take_up` makes both tables what decisions follow, all at once."""
        self._take_up = take_up
        self._held: dict[str, Read] = {}

    async def begin(self, files: Files) -> None:
        """What a start reads, behind the first answers. A table that cannot be read is left out,
        and said so: a decision does without."""
        for kind, file in files.items():
            try:
                self.swap(await self.fresh({kind: file}))
            except WireError as exc:
                _log.error("a table of networks is not used", why=str(exc))

    async def fresh(self, files: Files) -> Fresh:
        """Read those that are not what is held; nothing is changed. Raises WireError naming file
        and row."""
        found = {}
        for kind, file in files.items():
            stamp = _stamp(file)
            if stamp != self._held.get(kind, _NOTHING).stamp:
                found[kind] = Read(stamp, None if file is None else await _read(kind, file))
        return found

    def swap(self, fresh: Fresh) -> None:
        """What was read is what decisions follow from now on."""
        if fresh:
            self._held |= fresh
            tables = {kind: read.table for kind, read in self._held.items()}
            self._take_up(Tables(tables.get("asn"), tables.get("place")))


Files = Mapping[str, Path | None]
"""Kind of table (`asn`, `place`) → its file; None: there is none."""


class Read(NamedTuple):
    """A table as read, and what told that state of its file."""

    stamp: tuple[object, ...]
    table: NetworkTable | None


Fresh = Mapping[str, Read]
_NOTHING = Read((), None)


def _stamp(file: Path | None) -> tuple[object, ...]:
    """What tells one state of a file from another; the same as _NOTHING's for no file."""
    if file is None:
        return ()
    try:
        found = file.stat()
    except OSError as exc:
        raise WireError(str(file), "", f"it cannot be read: {exc.strerror}") from exc
    return str(file), found.st_ino, found.st_size, found.st_mtime_ns


async def _read(kind: str, file: Path) -> NetworkTable:
    try:
        code, made = await aside("steering.networks", (kind, str(file)), (), READ_S_MAX)
    except TooLongError as exc:
        raise WireError(str(file), "", "it takes too long to read") from exc
    except OSError as exc:
        raise WireError(str(file), "", f"it cannot be read: {exc.strerror}") from exc
    if code:
        raise _fault(file, made)
    table = _LOADED[kind](made)
    _log.info("a table of networks is used", file=str(file), networks=len(table))
    return table


def _fault(file: Path, said: memoryview) -> WireError:
    """What the process answered instead of a table."""
    try:
        what, where, detail, hint = msgspec.json.decode(said, type=tuple[str, str, str, str])
    except msgspec.DecodeError:
        return WireError(str(file), "", "the process that reads it died")
    return WireError(what, where, detail, hint=hint)


def main() -> None:
    """Read one table; answers what is wrong (JSON) instead, with exit code 1."""
    os.nice(NICENESS)
    fd, kind, path = sys.argv[1:]
    try:
        opened = gzip.open if path.endswith(".gz") else open
        with io.TextIOWrapper(opened(path, "rb"), encoding="utf-8", newline="") as lines:
            answer(int(fd), _READ[kind](lines, path).to_bytes())
    except WireError as exc:
        _give_up(int(fd), exc)
    except (OSError, EOFError, ValueError) as exc:
        _give_up(int(fd), WireError(path, "", f"it cannot be read: {exc}"))


def _give_up(fd: int, exc: WireError) -> NoReturn:
    answer(fd, msgspec.json.encode((exc.what, exc.where, exc.detail, exc.hint)))
    sys.exit(1)


if __name__ == "__main__":
    main()
