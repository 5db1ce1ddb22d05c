"""The page cache as seen from outside: how much of a file is in it, and how to put it out."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CACHESTAT = 451  # x86-64 and arm64, Linux ≥ 6.5
_libc = ctypes.CDLL(None, use_errno=True)


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
