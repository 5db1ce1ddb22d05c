"""A peer's socket: what the loop tells of it, how long our patience lasts, and how it ends.

An adapter: the half of a connection that knows no requests (those: oca.connection). It is called by
the loop when the socket can be read or written, and by the server's sweep when its deadline may be
over. However it ends, it ends once and for a named reason.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from oca.deadlines import NEVER
from oca.outflow import Outflow
from oca.phases import NEXT, Phase
from oca.poller import READ, ROOM, WRITE
from oca.reasons import Close

if TYPE_CHECKING:
    from oca.server import Server

LINGER_BYTES_MAX = 16 * 1024 * 1024  # discarded before we stop being polite

_CLOSED = Phase.CLOSED  # an attribute of an Enum costs more than a name


class Peer(ABC):
    """Whoever is at the other end; `deadline_s` (monotonic) is when our patience ends."""

    __slots__ = (
        "_buffer",
        "_close",
        "_discarded",
        "_end_s",
        "_events",
        "_left",
        "_peer_done",
        "_reading",
        "_writing",
        "address",
        "deadline_s",
        "fd",
        "filed",
        "out",
        "phase",
        "server",
        "sock",
    )

    def __init__(self, server: Server, sock: socket.socket, address: str) -> None:
        """`sock` is accepted and non-blocking; `address` is the peer's, as text."""
        self.server, self.sock, self.address = server, sock, address
        self.fd = sock.fileno()
        self.phase = Phase.IDLE
        self.deadline_s = server.poller.now_s + server.idle_s
        self.filed = NEVER  # where oca.deadlines keeps it
        self._reading = self._writing = self._peer_done = False
        self._events = READ
        self._buffer = b""
        self._close: Close | None = None
        self._end_s = 0.0
        self._discarded = 0
        self._left = 0  # bytes not acknowledged when its time was over last
        self.out = self._make_outflow()

    def _make_outflow(self) -> Outflow:
        return Outflow(self.server, self.sock)

    @abstractmethod
    def _on_readable(self) -> None: ...

    @abstractmethod
    def _on_writable(self) -> None: ...

    @abstractmethod
    def _reject(self, status: int, reason: Close) -> None: ...

    def on_event(self, event: int) -> None:
        """The socket can be read or written, or its peer is gone. Does not raise."""
        try:
            if event & WRITE and self._writing:
                self._on_writable()
            if event & ~WRITE and self.phase is not _CLOSED:
                self._on_readable()
        except Exception:
            self._fail()

    def _watch(self, reading: bool, writing: bool) -> None:
        """What the loop shall tell us of from now on, beside the peer's disappearance; of room to
        write it tells once, so that is said each time there is none."""
        self._reading, self._writing = reading, writing
        events = reading * READ | writing * ROOM
        if writing or events != self._events:
            self._events = events
            self.server.poller.change(self.fd, events)

    def begin(self) -> None:
        """The loop may call from now on."""
        self._reading = True
        self.server.poller.watch(self.fd, self.on_event)
        self.server.deadlines.file(self, self.deadline_s)

    def _wait(self, deadline_s: float) -> None:
        """Its patience ends at `deadline_s`."""
        self.deadline_s = deadline_s
        self.server.deadlines.file(self, deadline_s)

    # --- ending ----------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Shut our side, and let the peer read the answer before the socket is gone."""
        self._enter(Phase.LINGER)
        self._buffer = b""
        self._wait(self.server.poller.now_s + self.server.timeouts.linger_s)
        try:
            self.out.finish()
        except OSError:
            self.end(Close.CLIENT_RESET)
            return
        if self._peer_done:
            self._end_gently(self._close or Close.ASKED)
        else:
            self._watch(True, False)

    def _discard(self, count_bytes: int) -> None:
        self._discarded += count_bytes
        if self._discarded > LINGER_BYTES_MAX:
            self.end(self._close or Close.BAD_REQUEST)

    def _end_gently(self, reason: Close) -> None:
        """Close, but not before the kernel got rid of what it holds, or the time for it is over."""
        if self.out.unacked() == 0:
            self.end(reason)
            return
        self._close = reason
        self._enter(Phase.FLUSH)
        now_s = self.server.poller.now_s
        self.deadline_s = now_s + self.server.timeouts.linger_s
        self.server.poller.unwatch(self.fd)  # both sides may be shut: that would be told for ever
        self.server.deadlines.file(self, now_s)

    def on_sweep(self, now_s: float) -> None:
        """Asked when its time may be over, and in every sweep while it is being flushed."""
        try:
            if self.phase is Phase.FLUSH and (self.out.unacked() == 0 or self._is_gone()):
                self.end(self._close or Close.ASKED)
            elif now_s >= self.deadline_s:
                self._on_deadline(now_s)
        except Exception:
            self._fail()
        if self.phase is not Phase.CLOSED:
            at_s = now_s if self.phase is Phase.FLUSH else self.deadline_s
            self.server.deadlines.file(self, at_s)

    def _is_gone(self) -> bool:
        """Whether a reset came: nobody reads this socket any more, so it must be asked."""
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def _on_deadline(self, now_s: float) -> None:
        if self.phase in (Phase.IDLE, Phase.LINGER, Phase.FLUSH) and self._is_taking(now_s):
            return
        if self.phase is Phase.HANDSHAKE:
            self.end(Close.TLS_TIMEOUT)
        elif self.phase is Phase.IDLE:
            self.end(Close.DRAIN if self.server.draining else Close.IDLE)
        elif self.phase is Phase.HEAD:
            self._reject(408, Close.HEAD_TIMEOUT)
        elif self.phase is Phase.BODY:
            self._reject(408, Close.BODY_TIMEOUT)
        elif self.phase is Phase.OPENING:
            self._reject(503, Close.DISK_STALLED)
        elif self.phase is Phase.SENDING and not self._writing:
            self.end(Close.DISK_STALLED)
        elif self.phase is Phase.SENDING:
            self.end(Close.RESPONSE_TIMEOUT if now_s >= self._end_s else Close.SEND_STALLED)
        else:
            self.end(self._close or Close.ASKED)

    def _is_taking(self, now_s: float) -> bool:
        """Whether the peer still takes what was sent to it: then its time is not over yet."""
        left, before = self.out.unacked(), self._left
        self._left = left
        if not left or left == before or now_s >= self._end_s:
            return False
        self.deadline_s = now_s + self.server.timeouts.send_stalled_s
        return True

    def on_drain(self, now_s: float, grace_s: float) -> None:
        """The worker stops: an idle connection has `grace_s` since its last answer to ask again."""
        if self.phase is Phase.IDLE:
            last_s = self.deadline_s - self.server.timeouts.idle_s
            self._wait(max(now_s, last_s + grace_s))

    def end(self, reason: Close) -> None:
        """The end: bytes nobody got are taken back, the socket goes, the reason is counted."""
        if self.phase is Phase.CLOSED:
            return
        self.out.abandon()
        self._enter(Phase.CLOSED)
        self.server.poller.unwatch(self.fd)
        self.server.forget(self, reason)
        self._buffer = b""
        self.sock.close()

    def _fail(self) -> None:
        """A fault of ours ends this connection and no other."""
        self.server.on_fault(self)
        self.end(Close.INTERNAL)

    def _enter(self, phase: Phase) -> None:
        if phase not in NEXT[self.phase]:
            raise RuntimeError(f"{self.phase} → {phase} is not a life of a connection")
        self.phase = phase
