"""Rounds of `kill -9` at random moments, under clients who check every byte's hash."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import xxhash

from oca.through.chunks import CHUNK_BYTES
from oca.through.disk import Meta, is_sound
from tests.oca.through.upstreams import Thing, Upstream, body_of

OBJECTS = 12
SIZE_BYTES = 3_300_000
REGION_BYTES = 16 * 1024**2  # less than all objects: there is always something to evict
SERVING_WITHIN_S = 5.0
BUSY_WITHIN_S = 30.0  # on a machine that runs other tests beside this one


@dataclass
class Tally:
    """What clients saw; `wrong` are answers with a byte that should not be there."""

    right: int = 0
    cut: int = 0
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def note(self, status: int, right: bool) -> None:
        """An answer came to its end, early or not."""
        self.statuses[status] += 1
        if right:
            self.right += 1
        else:
            self.cut += 1


class Clients:
    """Threads that ask one port for parts and wholes of bodies, and compare every byte."""

    def __init__(self, port: int, bodies: Mapping[str, bytes], tally: Tally) -> None:
        """`bodies` by request target."""
        self._port, self._bodies, self._tally = port, bodies, tally

    @contextmanager
    def asking(self, count: int) -> Iterator[None]:
        """So many, until the block ends."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._one, args=(stop, i)) for i in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _one(self, stop: threading.Event, number: int) -> None:
        rng = random.Random(number)
        while not stop.is_set():
            path = rng.choice(list(self._bodies))
            body = self._bodies[path]
            first, last = sorted(rng.randrange(len(body)) for _ in range(2))
            whole = rng.random() < 0.5
            lines = [] if whole else [f"Range: bytes={first}-{last}"]
            expected = body if whole else body[first : last + 1]
            try:
                self.check(path, lines, expected, f"{path} {lines}")
            except (EOFError, OSError, ValueError, KeyError):
                self._tally.cut += 1
                time.sleep(0.01)

    def check(self, path: str, lines: list[str], expected: bytes, what: str) -> bool:
        """One request; whether all that was expected came. Raises OSError, EOFError when the
        connection breaks, and notes what came and should not have."""
        with socket.create_connection(("127.0.0.1", self._port), 5) as sock:
            sock.settimeout(10)
            head = [f"GET {path} HTTP/1.1", "Host: t", "Connection: close", *lines]
            sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
            got = Partial()
            try:
                read_into(sock, got)
            finally:
                if got.status in (200, 206) and not expected.startswith(got.body):
                    self._tally.wrong.append(f"{what}: {len(got.body)} bytes")
        right = got.status in (200, 206) and got.body == expected
        self._tally.note(got.status, right)
        return right


class World:
    """An upstream, a cache in front of it, clients; the cache dies again and again."""

    def __init__(self, tmp: Path, seed: int) -> None:
        self.tmp, self.rng = tmp, random.Random(seed)
        self.upstream = Upstream()
        self.bodies = {f"/o{i}": body_of(f"object {i}", SIZE_BYTES + i) for i in range(OBJECTS)}
        for path, body in self.bodies.items():
            headers = {"Cache-Control": f"max-age={self.rng.choice((1, 60))}"}
            self.upstream.things[path] = Thing(body, headers)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.tally = Tally()
        self.slowest_s = 0.0

    def command(self) -> list[str]:
        """The same port in every life."""
        options = ["--store", str(self.tmp / "store"), "--upstream", self.upstream.url]
        options += ["--listen", f"127.0.0.1:{self.port}", "--workers", "2"]
        return [sys.executable, "-m", "oca", "serve", *options,
                "--dynamic-bytes", str(REGION_BYTES)]  # fmt: skip

    def run(self, rounds: int, serving_within_s: float) -> None:
        """So many deaths; raises AssertionError at the first wrong byte."""
        try:
            with Clients(self.port, self.bodies, self.tally).asking(6):
                for _ in range(rounds):
                    self._one_life(serving_within_s)
                    assert not self.tally.wrong, self.tally.wrong[:3]
                    self.check_disk()
        finally:
            self.upstream.close()

    def _one_life(self, serving_within_s: float) -> None:
        with (self.tmp / "oca.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(),
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(self.tmp)},
            )
        began_s = time.monotonic()
        try:
            while not self._answers():
                assert time.monotonic() - began_s < serving_within_s, "not serving in time"
                time.sleep(0.02)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            time.sleep(self.rng.uniform(0.02, 0.8))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.settimeout(2)
                sock.sendall(b"OPTIONS /o0 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                return sock.recv(20).startswith(b"HTTP/1.1 204")
        except OSError:
            return False

    def check_disk(self) -> None:
        """Nothing with a name is anything but a whole chunk of what it says."""
        check_chunks(self.tmp / "store/through/c", self.bodies)


def check_chunks(folder: Path, bodies: Mapping[str, bytes]) -> int:
    """Compare every chunk of a region, byte by byte, with the bodies by key; how many there are."""
    count = 0
    for path in folder.glob("*/*.meta"):
        check, _, raw = path.read_bytes().partition(b"\n")
        assert check.decode() == xxhash.xxh3_64_hexdigest(raw)
        meta = msgspec.json.decode(raw, type=Meta)
        for chunk in path.parent.glob(f"{meta.version}.[0-9]*"):
            number = int(chunk.name.partition(".")[2])
            assert is_sound(chunk, meta.version, number), chunk
            at = number * CHUNK_BYTES
            assert chunk.read_bytes()[:-32] == bodies[meta.key][at : at + CHUNK_BYTES]
            count += 1
    return count


@dataclass
class Partial:
    """As much of an answer as came."""

    status: int = 0
    body: bytes = b""


def read_into(sock: socket.socket, got: Partial) -> None:
    """Read one answer to the end of the connection; what came before an error stays."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise EOFError
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    got.status = int(head.split(b" ")[1])
    pieces = [rest]
    try:
        while more := sock.recv(1 << 20):
            pieces.append(more)
    finally:
        got.body = b"".join(pieces)
