"""One data-plane worker: open files and rules → serve → drain → stop.

Started by the supervisor (`oca worker`), which gives it a listening socket and one end of a pipe;
when that pipe ends, the supervisor is dead and so is the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import resource
import secrets
import signal
import socket
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path

from oca.access import Gate
from oca.accesslog import AccessLog
from oca.coming import Coming
from oca.config import AccessLogKnobs, Config, Limits, Pacing, Timeouts, Tls
from oca.counters import Demand, Generation, open_metrics
from oca.disks import ToldDisks
from oca.files import FolderFiles, Shelf, StoreFiles
from oca.place import BEAT_S
from oca.playback import Ring
from oca.poller import Loop
from oca.reasons import SLOT
from oca.server import Server
from oca.service import Service
from oca.state import PEERS_FILE, Peers, read_peers
from oca.store import Store
from oca.through.attach import attach
from oca.through.knobs import Through
from oca.through.nofiles import NoFiles
from oca.tls import Certificates, Files, why_no_ktls
from oca.tokens import TokenRules
from wire.errors import WireError
from wire.log import get
from wire.token import Proven

ORPHANED = 3
"""Exit status of a worker whose supervisor died."""

GC_THRESHOLD = 50_000  # nothing on the hot path makes cycles
_log = get("worker")


@dataclass(frozen=True, slots=True)
class Post:
    """What the supervisor gives a worker: the number of its counters and the folder where they
    are, its socket, the pipe that ends with the supervisor, and one for signs of life."""

    index: int
    listen_fd: int
    life_fd: int
    beat_fd: int
    run_dir: Path


def run_folder(
    root: str,
    post: Post,
    access_log: AccessLogKnobs,
    tls: Tls,
    pacing: Pacing,
    rules: TokenRules | None = None,
) -> None:
    """Serve a plain folder until SIGTERM, to everybody or by signed URIs. Raises WireError for bad
    certificates."""
    limits = Limits()
    files = FolderFiles(root, limits.open_files, limits.memory_files_bytes)
    gate = None if rules is None else _folder_gate(rules, "https" if tls.cert else "http", limits)
    service = Service(files, _boundary(), gate)
    _run(_serve(post, service, Timeouts(), limits, access_log, tls, pacing))


def run_through(
    knobs: Through, folder: str, post: Post, access_log: AccessLogKnobs, tls: Tls, pacing: Pacing
) -> None:
    """Serve what one upstream has, by way of the fetcher, to everybody until SIGTERM."""
    limits = Limits()
    boundary = _boundary()
    service = Service(NoFiles(1, 1), boundary)

    async def life() -> None:
        attach(service, knobs, folder, post.run_dir, "oca", boundary, limits.open_files)
        await _serve(post, service, Timeouts(), limits, access_log, tls, pacing)

    _run(life())


def run_appliance(config: Config, post: Post) -> None:
    """Serve an appliance's store by its rules until SIGTERM. Raises WireError for bad rules."""
    limits = config.limits
    store = Store(ToldDisks(config.disk_paths, post.run_dir), read_only=True)
    files: Shelf = StoreFiles(store, config.id, limits.open_files, limits.memory_files_bytes)
    gate = _gate(config, _peers(post.run_dir))
    boundary = _boundary()
    service = Service(files, boundary, gate)
    service.coming = Coming(post.run_dir).has
    knobs = (config.timeouts, limits, config.access_log, config.tls, config.pacing)

    async def life() -> None:
        region, run = config.through_folder, post.run_dir
        attach(service, config.through, region, run, config.id, boundary, limits.open_files)
        await _serve(post, service, *knobs, config)

    _run(life())


def _run(life: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(life)


def _boundary() -> bytes:
    return secrets.token_hex(16).encode()


def _peers(run_dir: Path) -> Peers:
    """What the agent said last; nothing yet on a new box."""
    try:
        return read_peers((run_dir / PEERS_FILE).read_bytes())
    except FileNotFoundError:
        return Peers()


def _folder_gate(rules: TokenRules, scheme: str, limits: Limits) -> Gate:
    return Gate(
        audience="",
        scheme=scheme,
        token_keys=rules.keys,
        peers=Peers(),
        anybody=True,
        remembered_max=limits.tokens,
        policy=rules.policy,
        on_proven=_note_token,
    )


def _note_token(proven: Proven) -> None:
    """Its id is logged and not enforced: a token serves many ranges of many files."""
    _log.debug("token", jti=proven.token.jti, kid=proven.kid, iss=proven.token.iss)


def _gate(config: Config, peers: Peers) -> Gate:
    return Gate(
        audience=config.id,
        scheme=config.scheme,
        token_keys=config.verify_keys(),
        peers=peers,
        anybody=config.serves_anybody,
        remembered_max=config.limits.tokens,
        policy=config.tokens.policy([config.id]),
        on_proven=_note_token,
    )


async def _serve(
    post: Post,
    service: Service,
    timeouts: Timeouts,
    limits: Limits,
    access_log: AccessLogKnobs,
    tls: Tls,
    pacing: Pacing,
    config: Config | None = None,
) -> None:
    """start → serve → drain → stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    for number in (signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)  # these are the supervisor's to judge
    loop.add_reader(post.life_fd, _die)
    lock = _hold_counters(post)
    generation = Generation(post.run_dir)
    metrics = open_metrics(post.run_dir, post.index)
    if service.missing is not None:
        service.missing.count_in(metrics)
    access = _access_log(access_log, metrics)
    server = Server(
        socket.socket(fileno=post.listen_fd),
        service,
        metrics,
        timeouts=timeouts,
        limits=limits,
        demand=Demand(post.run_dir, post.index) if config is not None else None,
        word=generation.words,
        reload=lambda: _reload(config, post.run_dir, service),
        access=access,
        tls=_certificates(tls),
        pacing=pacing,
        name=config.id if config is not None else "oca",
        ring=_ring(post) if config is not None else None,
    )
    _settle(limits)
    server.start()
    _beat(post.beat_fd, loop)
    await stop.wait()
    await server.drain()
    if access is not None:
        access.stop()
    os.close(lock)


def _certificates(tls: Tls) -> Certificates | None:
    if not tls.cert:
        return None
    why = why_no_ktls()
    _log.info("kTLS" if why is None else "no kTLS, encrypting in user space", why=why)
    return Certificates(Files(tls.cert, tls.key, tls.names))


def _access_log(knobs: AccessLogKnobs, metrics: memoryview) -> AccessLog | None:
    """The log that the operator asked for, if any, its thread started."""
    if not knobs.file:
        return None

    def on_dropped(count: int) -> None:
        metrics[SLOT["oca_access_log_dropped_total"]] += count

    log = AccessLog(knobs.file, knobs.one_in, on_dropped)
    log.start()
    return log


def _ring(post: Post) -> Ring | None:
    """Where what players say is kept for the agent; none when the disk has no room for it."""
    try:
        return Ring(post.run_dir, post.index)
    except OSError as exc:
        _log.error("what players say is counted, but not kept", why=str(exc))
        return None


def _beat(fd: int, loop: asyncio.AbstractEventLoop) -> None:
    """Tell the supervisor that we serve, now and for as long as the loop turns."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(fd, b".")
    loop.call_later(BEAT_S, _beat, fd, loop)


def _hold_counters(post: Post) -> int:
    """Wait until an earlier life of this worker is gone: a mapping has one writer."""
    path = post.run_dir / f"worker-{post.index}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _reload(config: Config | None, run_dir: Path, service: Service) -> None:
    """The generation rose: take up the agent's rules; bad ones leave the old in force."""
    if config is None:
        service.forget_files()
        return
    try:
        service.replace_gate(_gate(config, _peers(run_dir)))
    except (OSError, WireError, ValueError) as exc:
        service.forget_files()
        _log.error("the agent's rules cannot be read, the old ones stay", why=str(exc))


def _settle(limits: Limits) -> None:
    """All descriptors the system allows; and the collector leaves alone what lives for ever.

    The kernel's table of descriptors doubles when it is full, and in a process with threads each
    time waits for all processors (synchronize_rcu, 10 to 20 ms): so it gets its size at once.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = min(hard, limits.connections + limits.open_files)
    os.close(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, most - 1))
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def _die() -> None:
    os._exit(ORPHANED)
