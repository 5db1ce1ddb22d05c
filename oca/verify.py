"""Read a stored file from the disk itself, past the page cache, at a given rate, and hash it.

O_DIRECT, for two reasons: what is in the page cache says nothing about the disk, and reading 100 TB
must not push out what viewers ask for. A file system without it is read as usual. Calls block.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

BLOCK_BYTES = 1024 * 1024
LATE_MAX_S = 1.0
"""What a slow disk lost against the rate is made up for this much, no more."""


class Pace:
    """Bytes per second over everything read; it waits in the calling thread."""

    def __init__(self, rate_bytes_s: float) -> None:
        """Nothing read yet."""
        self._rate, self._due_s = rate_bytes_s, time.monotonic()

    def take(self, count: int) -> None:
        """So many bytes were read: wait until they were due."""
        now_s = time.monotonic()
        self._due_s = max(self._due_s, now_s - LATE_MAX_S) + count / self._rate
        if self._due_s > now_s:
            time.sleep(self._due_s - now_s)


def digest(path: Path, pace: Pace, go_on: Callable[[], bool]) -> tuple[str, int] | None:
    """(SHA-256 hex, bytes) of a file; None when told not to go on. Raises OSError."""
    sha, offset = hashlib.sha256(), 0
    fd = _open(path)
    try:
        with mmap.mmap(-1, BLOCK_BYTES) as buffer, memoryview(buffer) as view:  # page-aligned
            while True:
                try:
                    count = os.preadv(fd, (view,), offset)
                except OSError:
                    if not _without_direct(fd):
                        raise
                    count = os.preadv(fd, (view,), offset)
                if not count:
                    return sha.hexdigest(), offset
                sha.update(view[:count])
                offset += count
                pace.take(count)
                if not go_on():
                    return None
                if count % mmap.PAGESIZE:  # the end: O_DIRECT cannot go on from here
                    return sha.hexdigest(), offset
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    with suppress(OSError):
        return os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _without_direct(fd: int) -> bool:
    """Read as usual from now on, if it was not already so."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    if not flags & os.O_DIRECT:
        return False
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
    return True
