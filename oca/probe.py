"""Look at one disk: is it the one it was, does it take a write and give it back, and how fast.

All calls block, for ever on a disk that hangs: they run in threads that nobody waits for.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from oca.disks import DiskFault, read_identity
from oca.seats import Seat

PROBE_FILE = ".oca-probe"
PROBE_BYTES = 4096
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

T = TypeVar("T")


def probe(seat: Seat) -> float:
    """Write and read a little on a disk; seconds it took. Raises DiskFault, OSError."""
    begun_s = time.monotonic()
    root = Path(seat.path)
    identity = read_identity(root)
    if identity is None:
        raise DiskFault("is gone: not mounted?")
    if identity.uuid != seat.uuid:
        raise DiskFault("is another disk now")
    _write_and_read(root / PROBE_FILE)
    return time.monotonic() - begun_s


def _write_and_read(path: Path) -> None:
    data = time.monotonic_ns().to_bytes(8, "little") * (PROBE_BYTES // 8)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        written = True
        try:
            os.pwrite(fd, data, 0)
            os.fdatasync(fd)
        except OSError as exc:
            if exc.errno not in _FULL:  # full is no illness
                raise
            written = False
        with suppress(OSError):  # else the page cache would answer for the disk
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        found = os.pread(fd, PROBE_BYTES, 0)
    finally:
        os.close(fd)
    if written and found != data:
        raise DiskFault("gives back other bytes than were written")


def why_of(exc: BaseException) -> str:
    """A fault of a disk in words."""
    return exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)


def in_daemon(call: Callable[[], T]) -> asyncio.Future[T]:
    """Run `call` in a thread of its own that neither the loop nor the process's end waits for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(lambda: None if future.cancelled() else settle())

    def work() -> None:
        try:
            result = call()
        except Exception as exc:
            tell(partial(future.set_exception, exc))
        else:
            tell(partial(future.set_result, result))

    threading.Thread(target=work, name="probe", daemon=True).start()
    return future
