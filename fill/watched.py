"""A file that is read again when it changes, without a restart and without inotify."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from wire.errors import OcaError, UnavailableError
from wire.log import get

T = TypeVar("T")
_log = get("watched")
_Identity = tuple[int, int, int]


class Watched(Generic[T]):
    """The value read from a file. A version that cannot be read leaves the last good one."""

    def __init__(self, path: Path, read: Callable[[], T]) -> None:
        """`read` is called, in a thread, whenever the file at `path` is another one than before."""
        self._path, self._read = path, read
        self._seen: _Identity | None = None
        self._value: T | None = None
        self._lock = asyncio.Lock()

    async def value(self) -> T:
        """The newest good value; raises UnavailableError before the first one."""
        identity = _identity(self._path)
        if identity != self._seen:
            async with self._lock:
                if identity != self._seen:
                    await self._refresh(identity)
        if self._value is None:
            raise UnavailableError(f"{self._path.name} is not there yet")
        return self._value

    async def _refresh(self, identity: _Identity | None) -> None:
        try:
            value = await asyncio.to_thread(self._read)
        except (OcaError, OSError) as exc:
            _log.error(
                "cannot be read; the last good one stays", file=str(self._path), why=str(exc)
            )
        else:
            self._value = value
            _log.info("read", file=str(self._path))
        self._seen = identity


def _identity(path: Path) -> _Identity | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
