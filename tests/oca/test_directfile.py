"""Files that grow past the page cache have the bytes they were given, on any file system."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oca.directfile import BLOCK_BYTES, BUFFER_BYTES, DirectFile
from tests.faults.fuse_fs import mounted, why_not

SIZES = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BUFFER_BYTES, BUFFER_BYTES + 1, 3_000_001]


@pytest.fixture(params=["disk", "tmpfs", "fuse"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on file systems that take direct writes, and that may not."""
    if request.param == "disk":
        yield tmp_path
        return
    if why_not():
        pytest.skip(why_not())
    if request.param == "fuse":
        with mounted(tmp_path) as disk:
            yield disk.path
        return
    memory = tmp_path / "memory"
    memory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(memory)], check=True)
    yield memory
    subprocess.run(["umount", "-l", str(memory)], check=True)


@pytest.mark.parametrize("size", SIZES)
def test_the_file_has_what_it_was_given(place: Path, size: int) -> None:
    """In pieces of any length, settled at any time, begun again at any offset."""
    rng = random.Random(size)
    data = rng.randbytes(size)
    for start in {0, min(size, 10), min(size, BLOCK_BYTES + 7), size}:
        path = place / f"f-{size}-{start}"
        path.write_bytes(data[:start])
        fd = os.open(path, os.O_RDWR)
        out = DirectFile(fd, start)
        at = start
        while at < size:
            length = rng.choice((1, 100, 65_536, 1_500_000))
            out.write(data[at : at + length])
            at += length
            if rng.random() < 0.3:
                out.settle()
        out.finish()
        out.release()
        os.close(fd)
        assert path.read_bytes() == data, start


def test_it_goes_back_to_where_it_was_told(tmp_path: Path) -> None:
    """Behind the buffer, or inside it."""
    data = random.Random(1).randbytes(2 * BUFFER_BYTES + 50)
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    out = DirectFile(fd, 0)
    out.write(b"x" * len(data))
    out.back(BLOCK_BYTES)
    out.write(b"y" * 10)
    out.back(BLOCK_BYTES)
    out.write(b"z" * BLOCK_BYTES)
    out.back(0)
    out.write(data)
    out.finish()
    out.release()
    os.close(fd)
    assert (tmp_path / "f").read_bytes() == data


def test_what_is_written_leaves_the_page_cache_alone(tmp_path: Path) -> None:
    """A megabyte of whole blocks: not a page of it is in memory afterwards."""
    kind = subprocess.run(["stat", "-fc%T", str(tmp_path)], capture_output=True, text=True)
    if kind.stdout.strip() == "tmpfs":
        pytest.skip("tmpfs is the page cache")
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    out = DirectFile(fd, 0)
    out.write(b"x" * BUFFER_BYTES)
    out.finish()
    out.release()
    os.fsync(fd)
    resident = pages_in_memory(fd, BUFFER_BYTES)
    os.close(fd)
    assert resident == 0


def pages_in_memory(fd: int, length: int) -> int:
    """By mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    found = (ctypes.c_ubyte * (length // mmap.PAGESIZE))()
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    assert libc.mincore(address, length, found) == 0
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.munmap(address, length)
    return sum(byte & 1 for byte in found)
