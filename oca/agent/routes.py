"""The prefixes announced to this box, from the file that its routers' feed keeps. Read on change.

JSON: a list of wire.reports.Route, or an object with it as `routes`. TOML: `[[routes]]` tables.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from wire.codec import convert
from wire.errors import WireError
from wire.log import get
from wire.reports import Route

_log = get("routes")


class _File(msgspec.Struct):
    routes: tuple[Route, ...]


def parse_routes(raw: bytes, what: str) -> tuple[Route, ...]:
    """The routes in a file; raises WireError naming the entry at fault."""
    try:
        if what.endswith(".toml"):
            tree: object = tomllib.loads(raw.decode())
        else:
            tree = msgspec.json.decode(raw)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.DecodeError) as exc:
        raise WireError(what, "", f"this cannot be read: {exc}") from exc
    if isinstance(tree, list):
        tree = {"routes": tree}
    return convert(_File, tree, what).routes


class RoutesFile:
    """The last good content; `seq` grows with every change of it, from 1."""

    def __init__(self, path: Path | None) -> None:
        """No file: no routes are ever reported."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self.routes: tuple[Route, ...] = ()
        self.seq = 0
        self.fault = ""

    def refresh(self) -> bool:
        """Look at the file; whether what it says changed. A bad file leaves the last good one."""
        if self._path is None:
            return False
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            routes = parse_routes(self._path.read_bytes(), str(self._path))
        except (OSError, WireError) as exc:
            self._note(str(exc))
            return False
        self._note("")
        if routes == self.routes and self.seq:
            return False
        self.routes, self.seq = routes, self.seq + 1
        return True

    def _note(self, fault: str) -> None:
        if fault and fault != self.fault:
            _log.error("routes not read; the last good ones stay", why=fault)
        self.fault = fault
