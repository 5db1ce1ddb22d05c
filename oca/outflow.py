"""The sending half of a connection: parts to the kernel, bytes to the books, exactly.

An adapter. Bytes count as delivered when the kernel took them, and are taken back when the
connection dies before its peer acknowledged them (oca.account). A span of a file is sent by the
loop only where it is in the page cache (Entry.warm_to); else the caller has it read first.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from enum import Enum, auto
from typing import TYPE_CHECKING

from oca.accesslog import Note
from oca.account import ANSWERS_MAX, Account, DemandKey
from oca.reasons import CLASS_SLOT, SLOT
from oca.service import Feed, Reply

if TYPE_CHECKING:
    from oca.files import Entry
    from oca.server import Server

TURN_BYTES_MAX = 256 * 1024
"""Of a file in one go, then other connections have their turn: ~0.05 ms."""

READ_BYTES_MAX = 256 * 1024
"""Of a cold file before it is sent; the kernel reads on meanwhile. With 1 MiB a viewer waits for
all of it: a third fewer cold bytes a second (`make bench-edge`, row storm)."""

JOIN_BYTES_MAX = 16 * 1024  # up to here one copy is cheaper than a second piece

_BODY_BYTES = SLOT["oca_body_bytes_total"]
_FILL_BYTES = SLOT["oca_fill_body_bytes_total"]
_UNACKED = SLOT["oca_unacked_bytes_total"]
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_COUNT = struct.Struct("i")
_ZEROS = bytes(4)
_more = socket.MSG_MORE
_sendfile = os.sendfile

Part = bytes | memoryview | tuple[int, int]
"""Bytes in memory, or (offset, length) of the answer's file."""


class ShortFileError(Exception):
    """The file became shorter than the head promised."""


class DiskError(Exception):
    """The file cannot be read."""


class Sent(Enum):
    """What became of a turn of sending."""

    ALL = auto()
    FULL = auto()  # the socket takes no more
    TURN = auto()  # others have their turn
    COLD = auto()  # the next span (`Outflow.missing`) has to be read from the disk first
    DRY = auto()  # the next bytes have not come yet (`Outflow.feed` will say when)


class Outflow:
    """What is on its way out on one socket."""

    __slots__ = (
        "_body",
        "_entry",
        "_fd",
        "_fill",
        "_fin_sent",
        "_head",
        "_head_left",
        "_key",
        "_parts",
        "_server",
        "_sock",
        "_warm_to",
        "account",
        "feed",
        "note",
    )

    def __init__(self, server: Server, sock: socket.socket) -> None:
        """`server` keeps the books; without demand to count no account is kept."""
        self._server, self._sock, self._fd = server, sock, sock.fileno()
        self._parts: list[Part] | None = None
        self._entry: Entry | None = None
        self._key: DemandKey | None = None
        self._fill = self._fin_sent = False
        self._head = self._head_left = self._body = self._warm_to = 0
        self.account = Account() if server.demand is not None else None
        self.feed: Feed | None = None
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
        self._take_up(parts, len(plan.head), reply.key, entry, fill=reply.fill)
        self.feed = reply.feed

    def send_memory(self, first: bytes, second: bytes | memoryview) -> int:
        """Send two pieces at once; how many bytes the kernel took. Nothing is counted.

        Raises OSError when the peer is gone.
        """
        try:
            if len(second) <= JOIN_BYTES_MAX:
                return self._sock.send(first + second)
            return self._sock.sendmsg((first, second))
        except (BlockingIOError, InterruptedError):
            return 0

    def send_file(self, head: bytes, entry: Entry, offset: int, length: int) -> int:
        """Send a head and a span that is in the page cache; how many bytes of both the kernel took.

        Nothing is counted. Raises OSError when the peer is gone; a fault of the file is left to
        `transmit`, which says so.
        """
        try:
            # a range goes out behind its head: filling the first segment up costs it 9 % more CPU
            sent = self._sock.send(head, 0 if offset else _more)
        except (BlockingIOError, InterruptedError):
            return 0
        if sent == len(head):
            try:
                sent += _sendfile(self._fd, entry.fd, offset, min(length, TURN_BYTES_MAX))
            except (ConnectionError, TimeoutError):
                raise
            except OSError:
                return sent
        return sent

    def go_on(
        self, parts: list[Part], head: int, key: DemandKey | None, entry: Entry | None, sent: int
    ) -> None:
        """Take up an answer of which the first `sent` bytes are out already (and not counted)."""
        self._take_up(parts, head, key, entry, fill=False)
        self._count(sent)
        self._skip(parts, sent)

    def _skip(self, parts: list[Part], sent: int) -> None:
        """`sent` bytes of the first parts are out."""
        while sent and parts:
            size = parts[0][1] if isinstance(parts[0], tuple) else len(parts[0])
            step = min(sent, size)
            self._advance(parts, step)
            sent -= step

    def _take_up(
        self,
        parts: list[Part],
        head: int,
        key: DemandKey | None,
        entry: Entry | None,
        *,
        fill: bool,
    ) -> None:
        if entry is not None:
            entry.users += 1
            entry.used = True
        self._parts, self._entry, self._key, self._fill = parts, entry, key, fill
        self._head = self._head_left = head
        self._body = self._warm_to = 0

    def transmit(self) -> Sent:
        """Send until all is sent, or it cannot go on now.

        Raises OSError when the peer is gone, ShortFileError, DiskError.
        """
        parts = self._parts
        if parts and len(parts) == 1 and self.feed is None:
            span = parts[0]
            if isinstance(span, tuple):
                most = min(span[1], TURN_BYTES_MAX)
                if span[0] + most <= self._warm_to:
                    return self._transmit_span(parts, span, most)
        return self._transmit_parts()

    def _transmit_span(self, parts: list[Part], span: tuple[int, int], most: int) -> Sent:
        """The usual turn, as `_transmit_parts` in fewer steps: `most` bytes of a span that is warm
        and the last part."""
        try:
            sent = self._send_span(span, most)
        except (BlockingIOError, InterruptedError):
            sent = 0
        self._count(sent)
        if sent == span[1]:
            parts.clear()
            self.end_answer()
            return Sent.ALL
        parts[0] = (span[0] + sent, span[1] - sent)
        if sent == most:
            return Sent.TURN
        self.push()
        return Sent.FULL

    def _transmit_parts(self) -> Sent:
        budget = TURN_BYTES_MAX
        parts = [] if self._parts is None else self._parts
        while parts or self.feed is not None:
            if not parts:
                if not self._refill(parts):
                    return Sent.DRY
                continue
            if budget <= 0:
                return Sent.TURN
            try:
                sent, is_full = self._send_next(parts, budget)
            except (BlockingIOError, InterruptedError):
                sent, is_full = 0, True
            budget -= sent
            self._count(sent)
            self._skip(parts, sent)
            if is_full:
                self.push()
                return Sent.FULL
            if not sent:
                return Sent.COLD
        self.end_answer()
        return Sent.ALL

    def _send_next(self, parts: list[Part], budget: int) -> tuple[int, bool]:
        """Bytes that the kernel took of the next part, none when it is cold; and whether asking
        again would only cost a system call. Raises as `transmit`, and BlockingIOError."""
        part = parts[0]
        if not isinstance(part, tuple):
            more = len(parts) > 1 or self.feed is not None
            return self._sock.send(part, _more if more else 0), False
        most = self._warm(part, budget)
        if most <= 0:
            return 0, False
        sent = self._send_span(part, most)
        return sent, sent < most

    def push(self) -> None:
        """Have the kernel send what it keeps back: within one sendfile it waits for a full segment,
        and when it takes no more just then, the part of one would wait for a timer of 200 ms."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _refill(self, parts: list[Part]) -> bool:
        """The next parts of a body that comes by and by; False when they are not there yet."""
        if self.feed is None:
            raise RuntimeError("no body is coming")
        found = self.feed.take()
        if found is None:
            return False
        if self._entry is not None:
            self._entry.release()
        more, self._entry = found
        if self._entry is not None:
            self._entry.users += 1
        self._warm_to = 0
        parts += more
        if not parts:
            self._end_feed()
        return True

    def _end_feed(self) -> None:
        feed, self.feed = self.feed, None
        if feed is not None:
            feed.close()

    # --- spans of files --------------------------------------------------------------------------

    def _warm(self, span: tuple[int, int], budget: int) -> int:
        """How many bytes of the span may be sent now without waiting for the disk."""
        most = min(span[1], budget)
        if span[0] + most <= self._warm_to:
            return most
        if span[0] >= self._warm_to and self._entry is not None:
            self._warm_to = self._entry.warm_to(span[0], span[1], self._server.poller.now_s)
        return min(most, self._warm_to - span[0])

    def missing(self) -> tuple[Entry, int, int]:
        """(file, offset, length) of the span that has to be read first, after `Sent.COLD`; raises
        RuntimeError when there is none."""
        part = self._parts[0] if self._parts else b""
        if self._entry is None or not isinstance(part, tuple):
            raise RuntimeError("no file is being sent")
        return self._entry, part[0], min(part[1], READ_BYTES_MAX)

    def now_warm(self, end: int) -> None:
        """The file was read up to `end`: send it without asking again."""
        self._warm_to = end

    def _send_span(self, span: tuple[int, int], most: int) -> int:
        if self._entry is None:
            raise RuntimeError("a span without its file")
        try:
            sent = _sendfile(self._fd, self._entry.fd, span[0], most)
        except (BlockingIOError, InterruptedError, ConnectionError, TimeoutError):
            raise
        except OSError as exc:
            raise DiskError(str(exc)) from exc
        if sent == 0:
            raise ShortFileError
        return sent

    def _advance(self, parts: list[Part], sent: int) -> None:
        """`sent` bytes of the first part are out."""
        part = parts[0]
        if isinstance(part, tuple):
            if sent == part[1]:
                del parts[0]
            else:
                parts[0] = (part[0] + sent, part[1] - sent)
        elif sent == len(part):
            del parts[0]
        else:
            parts[0] = memoryview(part)[sent:]

    # --- the books -------------------------------------------------------------------------------

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
        if self._parts is None:
            return
        if self.note is not None:
            self.log(self._body, whole=not self._parts and self.feed is None)
        self._parts = None
        self._end_feed()
        self._note(self._key, self._head - self._head_left, self._body)
        if self._entry is not None:
            self._entry.release()
            self._entry = None

    def log(self, body: int, *, whole: bool) -> None:
        """Tell the access log of the answer that `note` is about."""
        if self._server.access is not None and self.note is not None:
            self._server.access.add(self.note, body, whole)
        self.note = None

    def _note(self, key: DemandKey | None, head: int, body: int) -> None:
        if self.account is not None:
            self.account.answers.append((key, head, body))
            if len(self.account.answers) >= ANSWERS_MAX:
                self.account.forget(self.unacked())

    def interim(self, head: bytes) -> None:
        """Send a 1xx head; best effort, for the next read or write will say what is wrong."""
        try:
            self._sock.send(head)
        except OSError:
            return
        self._server.metrics[CLASS_SLOT[1]] += 1
        self._note(None, len(head), 0)

    # --- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """Say that nothing more comes; raises OSError when the peer is gone."""
        self._sock.shutdown(socket.SHUT_WR)
        self._fin_sent = True

    def unacked(self) -> int:
        """Bytes of our stream that the peer's kernel did not acknowledge (SIOCOUTQ, tcp(7))."""
        try:
            raw = fcntl.ioctl(self._fd, termios.TIOCOUTQ, _ZEROS)
        except OSError:
            return 0
        count: int = _COUNT.unpack(raw)[0]
        return count - 1 if self._fin_sent and count else count  # a FIN takes one number

    def abandon(self) -> None:
        """The end of the connection: what nobody got is taken back and not sent any more."""
        self.end_answer()
        unacked = self.unacked()
        if not unacked:
            return
        self._server.metrics[_UNACKED] += unacked
        if self.account is not None:
            for key, lost in self.account.take_back(unacked):
                if key is not None:
                    self._server.count(key, -lost)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            return  # reset already
