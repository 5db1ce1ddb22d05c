"""Clients that stay beside a measurement: idle ones, slow ones, and readers of cold files.

`python -m benchmarks.clients KIND …` prints `ready`, works until its standard input ends, then
prints one JSON line. One thread, few system calls, and the lowest scheduling class: what is
measured beside them has the core first.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.page_cache import cached_share, evict

IP_BIND_ADDRESS_NO_PORT = 24  # ip(7): the port is chosen at connect, per destination
ADDRESSES = 32
"""Loopback addresses to come from: each has 28,000 ports, and looks like another viewer."""

SLOW_STEP_S = 0.25
SLOW_WINDOW_BYTES = 32 * 1024
READ_BYTES = 256 * 1024


def _connect(port: int, number: int, window_bytes: int = 0) -> socket.socket:
    sock = socket.socket()
    if window_bytes:  # before connect: it decides the window that is offered
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((f"127.0.0.{2 + number % ADDRESSES}", 0))
    sock.settimeout(20)
    sock.connect(("127.0.0.1", port))
    return sock


def _request(port: int, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: edge\r\n\r\n".encode()


def _head_and_body(start: bytes) -> tuple[bool, int, int]:
    """(200 or not, Content-Length, body bytes already there) of what begins an answer."""
    head, _, body = start.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return head.split(b" ", 2)[1] == b"200", int(value), len(body)
    return False, 0, len(body)


def _told_to_stop() -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready)


def _say(text: str) -> None:
    print(text, flush=True)


def _yield_the_core() -> None:
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


@click.group()
def main() -> None:
    """Clients for the background of a measurement."""


# --- idle ----------------------------------------------------------------------------------------


@main.command()
@click.option("--port", type=int)
@click.option("--path")
@click.option("--count", type=int)
def idle(port: int, path: str, count: int) -> None:
    """Each fetches one small file, then keeps its connection open: a player between segments."""
    opened, refused = [], 0
    for number in range(count):
        try:
            opened.append(_fetch_once(port, path, number))
        except OSError:
            refused += 1
    _say("ready")
    sys.stdin.read()
    closed = sum(_is_closed(sock) for sock in opened)
    _say(json.dumps({"opened": len(opened), "refused": refused, "closed": closed}))


def _fetch_once(port: int, path: str, number: int) -> socket.socket:
    """A connection that has had one whole answer; raises OSError when it did not get it."""
    sock = _connect(port, number)
    sock.sendall(_request(port, path))
    data = sock.recv(65536)
    good, length, have = _head_and_body(data)
    while good and have < length:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError("cut off")
        have += len(data)
    if not good:
        raise ConnectionError("not a 200")
    sock.setblocking(False)
    return sock


def _is_closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


# --- slow ----------------------------------------------------------------------------------------


@main.command()
@click.option("--port", type=int)
@click.option("--path")
@click.option("--count", type=int)
@click.option("--rate-bps", type=int, help="Bytes a second for each.")
def slow(port: int, path: str, count: int, rate_bps: int) -> None:
    """Each reads one long file at a steady rate, through a small window: a thin access line."""
    socks = []
    for number in range(count):
        sock = _connect(port, number, SLOW_WINDOW_BYTES)
        sock.sendall(_request(port, path))
        sock.setblocking(False)
        socks.append(sock)
    _say("ready")
    _yield_the_core()
    _say(json.dumps(_read_slowly(socks, rate_bps)))


def _read_slowly(socks: list[socket.socket], rate_bps: int) -> dict[str, float]:
    """Take every client's share each SLOW_STEP_S, a few clients each millisecond."""
    share = memoryview(bytearray(int(rate_bps * SLOW_STEP_S)))
    took, closed = 0, set[int]()
    start = time.monotonic()
    turn = 0
    while not _told_to_stop():
        due = int((time.monotonic() - start) / SLOW_STEP_S * len(socks))
        for number in range(turn, due):
            at = number % len(socks)
            try:
                read = socks[at].recv_into(share)
                took += read
                if not read:
                    closed.add(at)
            except BlockingIOError:
                pass
            except OSError:
                closed.add(at)
        turn = due
        time.sleep(0.001)
    seconds = time.monotonic() - start
    return {"rate_each_bps": took / seconds / len(socks), "closed": float(len(closed))}


# --- cold ----------------------------------------------------------------------------------------


@dataclass
class _Stream:
    """One client on its way through a cold file."""

    sock: socket.socket
    file: Path
    left: int = -1


@dataclass
class _Tally:
    """What the cold clients got."""

    bytes: int = 0
    files: int = 0
    cold: float = 0.0
    errors: int = 0


@main.command()
@click.option("--port", type=int)
@click.option("--requests", type=Path, help="Paths to ask for, one a line.")
@click.option("--files", type=Path, help="The files behind them, in the same order.")
@click.option("--count", type=int)
def cold(port: int, requests: Path, files: Path, count: int) -> None:
    """Each streams one file after the other that is not in the page cache, as fast as it comes."""
    paths = requests.read_text().split("\n")[:-1]
    on_disk = [Path(line) for line in files.read_text().split("\n")[:-1]]
    for file in on_disk:
        evict(file)
    _say("ready")
    _yield_the_core()
    _say(json.dumps(_stream_cold(port, list(zip(paths, on_disk, strict=True)), count)))


def _stream_cold(port: int, files: list[tuple[str, Path]], count: int) -> dict[str, float]:
    poll, streams, tally = select.epoll(), dict[int, _Stream](), _Tally()
    turn = 0

    def next_file(stream: _Stream) -> None:
        nonlocal turn
        path, stream.file = files[turn % len(files)]
        turn += 1
        tally.cold += 1 - cached_share(stream.file)
        stream.left = -1
        stream.sock.sendall(_request(port, path))

    for number in range(count):
        stream = _Stream(_connect(port, number), Path())
        streams[stream.sock.fileno()] = stream
        poll.register(stream.sock, select.EPOLLIN)
        next_file(stream)
    start, buffer = time.monotonic(), memoryview(bytearray(READ_BYTES))
    while streams and not _told_to_stop():
        for fd, _ in poll.poll(0.1):
            if not _take(streams[fd], buffer, tally, next_file):
                tally.errors += 1
                poll.unregister(fd)
                streams.pop(fd).sock.close()
    seconds = time.monotonic() - start
    return {
        "cold_mbytes_per_s": tally.bytes / seconds / 1e6,
        "cold_share": tally.cold / max(1, tally.files + len(streams)),
        "cold_errors": float(tally.errors),
    }


def _take(
    stream: _Stream, buffer: memoryview, tally: _Tally, next_file: Callable[[_Stream], None]
) -> bool:
    """Read what is there; False when the connection is of no more use."""
    try:
        read = stream.sock.recv_into(buffer)
        if not read:
            return False
        tally.bytes += read
        if stream.left < 0:
            good, length, read = _head_and_body(bytes(buffer[:read]))
            if not good:
                return False
            stream.left = length
        stream.left -= read
        if stream.left <= 0:
            tally.files += 1
            evict(stream.file)
            next_file(stream)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
