"""A connection behind TLS: the same life, with a handshake before and encryption on the way out.

An adapter over a non-blocking `SSLSocket`. Spans of files are read into one buffer per worker and
encrypted from there in large writes, so a slow client costs no buffer of its own. A write that
OpenSSL could not finish must be repeated with the same bytes: they are read again.

Bytes count when OpenSSL took them into records that the kernel took. What a dead peer did not
acknowledge is known in encrypted bytes, which are more than were in them (22 bytes a record of 16
KiB): so a little too much is taken back, never too little, and no byte is billed that was not got.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from oca.connection import Connection
from oca.http.respond import refuse
from oca.outflow import DiskError, Outflow, Part, Sent, ShortFileError
from oca.phases import Phase
from oca.reasons import CLASS_SLOT, SLOT, Close
from oca.tls import kernel_encrypts

if TYPE_CHECKING:
    from oca.server import Server

CHUNK_BYTES = 128 * 1024  # a write that could not be finished is read again, so no larger
READ_BYTES = 16 * 1024  # a whole record (RFC 8446 §5.1), so that none waits inside OpenSSL
_scratch = memoryview(bytearray(CHUNK_BYTES))
PLAIN_BYTES_MAX = 64 * 1024  # of one who speaks plain HTTP: he shall get a FIN and no reset
_KTLS = SLOT["oca_ktls_connections_total"]
_OLD = frozenset({"UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW"})
_PLAIN = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST"})
_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError)


class TlsOutflow(Outflow):
    """What is on its way out on one encrypted connection."""

    __slots__ = ()

    def send_memory(self, first: bytes, second: bytes | memoryview) -> int:
        """Nothing at once: `transmit` is what repeats a write as OpenSSL wants it."""
        return 0

    def send_file(self, head: bytes, entry: object, offset: int, length: int) -> int:
        """Nothing at once, as above."""
        return 0

    def transmit(self) -> Sent:
        """As of a plain connection; raises OSError, ShortFileError, DiskError.

        OpenSSL writes every record (16 KiB) by itself; corked meanwhile (tcp(7)), they leave in
        full segments: 1.27 times the rate of 1 MiB files.
        """
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        try:
            return self._transmit_parts()
        finally:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def push(self) -> None:
        """Nothing is kept back: the end of a turn takes the cork out."""

    def _send_next(self, parts: list[Part], budget: int) -> tuple[int, bool]:
        chunk = self._chunk(parts)
        try:
            return (self._sock.send(chunk) if chunk else 0), False
        except _WANTS as exc:
            raise BlockingIOError from exc

    def _chunk(self, parts: list[Part]) -> memoryview:
        """The next bytes to encrypt, of several parts if they are small; empty when cold."""
        used = 0
        for part in parts:
            room = CHUNK_BYTES - used
            if not room:
                break
            if isinstance(part, tuple):
                most = self._warm(part, room)
                used += self._read(part[0], most, used)
                if most < part[1]:
                    break
            else:
                piece = part[:room]
                _scratch[used : used + len(piece)] = piece
                used += len(piece)
        return _scratch[:used]

    def _read(self, offset: int, most: int, at: int) -> int:
        if most <= 0 or self._entry is None:
            return 0
        try:
            count = os.preadv(self._entry.fd, (_scratch[at : at + most],), offset)
        except OSError as exc:
            raise DiskError(str(exc)) from exc
        if count < most:
            raise ShortFileError
        return count

    def interim(self, head: bytes) -> None:
        """A 1xx head, if there is room for it: it may be left out, but not be begun and not ended,
        for OpenSSL would want the rest before the answer."""
        room = select.poll()
        room.register(self._fd, select.POLLOUT)
        if room.poll(0) == [(self._fd, select.POLLOUT)]:
            super().interim(head)

    def finish(self) -> None:
        """Say that nothing more comes, encrypted (close_notify) and plain; raises OSError."""
        _say_end(self._sock)
        super().finish()


class _Raw:
    """The socket below an SSLSocket: what is written to it goes to the kernel as it is."""

    def __init__(self, sock: socket.socket) -> None:
        self.fileno = sock.fileno
        self.send = partial(socket.socket.send, sock)
        self.sendmsg = partial(socket.socket.sendmsg, sock)
        self.setsockopt = sock.setsockopt
        self.shutdown = sock.shutdown


class KernelOutflow(Outflow):
    """As on a plain connection, for the kernel encrypts (kTLS): sendfile and all.

    Only alerts are OpenSSL's. Untested where we work: no kernel of ours has the module.
    """

    __slots__ = ("_tls",)

    def __init__(self, server: Server, sock: socket.socket) -> None:
        """`sock` is the SSLSocket, after its handshake."""
        super().__init__(server, cast("socket.socket", _Raw(sock)))
        self._tls = sock

    def finish(self) -> None:
        """Say that nothing more comes, encrypted (close_notify) and plain; raises OSError."""
        _say_end(self._tls)
        super().finish()


def _say_end(sock: Any) -> None:
    if isinstance(sock, ssl.SSLSocket):
        try:
            sock.unwrap()
        except (*_WANTS, ssl.SSLError, ValueError):
            pass  # the peer's own close_notify is not waited for


class TlsConnection(Connection):
    """A peer's encrypted connection; begins with a handshake."""

    __slots__ = ()

    def _make_outflow(self) -> Outflow:
        return TlsOutflow(self.server, self.sock)

    def begin(self) -> None:
        """Shake hands first."""
        self._enter(Phase.HANDSHAKE)
        super().begin()
        self._wait(self.server.poller.now_s + self.server.timeouts.handshake_s)

    def on_event(self, event: int) -> None:
        """The socket can be read or written. Does not raise."""
        if self.phase is not Phase.HANDSHAKE:
            super().on_event(event)
            return
        try:
            self._shake_hands()
        except Exception:
            self._fail()

    def _shake_hands(self) -> None:
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(True, False)
        except ssl.SSLWantWriteError:
            self._watch(False, True)
        except ssl.SSLError as exc:
            self._refuse_hands(exc.reason or "")
        except OSError:
            self.end(Close.TLS_REFUSED)
        else:
            if kernel_encrypts(self.sock):
                self.out = KernelOutflow(self.server, self.sock)
                self.server.metrics[_KTLS] += 1
            self._enter(Phase.IDLE)
            self._watch(True, False)
            self._wait(self.server.poller.now_s + self.server.idle_s)
            self._on_readable()

    def _refuse_hands(self, why: str) -> None:
        """OpenSSL has sent its alert; who speaks plain HTTP is told so in plain HTTP."""
        reason = Close.TLS_REFUSED
        if why in _OLD:
            reason = Close.TLS_OLD_VERSION
        elif why in _PLAIN:
            reason = Close.TLS_PLAIN_HTTP
            self._answer_plainly()
        self._end_gently(reason)

    def _answer_plainly(self) -> None:
        plan = refuse(400, date=self.server.date, close=True)
        answer = plan.head + b"".join(part for part in plan.parts if isinstance(part, bytes))
        try:
            socket.socket.recv(self.sock, PLAIN_BYTES_MAX)
            socket.socket.send(self.sock, answer)
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        except OSError:
            return  # gone already
        self.server.metrics[CLASS_SLOT[4]] += 1

    def _receive(self) -> bytes:
        try:
            return self.sock.recv(READ_BYTES)
        except _WANTS as exc:
            raise BlockingIOError from exc
        except ssl.SSLError as exc:
            if self.phase is Phase.LINGER:
                return b""  # after our close_notify only the end is of interest
            raise ConnectionResetError(str(exc)) from exc


def secure(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The accepted, non-blocking socket behind TLS, before its handshake; raises OSError."""
    return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
