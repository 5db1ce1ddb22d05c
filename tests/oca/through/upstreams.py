"""An upstream that does as it is told: real sockets, raw answers, a list of what it was asked."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from oca.http.dates import http_date

PIECE_BYTES = 64 * 1024
PROBE = "/-"  # tests.oca.running asks for it until a server answers


def body_of(name: str, size: int) -> bytes:
    """Bytes that are different for every name and nowhere the same."""
    return hashlib.shake_128(name.encode()).digest(size)


@dataclass
class Asked:
    """One request; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    sock: socket.socket

    def send(self, *pieces: bytes) -> None:
        """Write to the client."""
        for piece in pieces:
            self.sock.sendall(piece)

    @property
    def range(self) -> tuple[int, int | None] | None:
        """(first, last) of a simple Range."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        return match and (int(match[1]), int(match[2]) if match[2] else None)


@dataclass
class Thing:
    """An object that is served as a good server would; faults by choice."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = '"v1"'
    modified: str = "Mon, 01 Jan 2024 00:00:00 GMT"
    delay_s: float = 0.0
    gap_s: float = 0.0  # between pieces
    ranges: bool = True
    length: bool = True
    cut_at: list[int] = field(default_factory=list)  # of one answer each: it ends there

    def head(self, asked: Asked, status: str, length: int | None, extra: str = "") -> bytes:
        lines = [f"HTTP/1.1 {status}", f"Date: {http_date(time.time()).decode()}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.etag:
            lines.append(f"ETag: {self.etag}")
        if self.modified:
            lines.append(f"Last-Modified: {self.modified}")
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode()

    def __call__(self, asked: Asked) -> None:
        time.sleep(self.delay_s)
        size = len(self.body)
        if self.etag and asked.headers.get("if-none-match") == self.etag:
            asked.send(self.head(asked, "304 Not Modified", None))
            return
        first, last, status, extra = 0, size - 1, "200 OK", ""
        wanted = asked.range if self.ranges else None
        if wanted and asked.headers.get("if-range", self.etag) in (self.etag, self.modified):
            first = wanted[0]
            last = size - 1 if wanted[1] is None else min(wanted[1], size - 1)
            if first >= size:
                extra = f"Content-Range: bytes */{size}\r\n"
                asked.send(self.head(asked, "416 Range Not Satisfiable", 0, extra))
                return
            status = "206 Partial Content"
            extra = f"Content-Range: bytes {first}-{last}/{size}\r\n"
        body = self.body[first : last + 1]
        if self.length:
            asked.send(self.head(asked, status, len(body), extra))
        else:
            asked.send(self.head(asked, status, None, extra + "Transfer-Encoding: chunked\r\n"))
        if asked.method != "HEAD":
            self.send_body(asked, body)

    def send_body(self, asked: Asked, body: bytes) -> None:
        cut = self.cut_at.pop(0) if self.cut_at else None
        for at in range(0, len(body), PIECE_BYTES):
            piece = body[at : at + PIECE_BYTES]
            if cut is not None and at + len(piece) > cut:
                asked.send(piece[: max(0, cut - at)])
                raise EOFError
            asked.send(piece if self.length else b"%x\r\n%b\r\n" % (len(piece), piece))
            if self.gap_s:
                time.sleep(self.gap_s)
        if not self.length:
            asked.send(b"0\r\n\r\n")


Handler = Callable[[Asked], None]


class Upstream:
    """A server on a free port of loopback. `things` by target; others are 404."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.things: dict[str, Handler] = {}
        self.asked: list[Asked] = []
        self._open: set[socket.socket] = set()
        self.answering: set[socket.socket] = set()
        self._listener = socket.create_server((host, port), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """The upstream is away."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listener.close()
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def put(self, thing: Handler) -> str:
        """Give it a name that nothing else has; the target."""
        target = f"/put/{len(self.things)}"
        self.things[target] = thing
        return target

    def asked_for(self, target: str) -> list[Asked]:
        """The requests for one target."""
        return [asked for asked in self.asked if asked.target == target]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self._open.add(sock)
        stream = sock.makefile("rb")
        try:
            while line := stream.readline():
                method, target, _ = line.decode().split(" ")
                headers = {}
                while (raw := stream.readline().strip()) != b"":
                    name, _, value = raw.decode().partition(":")
                    headers[name.lower()] = value.strip()
                asked = Asked(method, target, headers, sock)
                if target != PROBE:
                    self.asked.append(asked)
                self.answering.add(sock)
                self.things.get(target, not_found)(asked)
                self.answering.discard(sock)
        except EOFError:
            pass
        except (OSError, ValueError):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        finally:
            self.answering.discard(sock)
            self._open.discard(sock)
            stream.close()
            sock.close()


def not_found(asked: Asked) -> None:
    """The plain 404."""
    asked.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnone\n")


def raw(*pieces: bytes, then: str = "") -> Handler:
    """A handler that sends these bytes whatever was asked; `then` "reset" breaks the connection."""

    def handler(asked: Asked) -> None:
        asked.send(*pieces)
        if then:
            raise ConnectionAbortedError

    return handler
