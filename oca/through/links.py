"""The fetcher's ends of the Unix sockets to workers: messages in and out, files beside them.

An adapter. A worker that does not read (it is stopped, or hangs) has its messages kept up to a
bound; then its link is cut, and it makes a new one when it runs again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from oca.through.messages import MESSAGE_BYTES_MAX, FromFetcher, FromWorker, heard_by_fetcher, pack
from wire.log import get

QUEUE_MAX = 4096
"""Messages that a worker may be behind."""

TURN_MAX = 64
_log = get("through")


class Link:
    """One worker."""

    __slots__ = ("_hear", "_loop", "_lost", "_queue", "_sock")

    def __init__(
        self,
        sock: socket.socket,
        hear: Callable[[Link, FromWorker], None],
        lost: Callable[[Link], None],
    ) -> None:
        """`hear` gets its messages; `lost` is called once, at the end."""
        self._sock, self._hear, self._lost = sock, hear, lost
        self._queue: deque[tuple[bytes, int]] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._on_readable)

    def send(self, message: FromFetcher, fd: int = -1) -> None:
        """Send soon, with an open file when `fd` is one. Does not raise."""
        if self._sock.fileno() < 0:
            return
        raw = pack(message)
        if self._queue or not self._try(raw, fd):
            if len(self._queue) >= QUEUE_MAX:
                _log.error("a worker does not listen, its link is cut")
                self.close()
                return
            if not self._queue and self._sock.fileno() >= 0:
                self._loop.add_writer(self._sock, self._on_writable)
            self._queue.append((raw, os.dup(fd) if fd >= 0 else -1))

    def _try(self, raw: bytes, fd: int) -> bool:
        try:
            if fd >= 0:
                socket.send_fds(self._sock, (raw,), (fd,))
            else:
                self._sock.send(raw)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._loop.call_soon(self.close)
        return True

    def _on_writable(self) -> None:
        while self._queue:
            raw, fd = self._queue[0]
            if not self._try(raw, fd):
                return
            self._queue.popleft()
            if fd >= 0:
                os.close(fd)
        self._loop.remove_writer(self._sock)

    def _on_readable(self) -> None:
        for _ in range(TURN_MAX):
            try:
                raw = self._sock.recv(MESSAGE_BYTES_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                raw = b""
            if not raw:
                self.close()
                return
            try:
                message = heard_by_fetcher(raw)
            except msgspec.DecodeError as exc:
                _log.error("a worker says what nobody understands", why=str(exc))
                self.close()
                return
            self._hear(self, message)

    def close(self) -> None:
        """The worker is gone, or has to come again."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for _, fd in self._queue:
            if fd >= 0:
                os.close(fd)
        self._queue.clear()
        self._lost(self)


class Door:
    """The listening socket that workers come to."""

    def __init__(self, path: Path, take: Callable[[socket.socket], None]) -> None:
        """Listen at `path`, replacing what an earlier life left; raises OSError."""
        self._take = take
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        with suppress(FileNotFoundError):
            path.unlink()
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:  # by descriptor, for a socket's path has at most 107 bytes
            self._sock.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
        path.chmod(0o600)
        self._sock.listen(512)
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        with suppress(BlockingIOError, InterruptedError, ConnectionError):
            while True:
                sock, _ = self._sock.accept()
                sock.setblocking(False)
                self._take(sock)

    def close(self) -> None:
        """Nobody comes any more."""
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
