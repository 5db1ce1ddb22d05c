"""Aborted, reset, half and garbage requests leave descriptors and memory where they were."""

from __future__ import annotations

import os
import random
import socket
import struct
from pathlib import Path

import pytest

from tests.oca.running import Oca, children_of, serving, wait_until

SEED = 20_240_607
GARBAGE = (
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    b"GET /x HTTP/1.1\nHost: h\n\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"A" * 20_000,
    b"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\n" * 200,
)


def misbehave(oca: Oca, rng: random.Random) -> None:
    """One client that does something wrong and goes away."""
    with oca.connect() as sock:
        path = rng.choice(["/small", "/big"])
        request = f"GET {path}?{rng.random()} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
        kind = rng.randrange(5)
        try:
            if kind == 0:
                sock.sendall(request[: rng.randrange(len(request))])
            elif kind == 1:
                sock.sendall(rng.choice(GARBAGE))
            elif kind == 2:
                sock.sendall(request * rng.randrange(1, 4))
                sock.recv(1000)
            elif kind == 3:
                sock.sendall(request + rng.randbytes(50))
            if rng.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except ConnectionError:
            return


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def run(tmp_path: Path, count: int) -> None:
    """Warm up, misbehave `count` times, and compare the worker with what it was."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "small").write_bytes(os.urandom(4000))
    (folder / "big").write_bytes(os.urandom(4_000_000))
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(tmp_path, *args) as oca:
        (worker,) = children_of(oca.pid)
        for _ in range(count // 2):
            misbehave(oca, rng)
        wait_until(lambda: open_files(worker) < 40, "connections to end", 20)
        before = open_files(worker), threads(worker), resident_kib(worker)
        for _ in range(count):
            misbehave(oca, rng)
        wait_until(lambda: open_files(worker) <= before[0], "descriptors to be given back", 20)
        assert threads(worker) == before[1]
        assert resident_kib(worker) - before[2] < 4096
        assert children_of(oca.pid) == [worker]
        assert oca.get("/small").status == 200
        assert "fault" not in oca.log.read_text()


def test_two_thousand_bad_clients_leave_no_trace(tmp_path: Path) -> None:
    """Descriptors and threads as before, memory within 4 MiB, no fault logged."""
    run(tmp_path, 2000)


@pytest.mark.soak
def test_twenty_thousand_bad_clients_leave_no_trace(tmp_path: Path) -> None:
    """The long version."""
    run(tmp_path, 20_000)
