"""Files that are not in the page cache are read by threads; what is sent is the same."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import pytest

from oca.opening import in_page_cache
from tests.oca.running import read_answer, serving, wait_until

SIZE = 6 * 1024 * 1024 + 123


def evict(path: Path) -> bool:
    """Ask the kernel to forget the file's pages; whether it did."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return not in_page_cache(fd, 0)
    finally:
        os.close(fd)


def metric(port: int, name: str) -> int:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        text = sock.makefile("rb").read().decode()
    return int(sum(float(x.split()[-1]) for x in text.splitlines() if x.startswith(name + " ")))


def test_a_file_system_that_cannot_say_counts_as_cold() -> None:
    """procfs knows no RWF_NOWAIT: a thread reads what the loop could not be sure of."""
    fd = os.open("/proc/version", os.O_RDONLY)
    try:
        assert not in_page_cache(fd, 0)
    finally:
        os.close(fd)


def test_cold_files_come_whole_and_were_read_by_threads(tmp_path: Path) -> None:
    """Whole and by ranges, evicted again and again, bytes are right; hot ones need no thread."""
    root = tmp_path / "root"
    root.mkdir()
    files = {f"f{i}.mp4": random.Random(i).randbytes(SIZE) for i in range(3)}
    for name, content in files.items():
        (root / name).write_bytes(content)
    if not evict(root / "f0.mp4"):
        pytest.skip("this file system keeps its pages whatever it is asked (tmpfs?)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        admin = free.getsockname()[1]
    args = ("--root", str(root), "--listen", "127.0.0.1:0", "--workers", "1")
    with (
        serving(tmp_path, *args, "--admin", f"127.0.0.1:{admin}") as oca,
        oca.connect() as sock,
    ):
        stream = sock.makefile("rb")
        for name, content in files.items():
            for first, last in ((0, SIZE - 1), (1_048_000, 3_200_000), (SIZE - 10, SIZE - 1)):
                evict(root / name)
                line = f"GET /{name} HTTP/1.1\r\nHost: h\r\nRange: bytes={first}-{last}\r\n\r\n"
                sock.sendall(line.encode())
                answer = read_answer(stream)
                assert answer.status == 206
                assert answer.body == content[first : last + 1]
        wait_until(lambda: metric(admin, "oca_cold_reads_total") > 0, "cold reads to be counted")
        for _ in range(2):
            sock.sendall(b"GET /f0.mp4 HTTP/1.1\r\nHost: h\r\n\r\n")
            assert read_answer(stream).body == files["f0.mp4"]
        before = metric(admin, "oca_cold_reads_total")
        sock.sendall(b"GET /f0.mp4 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_answer(stream).body == files["f0.mp4"]
        assert metric(admin, "oca_cold_reads_total") == before
