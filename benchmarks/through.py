"""What a caching proxy in one line costs: the first byte of a miss, a crowd, a range, a hit.

`make bench-through` runs `oca serve --upstream` in front of an upstream that answers 20 ms late,
says what must hold, and writes table and JSON to benchmarks/results/. Exits 1 if a claim fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from benchmarks.measure import hardware
from benchmarks.stats import percentile

RESULTS = Path(__file__).with_name("results")
DELAY_S = 0.02
SAMPLES = 60
CROWD = 50
BIG_BYTES = 100_000_000
SMALL_BYTES = 200_000
FIRST_BYTE_MS_MAX = 3.0
READY_TRIES = 100
HIT_BYTES = (4096, 1 << 20)


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that must hold, and what was seen."""

    text: str
    seen: str
    holds: bool


# --- the upstream, in a process of its own -------------------------------------------------------


class _Answer(asyncio.Protocol):
    """`/d/SIZE/NAME` after DELAY_S, `/n/SIZE/NAME` at once; ranges are obeyed; counts requests."""

    asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """A request in one piece."""
        line, _, rest = data.partition(b"\r\n")
        _, kind, size_text, *_ = line.split(b" ")[1].split(b"/")
        if kind == b"asked":
            self._send(b"%d" % _Answer.asked, b"200 OK", b"")
            _Answer.asked = 0
            return
        _Answer.asked += 1
        size = int(size_text)
        found = re.search(rb"(?i)\r\nrange: bytes=(\d+)-(\d*)", rest)
        first, last, status, extra = 0, size - 1, b"200 OK", b""
        if found:
            first = int(found[1])
            last = min(int(found[2] or size), size - 1)
            status = b"206 Partial Content"
            extra = b"Content-Range: bytes %d-%d/%d\r\n" % (first, last, size)
        body = bytes(last - first + 1)
        delay_s = DELAY_S if kind == b"d" else 0.0
        asyncio.get_running_loop().call_later(delay_s, self._send, body, status, extra)

    def _send(self, body: bytes, status: bytes, extra: bytes) -> None:
        self._transport.write(
            b'HTTP/1.1 %b\r\nETag: "a"\r\nCache-Control: max-age=600\r\n%b'
            b"Content-Length: %d\r\n\r\n" % (status, extra, len(body))
        )
        self._transport.write(body)


def upstream() -> None:
    """Serve until killed; prints the port."""
    import uvloop

    async def life() -> None:
        server = await asyncio.get_running_loop().create_server(_Answer, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(life())


@contextmanager
def started(command: Sequence[str]) -> Iterator[int]:
    """The first port that a program prints; it is ended with the block. Raises RuntimeError."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        line = process.stdout.readline().decode()
        yield int(re.findall(r"\d{4,5}", line)[0])
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


# --- clients -------------------------------------------------------------------------------------


def first_byte_s(port: int, path: str, sock: socket.socket) -> float:
    """Seconds from the request to the first byte of the answer, on a warm connection."""
    began_s = time.perf_counter()
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
    data = sock.recv(65536)
    took_s = time.perf_counter() - began_s
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", head)
    left = (int(found[1]) if found else 0) - len(body)
    while left > 0:
        left -= len(sock.recv(65536))
    return took_s


def get(port: int, path: str, *lines: str) -> tuple[bytes, int]:
    """(head, bytes of the body) of one request."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        head = [f"GET {path} HTTP/1.1", "Host: t", "Connection: close", *lines]
        sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        start, _, body = data.partition(b"\r\n\r\n")
        count = len(body)
        while more := sock.recv(1 << 20):
            count += len(more)
    return start, count


def asked(port: int) -> int:
    """Requests that the upstream had since the last question."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /asked/0 HTTP/1.1\r\nHost: t\r\n\r\n")
        data = b""
        while not (found := re.search(rb"\r\n\r\n(\d+)", data)):
            data += sock.recv(65536)
        return int(found[1])


# --- what is measured ----------------------------------------------------------------------------


def first_bytes(up: int, through: int) -> Iterator[tuple[float, float]]:
    """(direct, by the proxy) seconds to the first byte, in turn, each of another cold object."""
    with (
        socket.create_connection(("127.0.0.1", up)) as straight,
        socket.create_connection(("127.0.0.1", through)) as by,
    ):
        for sample in range(SAMPLES):
            path = f"/d/{SMALL_BYTES}/{sample}"
            yield first_byte_s(up, path, straight), first_byte_s(through, path, by)


def first_byte_claim(up: int, through: int) -> tuple[Claim, dict[str, float]]:
    """The first byte of a miss against the upstream's own."""
    pairs = list(first_bytes(up, through))[5:]
    extra = sorted((by - straight) * 1e3 for straight, by in pairs)
    figures = {
        "direct_ms": statistics.median(straight for straight, _ in pairs) * 1e3,
        "extra_p50_ms": statistics.median(extra),
        "extra_p90_ms": percentile(extra, 0.9),
        "extra_worst_ms": extra[-1],
    }
    seen = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
    text = f"first byte of a miss ≤ {FIRST_BYTE_MS_MAX:g} ms after the upstream's (20 ms), median"
    return Claim(text, seen, figures["extra_p50_ms"] <= FIRST_BYTE_MS_MAX), figures


def crowd_claim(up: int, through: int) -> tuple[Claim, dict[str, float]]:
    """Fifty clients of one cold object."""
    asked(up)
    began_s = time.perf_counter()
    with ThreadPoolExecutor(CROWD) as pool:
        path = f"/n/{BIG_BYTES}/crowd"
        sizes = list(pool.map(lambda _: get(through, path)[1], range(CROWD)))
    took_s = time.perf_counter() - began_s
    requests = asked(up)
    whole = sizes.count(BIG_BYTES)
    rate = CROWD * BIG_BYTES * 8 / took_s / 1e9
    seen = f"{requests} upstream request(s), {whole} of {CROWD} whole, {rate:.1f} Gbit/s"
    holds = requests == 1 and whole == CROWD
    figures = {"requests": float(requests), "gbps": rate}
    return Claim(f"{CROWD} clients of a cold 100 MB object: one fetch", seen, holds), figures


def range_claim(up: int, through: int) -> Claim:
    """A kilobyte deep inside."""
    asked(up)
    _, count = get(through, f"/n/{BIG_BYTES}/deep", "Range: bytes=50000000-50000999")
    requests = asked(up)
    return Claim(
        "a range deep inside a cold object is one request for its chunk",
        f"{requests} request(s), {count} bytes",
        requests == 1 and count == 1000,
    )


def hits(through: int) -> dict[str, float]:
    """Hits a second on one worker, by size."""
    figures = {}
    for size in HIT_BYTES:
        path = f"/n/{size}/hit"
        get(through, path)
        time.sleep(0.2)
        text = subprocess.run(
            ["wrk", "-t1", "-c16", "-d3", f"http://127.0.0.1:{through}{path}"],
            capture_output=True,
            check=True,
        ).stdout.decode()
        found = re.search(r"Requests/sec:\s+([\d.]+)", text)
        figures[f"hits_per_s_{size}"] = float(found[1]) if found else 0.0
    return figures


def main() -> int:
    """Measure, write, say; 0 when all claims hold. Raises RuntimeError when nothing answers."""
    beside = [sys.executable, "-m", "benchmarks.through", "upstream"]
    with tempfile.TemporaryDirectory() as tmp, started(beside) as up:
        options = ["--store", tmp, "--upstream", f"http://127.0.0.1:{up}", "--workers", "1"]
        command = [sys.executable, "-m", "oca", "serve", *options, "--listen", "127.0.0.1:0"]
        with started(command) as through:
            if not any(_answers(through) for _ in range(READY_TRIES)):
                raise RuntimeError("the proxy does not answer")
            time.sleep(0.5)
            first, figures = first_byte_claim(up, through)
            crowd, more = crowd_claim(up, through)
            claims = [first, crowd, range_claim(up, through)]
            figures |= more | hits(through)
    return _report(claims, figures)


def _answers(port: int) -> bool:
    try:
        return get(port, "/n/1/ready")[0].startswith(b"HTTP/1.1 200")
    except OSError:
        time.sleep(0.05)
        return False


def _report(claims: Sequence[Claim], figures: dict[str, float]) -> int:
    RESULTS.mkdir(exist_ok=True)
    record = {"hardware": hardware(), "figures": figures, "claims": [asdict(c) for c in claims]}
    (RESULTS / "through.json").write_text(json.dumps(record, indent=1) + "\n")
    lines = ["# A caching proxy in one line", "", "| claim | seen | holds |", "| --- | --- | --- |"]
    lines += [f"| {c.text} | {c.seen} | {'yes' if c.holds else '**no**'} |" for c in claims]
    lines += ["", "| figure | value |", "| --- | --- |"]
    lines += [f"| {name} | {value:,.2f} |" for name, value in figures.items()]
    (RESULTS / "through.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0 if all(claim.holds for claim in claims) else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["upstream"]:
        upstream()
    else:
        sys.exit(main())
