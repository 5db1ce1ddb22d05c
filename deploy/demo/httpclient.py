"""One viewer's HTTP: sockets bound to the viewer's address, every body byte counted by host.

Small on purpose: HTTP/1.1, GET, Content-Length only. It counts what its kernel received, whole or
not, so that its totals can be held against the appliances' own counts to the byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HEAD_BYTES_MAX = 32 * 1024
READ_BYTES = 16 * 1024
# Small, so that a response is long in flight (as over a real line) and little is lost on a kill.
RECEIVE_BUFFER_BYTES = 64 * 1024
# What a peer's kernel still holds for an abandoned connection arrives within a few of these.
DRAIN_PAUSE_S = 0.02
DRAIN_PAUSES_MAX = 50
# <linux/in.h>: bind to an address without taking a port yet, so that ports do not run out.
IP_BIND_ADDRESS_NO_PORT = 24

OnBytes = Callable[[str, int, int], None]
"""Called with host, body bytes so far and body bytes expected, while a response arrives."""


class FetchError(Exception):
    """A request failed: which host, why, and how many body bytes had arrived of how many."""

    def __init__(self, host: str, reason: str, got_bytes: int = 0, want_bytes: int = 0) -> None:
        """`reason` is for people."""
        self.host, self.reason = host, reason
        self.got_bytes, self.want_bytes = got_bytes, want_bytes
        super().__init__(f"{host}: {reason} ({got_bytes} of {want_bytes} body bytes)")


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response; header names are in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Client:
    """A viewer at `address`; `line_bps` is the speed of the viewer's line (None: no limit).

    `patience_s` is how long it waits without a single byte before it gives a request up.
    `delivered` counts body bytes of 200 and 206 answers by host, complete or not.
    """

    address: str
    patience_s: float = 1.0
    line_bps: int | None = None
    delivered: Counter[str] = field(default_factory=Counter)
    _idle: dict[tuple[str, int], socket.socket] = field(default_factory=dict)

    async def get(self, url: str, on_bytes: OnBytes | None = None) -> Answer:
        """Fetch `url`; raises FetchError when no complete response came."""
        parts = urlsplit(url)
        place = (parts.hostname or "", parts.port or 80)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        head = f"GET {target} HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\nAccept: */*\r\n\r\n"
        reused = self._idle.pop(place, None)
        if reused is not None:
            with contextlib.suppress(_StaleError):
                return await self._exchange(reused, place, url, head, on_bytes, fresh=False)
        sock = await self._connect(place)
        return await self._exchange(sock, place, url, head, on_bytes, fresh=True)

    def close(self) -> None:
        """Close the idle connections."""
        for sock in self._idle.values():
            sock.close()
        self._idle.clear()

    async def _connect(self, place: tuple[str, int]) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        try:
            sock.bind((self.address, 0))
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_connect(sock, place), self.patience_s)
        except (OSError, TimeoutError) as exc:
            sock.close()
            raise FetchError(place[0], f"cannot connect: {_words(exc)}") from exc
        return sock

    async def _exchange(
        self,
        sock: socket.socket,
        place: tuple[str, int],
        url: str,
        head: str,
        on_bytes: OnBytes | None,
        fresh: bool,
    ) -> Answer:
        reply = _Reply(self, sock, place[0], on_bytes)
        try:
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_sendall(sock, head.encode()), self.patience_s)
            await reply.read()
        except (OSError, TimeoutError, ValueError) as exc:
            await reply.drain()
            sock.close()
            if not fresh and not reply.heard_anything and isinstance(exc, ConnectionError):
                raise _StaleError from exc
            raise FetchError(place[0], _words(exc), len(reply.body), reply.want_bytes) from exc
        except asyncio.CancelledError:
            await reply.drain()
            sock.close()
            raise
        if reply.headers.get("connection", "").lower() == "close":
            sock.close()
        else:
            self._idle[place] = sock
        return Answer(url, reply.status, reply.headers, bytes(reply.body))


class _StaleError(Exception):
    """An idle connection was closed by its server before it was used again."""


class _Reply:
    """One response being read."""

    def __init__(
        self, client: Client, sock: socket.socket, host: str, on_bytes: OnBytes | None
    ) -> None:
        self.client, self.sock, self.host, self.on_bytes = client, sock, host, on_bytes
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.want_bytes = 0
        self._head = bytearray()
        self._started_s = time.monotonic()
        self._received_bytes = 0

    @property
    def heard_anything(self) -> bool:
        return bool(self._head)

    async def read(self) -> None:
        """Read head and body; raises OSError, TimeoutError or ValueError."""
        while not self.status or len(self.body) < self.want_bytes:
            self._take(await self._receive())
            await self._keep_to_line_speed()

    async def drain(self) -> None:
        """Take what has already arrived (and what the peer's kernel still sends), and count it.

        A process that was stopped or killed leaves bytes in its kernel, which are delivered all
        the same; they count there, so they must count here."""
        quiet = 0
        for _ in range(DRAIN_PAUSES_MAX):
            try:
                data = self.sock.recv(READ_BYTES)
                if not data:
                    return
                self._take(data)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                if quiet > 2:
                    return
                await asyncio.sleep(DRAIN_PAUSE_S)
            except (OSError, ValueError):
                return

    async def _receive(self) -> bytes:
        loop = asyncio.get_running_loop()
        waiting = loop.sock_recv(self.sock, READ_BYTES)
        data = await asyncio.wait_for(waiting, self.client.patience_s)
        if not data:
            raise ConnectionResetError("closed before the response was complete")
        return data

    def _take(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if not self.status:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if len(self._head) > HEAD_BYTES_MAX:
                    raise ValueError("the head of the response does not end")
                return
            self._read_head(bytes(self._head[:end]))
            data = bytes(self._head[end + 4 :])
        self.body += data
        if self.status in (200, 206):
            self.client.delivered[self.host] += len(data)
        if self.on_bytes is not None and data:
            self.on_bytes(self.host, len(self.body), self.want_bytes)

    def _read_head(self, head: bytes) -> None:
        first, *rest = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        for line in rest:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        if "content-length" not in self.headers:
            raise ValueError("the response has no Content-Length")
        self.want_bytes = int(self.headers["content-length"])

    async def _keep_to_line_speed(self) -> None:
        if self.client.line_bps is None:
            return
        due_s = self._started_s + self._received_bytes * 8 / self.client.line_bps
        ahead_s = due_s - time.monotonic()
        if ahead_s > 0.001:
            await asyncio.sleep(ahead_s)


def _words(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no byte came within the viewer's patience"
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused"
    return str(exc) or type(exc).__name__
