"""The page cache from outside: how much of a file is in it, how to hold it there, or put it out."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CACHESTAT = 451  # x86-64 and arm64, Linux ≥ 6.5
_libc = ctypes.CDLL(None, use_errno=True)
_PROT_READ, _MAP_SHARED = 1, 1
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mlock.argtypes = _libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Stat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recent")
    )


def cached_share(path: Path) -> float:
    """The share (0–1) of a file's pages that are in memory, by cachestat(2); raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        size, stat = os.fstat(fd).st_size, _Stat()
        whole = _Range(0, 0)
        if _libc.syscall(_CACHESTAT, fd, ctypes.byref(whole), ctypes.byref(stat), 0):
            raise OSError(ctypes.get_errno(), "cachestat")
        pages = max(1, -(-size // os.sysconf("SC_PAGE_SIZE")))
        return float(stat.cached) / pages
    finally:
        os.close(fd)


def evict(path: Path) -> None:
    """Put a file's clean pages out of memory."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


@contextmanager
def held_in_memory(paths: Iterable[Path]) -> Iterator[bool]:
    """Read these files and lock them in the page cache, so that hot files stay hot on machines that
    reclaim it all the time (some hypervisors do). Yields False where mlock(2) is not allowed."""
    held: list[tuple[int, int]] = []
    try:
        yield all(_hold(path, held) for path in paths)
    finally:
        for address, size in held:
            _libc.munmap(address, size)


def _hold(path: Path, held: list[tuple[int, int]]) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        address = _libc.mmap(None, size, _PROT_READ, _MAP_SHARED, fd, 0)
    finally:
        os.close(fd)
    if address == ctypes.c_void_p(-1).value:
        return False
    held.append((address, size))
    return bool(_libc.mlock(address, size) == 0)
