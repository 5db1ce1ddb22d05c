"""The prefixes announced to this box, from the file that its routers' feed keeps. Read on change.

JSON: a list of wire.reports.Route, or an object with it as `routes`. TOML: `[[routes]]` tables. The
file of `oca routes` also says for how long it may be believed once nobody keeps it any more: a lock
beside it, which the kernel takes away from the dead, tells whether somebody does.
"""

from __future__ import annotations

import fcntl
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from oca.bgp.file import LOCK_SUFFIX
from wire.codec import convert, decode
from wire.errors import WireError
from wire.log import get
from wire.reports import Route

_log = get("routes")


class _Neighbor(msgspec.Struct):
    refused: str = ""


class RoutesTold(msgspec.Struct, frozen=True):
    """What a file says; `hold_s` is None where no keeper is expected."""

    routes: tuple[Route, ...]
    hold_s: float | None = None
    neighbors: Mapping[str, _Neighbor] = {}


def parse_routes(raw: bytes, what: str) -> RoutesTold:
    """What a file says; raises WireError naming the entry at fault."""
    if not what.endswith(".toml"):
        if raw.lstrip()[:1] == b"[":
            return RoutesTold(decode(tuple[Route, ...], raw, what))
        return decode(RoutesTold, raw, what)
    try:
        tree = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise WireError(what, "", f"this cannot be read: {exc}") from exc
    return convert(RoutesTold, tree, what)


class RoutesFile:
    """The last good content; `seq` grows with every change of it, from 1."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without a file there are no routes, which is reported as well: a replica may remember
        some of an earlier configuration. `clock` in seconds."""
        self._path, self._clock = path, clock
        self._stamp: tuple[int, int, int] | None = None
        self._told: RoutesTold | None = None
        self._misread = ""
        self._kept_s = clock()
        self.routes: tuple[Route, ...] = ()
        self.seq = 0 if path is not None else 1
        self.fault = ""

    def refresh(self) -> bool:
        """Look at the file; whether what it says changed. A bad file leaves the last good one."""
        if self._path is None:
            return False
        self._read(self._path)
        told = self._told
        if told is None:
            self._note(self._misread)
            return False
        routes, fault = told.routes, self._misread or _refusals(told)
        if told.hold_s is not None and self._silent_s(self._path) > told.hold_s:
            routes = ()
            fault = f"nobody has kept the file for {told.hold_s:g} s: is exabgp running?"
        self._note(fault)
        if self.seq and routes == self.routes:
            return False
        self.routes, self.seq = routes, self.seq + 1
        return True

    def _read(self, path: Path) -> None:
        """Take what is new in the file."""
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._told = parse_routes(path.read_bytes(), str(path))
        except (OSError, WireError) as exc:
            self._misread = str(exc)
        else:
            self._misread = ""

    def _silent_s(self, path: Path) -> float:
        """For how long nobody has held the lock of those who keep the file."""
        now_s = self._clock()
        try:
            with path.with_name(path.name + LOCK_SUFFIX).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self._kept_s = now_s
        except OSError:
            pass  # no lock file: nobody keeps it
        return now_s - self._kept_s

    def _note(self, fault: str) -> None:
        if fault and fault != self.fault:
            _log.error("routes are not as they should be", why=fault)
        self.fault = fault


def _refusals(told: RoutesTold) -> str:
    found = [f"{name}: {one.refused}" for name, one in told.neighbors.items() if one.refused]
    return "; ".join(found)
