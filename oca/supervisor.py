"""Own the listening sockets, keep the workers and the agent alive, drain on SIGTERM.

A worker that dies is started again with the very same socket, so nobody waiting in its queue is
turned away. Children hold the read end of a pipe that ends with this process, however it dies.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from wire.errors import OcaError
from wire.log import get

BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 5.0
STEADY_S = 10.0  # lived this long: its death is not one in a row
KILL_AFTER_S = 5.0  # beyond the drain
LISTEN_FDS_START = 3  # sd_listen_fds(3)
_log = get("supervisor")


class ListenError(OcaError):
    """The address cannot be listened on; the text says why."""


def listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """One SO_REUSEPORT socket per worker, or those that systemd passes in. Raises ListenError."""
    passed = int(os.environ.get("LISTEN_FDS", "0"))
    if passed and os.environ.get("LISTEN_PID") == str(os.getpid()):
        return [socket.socket(fileno=LISTEN_FDS_START + i) for i in range(passed)]
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        address_text = str(address[0])
        # a first one alone, so that another server on this port is an error and not a rival
        with _bound(family, address_text, port, shared=False) as probe:
            port = probe.getsockname()[1]
        found = [_bound(family, address_text, port, shared=True) for _ in range(count)]
        for listener in found:
            listener.listen(BACKLOG)
    except OSError as exc:
        raise ListenError(f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc
    return found


def _bound(family: int, address: str, port: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


@dataclass(slots=True)
class Child:
    """One process to keep alive: `command` is its argv, `fds` what it inherits."""

    name: str
    command: Sequence[str]
    fds: Sequence[int]
    stopping: bool = False
    process: asyncio.subprocess.Process | None = None

    async def keep(self) -> None:
        """Start it, and again whenever it dies, until told to stop."""
        backoff_s = BACKOFF_FIRST_S
        while not self.stopping:
            started_s = time.monotonic()
            self.process = await asyncio.create_subprocess_exec(*self.command, pass_fds=self.fds)
            if self.stopping:
                self.stop()
            status = await self.process.wait()
            if self.stopping:
                return
            lived_s = time.monotonic() - started_s
            backoff_s = BACKOFF_FIRST_S if lived_s > STEADY_S else backoff_s
            _log.error("died", child=self.name, status=status, lived_s=round(lived_s, 1))
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Ask it to end; it is not started again."""
        self.stopping = True
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal_number)


def worker_child(index: int, listener: socket.socket, life_fd: int, args: Sequence[str]) -> Child:
    """A data-plane worker; `args` say what it serves and where its counters are."""
    fd = listener.fileno()
    command = [
        *(sys.executable, "-m", "oca", "worker", "--index", str(index)),
        *("--listen-fd", str(fd), "--life-fd", str(life_fd), *args),
    ]
    return Child(f"worker {index}", command, (fd, life_fd))


def worker_children(
    count: int, sockets: Sequence[socket.socket], life_fd: int, args: Sequence[str]
) -> list[Child]:
    """`count` workers; when systemd passed fewer sockets than that, some share one."""
    return [worker_child(i, sockets[i % len(sockets)], life_fd, args) for i in range(count)]


def agent_child(config_file: str, life_fd: int) -> Child:
    """The appliance's agent."""
    command = [sys.executable, "-m", "oca", "agent", "--config", config_file]
    return Child("agent", [*command, "--life-fd", str(life_fd)], (life_fd,))


async def supervise(
    children: Sequence[Child], drain_s: float, extra: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Start all → wait for SIGTERM or SIGINT → drain → stop. `extra` is started beside them."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(child.keep()) for child in children]
    if extra is not None:
        await extra()
    try:
        await stop.wait()
    finally:
        for child in children:
            child.stop()
        _done, late = await asyncio.wait(tasks, timeout=drain_s + KILL_AFTER_S)
        for child in children if late else ():
            child.stop(signal.SIGKILL)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def life_pipe() -> int:
    """The read end of a pipe whose write end only this process holds: it ends when we do."""
    reader, _writer = os.pipe()
    os.set_blocking(reader, False)
    return reader
