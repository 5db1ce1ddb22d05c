"""The sending half of a connection: parts to the kernel, bytes to the books, exactly.

An adapter. Bytes count as delivered when the kernel took them, and are taken back when the
connection dies before its peer acknowledged them (oca.account).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from typing import TYPE_CHECKING

from oca.accesslog import Note
from oca.account import Account, DemandKey
from oca.reasons import CLASS_SLOT, SLOT
from oca.service import Reply

if TYPE_CHECKING:
    from oca.files import Entry
    from oca.server import Server

SENDFILE_BYTES_MAX = 512 * 1024  # bytes in one go; then other connections have their turn

JOIN_BYTES_MAX = 16 * 1024  # up to here one copy is cheaper than a second piece

_BODY_BYTES = SLOT["oca_body_bytes_total"]
_FILL_BYTES = SLOT["oca_fill_body_bytes_total"]
_UNACKED = SLOT["oca_unacked_bytes_total"]
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Part = bytes | memoryview | tuple[int, int]
"""Bytes in memory, or (offset, length) of the answer's file."""


class ShortFileError(Exception):
    """The file became shorter than the head promised."""


class DiskError(Exception):
    """The file cannot be read."""


class Outflow:
    """What is on its way out on one socket."""

    __slots__ = (
        "_account",
        "_body",
        "_entry",
        "_fill",
        "_fin_sent",
        "_head",
        "_head_left",
        "_key",
        "_parts",
        "_sending",
        "_server",
        "_sock",
        "note",
    )

    def __init__(self, server: Server, sock: socket.socket) -> None:
        """`server` keeps the books; without demand to count no account is kept."""
        self._server, self._sock = server, sock
        self._parts: list[Part] = []
        self._entry: Entry | None = None
        self._key: DemandKey | None = None
        self._fill = self._fin_sent = self._sending = False
        self._head = self._head_left = self._body = 0
        self._account = Account() if server.demand is not None else None
        self.note: Note | None = None  # of an answer that the access log is told of when it ends

    def begin(self, reply: Reply) -> None:
        """Take up an answer; what is small and in memory goes out with its head in one piece."""
        plan, entry = reply.plan, reply.entry
        self._server.metrics[CLASS_SLOT[plan.status // 100]] += 1
        parts: list[Part] = [plan.head]
        for part in plan.parts:
            if isinstance(part, tuple) and entry is not None and entry.body is not None:
                parts.append(memoryview(entry.body)[part[0] : part[0] + part[1]])
            else:
                parts.append(part)
        joined = [part for part in parts if not isinstance(part, tuple)]
        if len(joined) == len(parts) and plan.body_bytes <= JOIN_BYTES_MAX:
            parts = [b"".join(joined)]
        if entry is not None:
            entry.users += 1
            entry.used = True
        self._take_up(parts, len(plan.head), reply.key, entry, fill=reply.fill)

    def send_whole(self, start: bytes, entry: Entry, key: DemandKey | None) -> bool:
        """Send a whole file in memory behind `start`, in one go; False when some is left to send.

        What is left shares the file's bytes with everybody. Raises OSError when the peer is gone.
        """
        tail = entry.tail
        try:
            if len(tail) <= JOIN_BYTES_MAX:
                sent = self._sock.send(start + tail)
            else:
                sent = self._sock.sendmsg((start, tail))
        except (BlockingIOError, InterruptedError):
            sent = 0
        total, body = len(start) + len(tail), entry.facts.size
        if sent == total:
            self._server.metrics[_BODY_BYTES] += body
            if self._account is not None:
                if key is not None:
                    self._server.count(key, body)
                self._account.close_answer(key, total - body, body, self.unacked)
            if self.note is not None:
                self._log(body, whole=True)
            return True
        begun = len(start) - sent
        parts: list[Part] = [start[sent:], tail] if begun > 0 else [memoryview(tail)[-begun:]]
        self._take_up(parts, total - body, key, None, fill=False)
        self._count(sent)
        return False

    def _take_up(
        self,
        parts: list[Part],
        head: int,
        key: DemandKey | None,
        entry: Entry | None,
        *,
        fill: bool,
    ) -> None:
        self._parts, self._entry, self._key, self._fill = parts, entry, key, fill
        self._head = self._head_left = head
        self._body = 0
        self._sending = True

    def transmit(self) -> bool:
        """Send until all is sent (True), or the socket is full or others have their turn (False).

        Raises OSError when the peer is gone, ShortFileError, DiskError.
        """
        budget = SENDFILE_BYTES_MAX
        parts = self._parts
        while parts:
            part = parts[0]
            try:
                if isinstance(part, tuple):
                    if budget <= 0:
                        return False
                    sent = self._send_span(part, min(part[1], budget))
                    budget -= sent
                else:
                    sent = self._send_bytes(part, more=len(parts) > 1)
            except (BlockingIOError, InterruptedError):
                return False
            self._count(sent)
        self.end_answer()
        return True

    def _send_bytes(self, part: bytes | memoryview, *, more: bool) -> int:
        sent = self._sock.send(part, socket.MSG_MORE if more else 0)
        if sent == len(part):
            del self._parts[0]
        else:
            self._parts[0] = memoryview(part)[sent:]
        return sent

    def _send_span(self, span: tuple[int, int], most: int) -> int:
        if self._entry is None:
            raise RuntimeError("a span without its file")
        try:
            sent = os.sendfile(self._sock.fileno(), self._entry.fd, span[0], most)
        except (BlockingIOError, InterruptedError, ConnectionError, TimeoutError):
            raise
        except OSError as exc:
            raise DiskError(str(exc)) from exc
        if sent == 0:
            raise ShortFileError
        if sent == span[1]:
            del self._parts[0]
        else:
            self._parts[0] = (span[0] + sent, span[1] - sent)
        return sent

    def _count(self, sent: int) -> None:
        """`sent` more bytes of this answer are the kernel's."""
        head = min(sent, self._head_left)
        self._head_left -= head
        body = sent - head
        if body:
            self._body += body
            self._server.metrics[_FILL_BYTES if self._fill else _BODY_BYTES] += body
            if self._key is not None:
                self._server.count(self._key, body)

    def end_answer(self) -> None:
        """The present answer belongs to the past, as far as it was sent."""
        if self.note is not None:
            self._log(self._body, whole=self._sending and not self._parts)
        if not self._sending:
            return
        self._sending = False
        self._parts = []
        if self._account is not None:
            head = self._head - self._head_left
            self._account.close_answer(self._key, head, self._body, self.unacked)
        if self._entry is not None:
            self._entry.release()
            self._entry = None

    def _log(self, body: int, *, whole: bool) -> None:
        if self._server.access is not None and self.note is not None:
            self._server.access.add(self.note, body, whole)
        self.note = None

    def interim(self, head: bytes) -> None:
        """Send a 1xx head; best effort, for the next read or write will say what is wrong."""
        try:
            self._sock.send(head)
        except OSError:
            return
        self._server.metrics[CLASS_SLOT[1]] += 1
        if self._account is not None:
            self._account.close_answer(None, len(head), 0, self.unacked)

    def finish(self) -> None:
        """Say that nothing more comes; raises OSError when the peer is gone."""
        self._sock.shutdown(socket.SHUT_WR)
        self._fin_sent = True

    def unacked(self) -> int:
        """Bytes of our stream that the peer's kernel did not acknowledge (SIOCOUTQ, tcp(7))."""
        try:
            raw = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return 0
        count: int = struct.unpack("i", raw)[0]
        return count - 1 if self._fin_sent and count else count  # a FIN takes one number

    def abandon(self) -> None:
        """The end of the connection: what nobody got is taken back and not sent any more."""
        self.end_answer()
        unacked = self.unacked()
        if not unacked:
            return
        self._server.metrics[_UNACKED] += unacked
        if self._account is not None:
            for key, lost in self._account.take_back(unacked):
                if key is not None:
                    self._server.count(key, -lost)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            return  # reset already
