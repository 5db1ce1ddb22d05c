"""The rows of the table: what is asked of a server in each, and what is read off the machine."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load
from benchmarks.edge_peers import Peer, PeerError, Server
from benchmarks.edge_tree import FILM, RANGE_BYTES, Paths, Tree, request_list
from benchmarks.measure import (
    CoreWindow,
    memory_in_use_bytes,
    own_memory_bytes,
    send_queue_bytes,
)
from benchmarks.page_cache import cached_share

SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32
IDLE_CONNECTIONS, ACTIVE_CONNECTIONS = 10_000, 500
ACTIVE_RATE_EACH = 10
"""Requests a second of each active client: 5,000 × 64 KiB, about a fifth of what a core can do."""

STORM_CLIENTS, HOT_CLIENTS, HOT_RATE_EACH = 32, 32, 50
STORM_LEAD_S = 1.0
SLOW_CLIENTS, SLOW_RATE_BPS = 2_000, 100_000
OTHER_CLIENTS, OTHER_RATE_EACH = 100, 20
CACHE_SAMPLE = 50
SETTLE_S = 4.0
"""Until 2,000 slow readers have filled what buffers they may."""

Reading = dict[str, float]


@dataclass(frozen=True, slots=True)
class Desk:
    """What every scenario works with."""

    tree: Tree
    paths: Paths
    seconds: float

    def requests(self, peer: Peer, size: str) -> Path:
        """The list of requests for one size, as this peer's URLs are spelled."""
        return request_list(self.tree, self.paths, peer.style, size)

    def path(self, peer: Peer, asset: int, size: str) -> str:
        """One request's path."""
        return self.paths.spell(peer.style, asset, f"{size}.mp4")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row. `heats`: all peers qualify first, in both configurations; otherwise `field` says who
    takes part. `fresh`: the server is started anew for every reading, so that its memory is."""

    name: str
    title: str
    size: str
    read: Callable[[Desk, Server], Reading]
    field: tuple[str, ...] = ()
    fresh: bool = False
    workers: int = 1
    ours: str = "oca"

    @property
    def cores(self) -> set[int]:
        """The server's cores."""
        return {SERVER_CORE} if self.workers == 1 else {SERVER_CORE, LOAD_CORE}

    @property
    def heats(self) -> bool:
        """Whether there is a qualification."""
        return not self.field


# --- is it the right answer? ---------------------------------------------------------------------


def check(desk: Desk, server: Server, size: str) -> None:
    """Ask for a file and for a range of it; raises PeerError unless the very bytes come."""
    asset, path = desk.tree.files(size)[0]
    data = path.read_bytes() if size != FILM else path.open("rb").read(RANGE_BYTES)
    last = len(data) // 2
    url = desk.path(server.peer, asset, size)
    if size != FILM:
        _expect(server, url, {}, 200, data)
    _expect(server, url, {"Range": f"bytes=1-{last}"}, 206, data[1 : last + 1])
    if server.peer.style == "token":
        _expect(server, f"/a/{asset}/{size}.mp4", {}, 403, None)


def connect(server: Server) -> http.client.HTTPConnection:
    """A connection to a server, TLS not verified: the certificate is our own."""
    if server.peer.scheme == "https":
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=context)
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)


def _expect(
    server: Server, path: str, headers: dict[str, str], status: int, body: bytes | None
) -> None:
    connection = connect(server)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        got = answer.read()
    except (OSError, http.client.HTTPException) as exc:
        raise PeerError(f"no answer to GET {path[:40]}: {exc!r}") from exc
    finally:
        connection.close()
    if answer.status != status or (body is not None and got != body):
        raise PeerError(f"GET {path[:40]} gave {answer.status} and {len(got)} bytes, not {status}")


def warm(desk: Desk, server: Server, size: str) -> None:
    """Ask for every file once, so that caches are full and tokens known. The film is asked for
    whole, so that caches keep it. Raises PeerError."""
    connection = connect(server)
    buffer = bytearray(1024 * 1024)
    try:
        for asset, _ in desk.tree.files(size):
            connection.request("GET", desk.path(server.peer, asset, size))
            answer = connection.getresponse()
            while answer.readinto(buffer):
                pass
            if answer.status != 200:
                raise PeerError(f"a file of {size} gave {answer.status} while warming up")
            if answer.will_close:
                connection.close()
    except (OSError, http.client.HTTPException) as exc:
        raise PeerError(f"it broke off while warming up: {exc!r}") from exc
    finally:
        connection.close()


# --- rates ---------------------------------------------------------------------------------------


def _closed_loop(desk: Desk, server: Server, size: str, connections: int, threads: int) -> Reading:
    requests = desk.requests(server.peer, size)
    cores = {LOAD_CORE} if threads == 1 else {SERVER_CORE, LOAD_CORE}
    with CoreWindow() as window:
        seen = load.wrk(
            server.base_url,
            requests,
            connections=connections,
            seconds=desk.seconds,
            cores=cores,
            threads=threads,
        )
    mine, theirs = window.spent[SERVER_CORE], window.spent[LOAD_CORE]
    reading = {
        "rate": seen.requests / seen.seconds,
        "mbytes_per_s": seen.bytes / seen.seconds / 1e6,
        "p50_ms": seen.p50_ms,
        "p99_ms": seen.p99_ms,
        "errors": float(seen.errors),
        "server_idle": mine.idle_share,
        "load_idle": theirs.idle_share,
        "stolen_s": mine.stolen_s + theirs.stolen_s,
        "files_cached": _files_cached(desk, size),
    }
    if threads == 1 and seen.bytes:
        reading["cpu_s_per_gb"] = mine.busy_s / (seen.bytes / 1e9)
    return reading


def _files_cached(desk: Desk, size: str) -> float:
    """The share of the files (a sample) that was in the page cache: a rate below 1 is a disk's."""
    files = desk.tree.files(size)[:: max(1, desk.tree.assets // CACHE_SAMPLE)]
    try:
        return sum(cached_share(path) for _, path in files) / len(files)
    except OSError:
        return -1.0  # this kernel cannot say


def _rate(size: str, connections: int = CONNECTIONS, threads: int = 1) -> Callable[..., Reading]:
    def read(desk: Desk, server: Server) -> Reading:
        return _closed_loop(desk, server, size, connections, threads)

    return read


# --- latencies beside others ---------------------------------------------------------------------


def _open_loop(desk: Desk, server: Server, clients: int, rate_each: int) -> load.Open:
    return load.h2load(
        server.base_url,
        desk.requests(server.peer, "64k"),
        clients=clients,
        rate_each=rate_each,
        seconds=desk.seconds,
        cores={LOAD_CORE},
    )


def _idle(desk: Desk, server: Server) -> Reading:
    """10,000 connections that had one answer each and wait; 500 more that work."""
    _open_loop(desk, server, ACTIVE_CONNECTIONS, 2)
    time.sleep(0.5)
    before, in_use = own_memory_bytes(server.pids()), memory_in_use_bytes()
    path = desk.path(server.peer, 1, "4k")
    options = {"port": server.port, "path": path, "count": IDLE_CONNECTIONS}
    with load.background("idle", {LOAD_CORE}, **options) as idlers:
        time.sleep(0.5)
        grown = own_memory_bytes(server.pids()) - before
        used = memory_in_use_bytes() - in_use
        seen = _open_loop(desk, server, ACTIVE_CONNECTIONS, ACTIVE_RATE_EACH)
    lost = idlers.result["refused"] + idlers.result["closed"]
    return {
        "own_each_bytes": grown / IDLE_CONNECTIONS,
        "machine_each_bytes": used / IDLE_CONNECTIONS,
        "own_before_bytes": float(before),
        "p50_ms": seen.p50_ms,
        "p99_ms": seen.p99_ms,
        "errors": seen.errors + lost,
        "idle_lost": lost,
    }


def _storm(desk: Desk, server: Server) -> Reading:
    """Hot files at a steady rate, without and with clients that drain the disk."""
    _open_loop(desk, server, HOT_CLIENTS, HOT_RATE_EACH)  # its files opened, its tokens checked
    quiet = _open_loop(desk, server, HOT_CLIENTS, HOT_RATE_EACH)
    requests = desk.requests(server.peer, "4m")
    files = desk.tree.work / "requests" / "cold-files.txt"
    files.write_text("".join(f"{_file_of(desk, line)}\n" for line in requests.open()))
    options = {
        "port": server.port,
        "requests": requests,
        "files": files,
        "count": STORM_CLIENTS,
    }
    with load.background("cold", {LOAD_CORE}, **options) as storm, CoreWindow() as window:
        time.sleep(STORM_LEAD_S)
        stormy = _open_loop(desk, server, HOT_CLIENTS, HOT_RATE_EACH)
    return {
        "p99_quiet_ms": quiet.p99_ms,
        "p99_ms": stormy.p99_ms,
        "p50_ms": stormy.p50_ms,
        "worst_ms": stormy.worst_ms,
        "p99_ratio": stormy.p99_ms / quiet.p99_ms,
        "errors": quiet.errors + stormy.errors + storm.result["cold_errors"],
        "server_idle": window.spent[SERVER_CORE].idle_share,
        "load_idle": window.spent[LOAD_CORE].idle_share,
        "cold_mbytes_per_s": storm.result["cold_mbytes_per_s"],
        "cold_share": storm.result["cold_share"],
    }


def _file_of(desk: Desk, request: str) -> Path:
    asset = request.split("/")[2].partition(";")[0]
    return desk.tree.file(int(asset), "4m")


def _slow(desk: Desk, server: Server) -> Reading:
    """2,000 clients that take 100 kB/s each, and what they do to others and to memory."""
    _open_loop(desk, server, OTHER_CLIENTS, OTHER_RATE_EACH)  # its files opened, its tokens checked
    quiet = _open_loop(desk, server, OTHER_CLIENTS, OTHER_RATE_EACH)
    before, in_use = own_memory_bytes(server.pids()), memory_in_use_bytes()
    path = desk.path(server.peer, desk.tree.film, FILM)
    options = {
        "port": server.port,
        "path": path,
        "count": SLOW_CLIENTS,
        "rate_bps": SLOW_RATE_BPS,
    }
    with load.background("slow", {LOAD_CORE}, **options) as slow:
        time.sleep(SETTLE_S)
        grown = own_memory_bytes(server.pids()) - before
        used = memory_in_use_bytes() - in_use - own_memory_bytes([slow.process.pid])
        queued = send_queue_bytes(server.port)
        others = _open_loop(desk, server, OTHER_CLIENTS, OTHER_RATE_EACH)
    return {
        "own_each_bytes": grown / SLOW_CLIENTS,
        "memory_each_bytes": max(grown, used) / SLOW_CLIENTS,
        "queued_each_bytes": queued / SLOW_CLIENTS,
        "p99_quiet_ms": quiet.p99_ms,
        "p99_ms": others.p99_ms,
        "p99_ratio": others.p99_ms / quiet.p99_ms,
        "errors": quiet.errors + others.errors + slow.result["closed"],
        "slow_rate_each_bps": slow.result["rate_each_bps"],
    }


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("4k", "4 KiB, 32 connections", "4k", _rate("4k")),
    Scenario("64k", "64 KiB, 32 connections", "64k", _rate("64k")),
    Scenario("1m", "1 MiB, 32 connections", "1m", _rate("1m")),
    Scenario("4m", "4 MiB, 32 connections", "4m", _rate("4m")),
    Scenario("ranges", "256 KiB ranges of 1 GiB, 256 connections", FILM, _rate(FILM, 256)),
    Scenario(
        "idle",
        "10,000 open connections, 500 active",
        "64k",
        _idle,
        field=("nginx-tuned", "h2o-tuned"),  # lighttpd: 10,000 of 20,000 descriptors at most
        fresh=True,
    ),
    Scenario("tls", "TLS 1.3, 1 MiB", "1m", _rate("1m"), field=("nginx-tls",), ours="oca-tls"),
    Scenario(
        "storm",
        "cold storm: 32 clients drain the disk beside 32 on hot files",
        "64k",
        _storm,
        field=("nginx-tuned", "nginx-aio"),
        fresh=True,
    ),
    Scenario("two-4k", "2 workers on 2 cores with wrk, 4 KiB", "4k", _rate("4k", 64, 2), workers=2),
    Scenario("two-1m", "2 workers on 2 cores with wrk, 1 MiB", "1m", _rate("1m", 64, 2), workers=2),
    Scenario(
        "slow",
        "2,000 slow readers at 100 kB/s",
        "64k",
        _slow,
        field=("nginx-tuned",),
        fresh=True,
    ),
)
