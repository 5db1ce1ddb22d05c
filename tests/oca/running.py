"""Real `oca` processes on free ports of loopback, and raw sockets to talk to them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_S = 30.0


@dataclass
class Oca:
    """A running `oca serve`; `port` is where it listens, `pid` is the supervisor's."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self, source: str | None = None) -> socket.socket:
        """A connection, from loopback address `source` if given."""
        sock = socket.create_connection(
            (self.host, self.port), timeout=8, source_address=(source, 0) if source else None
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def get(self, path: str, *lines: str, method: str = "GET", source: str | None = None) -> Answer:
        """One request on a connection of its own."""
        with self.connect(source) as sock:
            head = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close", *lines]
            sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
            return read_answer(sock.makefile("rb"), method)


@dataclass
class Answer:
    """A response as read from the wire; field names in lower case."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def read_answer(stream, method: str = "GET") -> Answer:  # type: ignore[no-untyped-def]
    """One response with Content-Length, 204 or 304; raises EOFError at the end of the stream."""
    first = stream.readline()
    if not first:
        raise EOFError
    fields = {}
    while (line := stream.readline().rstrip(b"\r\n")) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.lower()] = value.strip()
    answer = Answer(int(first.split(b" ")[1]), fields)
    if method != "HEAD" and answer.status not in (204, 304) and answer.status >= 200:
        length = int(fields["content-length"])
        answer.body = stream.read(length)
        if len(answer.body) != length:
            raise EOFError(f"{len(answer.body)} of {length} bytes")
    return answer


@contextmanager
def serving(tmp: Path, *args: str, host: str = "127.0.0.1") -> Iterator[Oca]:
    """`oca serve ARGS` in a process group of its own; ended by its process id."""
    log = tmp / f"oca-{time.monotonic_ns()}.log"
    with log.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "oca", "serve", *args],
            stdout=subprocess.PIPE,
            stderr=err,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        said = process.stdout.readline().decode()
        found = re.search(r":(\d+)(?:/| |$)", said)
        assert found, f"{said!r} {log.read_text()}"
        oca = Oca(process, host, int(found.group(1)), log)
        wait_until(lambda: answers(oca), "oca to answer")
        yield oca
    finally:
        stop_group(process)


def answers(oca: Oca) -> bool:
    """Whether requests are answered, whatever the answer."""
    try:
        return oca.get("/-").status > 0
    except (EOFError, ConnectionResetError):
        return True  # TLS: whoever speaks plainly is hung up on
    except OSError:
        return False


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to the whole group if that was not enough."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
    assert process.stdout is not None
    process.stdout.close()


def wait_until(what, label: str, within_s: float = START_S) -> None:  # type: ignore[no-untyped-def]
    """Until `what()` holds; fails with `label` when it does not in time."""
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, f"waited {within_s} s for {label}"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """The processes that `pid` started."""
    raw = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in raw.split()]
