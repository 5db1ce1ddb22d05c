"""One connection, from readable socket to bytes sent: no task, no await, no copy of a file.

An adapter over a non-blocking socket (oca.peer: what the loop tells of it, patience, the end). What
to answer is decided elsewhere (oca.service; oca.quick for what was answered before); here requests
are read and answers sent (oca.outflow). An idle one has ~1.5 kB (`make bench-edge`, row idle).
"""

from __future__ import annotations

import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from oca.http.body import Chunked, Sized
from oca.http.cmcd import cmcd_of
from oca.http.errors import RequestError
from oca.http.head import Fields, Line, take_head
from oca.http.respond import CONTINUE, closes, refuse
from oca.opening import Cold
from oca.outflow import DiskError, Sent, ShortFileError
from oca.pacing import UNPACED, pace_bps
from oca.peer import Peer
from oca.phases import Phase
from oca.player import Player
from oca.quick import answer_at_once
from oca.reasons import REFUSAL_SLOT, SLOT, Close
from oca.service import FeedError, Later, Pending, Reply, Request
from oca.tcpinfo import set_pace
from wire.errors import UnavailableError

if TYPE_CHECKING:
    from oca.server import Server

READ_BYTES = 8 * 1024  # larger buffers cost more to make than a second read
PIPELINE_BYTES_MAX = 32 * 1024  # kept while an answer is being sent; then the peer has to wait
PIPELINE_TURN_MAX = 16  # answers in one go before others have their turn

_IDLE = Phase.IDLE  # an attribute of an Enum costs more than a name
_REQUESTS = SLOT["oca_requests_total"]
_COLD_OPENS = SLOT["oca_cold_opens_total"]
_COLD_READS = SLOT["oca_cold_reads_total"]
_BROKEN_HEAD = Line("HEAD", b"/", None, None, 1)  # its head could not be read, but no body is due


class Connection(Peer):
    """A peer's connection to this worker: its requests, one after the other."""

    __slots__ = (
        "_absent",
        "_arrived",
        "_body",
        "_inside",
        "_later",
        "_pace_bps",
        "_player",
        "_request",
        "_seen",
        "granted",
        "served",
    )

    def __init__(self, server: Server, sock: socket.socket, address: str) -> None:
        """As of a Peer."""
        super().__init__(server, sock, address)
        self.served = 0
        self._body: Sized | Chunked | None = None
        self._request: tuple[bytes, Line, Fields] | None = None
        self._absent: frozenset[bytes] = frozenset()
        self._later: Pending | None = None
        self._arrived: Reply | None = None
        self._pace_bps = UNPACED
        self._player: Player | None = None
        self._look_up_place()

    def _look_up_place(self) -> None:
        """Whether its client may be served by where it is, as the present generation says.

        `granted` is that generation, or none when nothing may be answered from memory.
        """
        self._seen = self.server.generation
        self._inside = self.server.is_inside(self.address)
        self.granted = self._seen if self._inside else -1

    # --- reading ---------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            data = self._receive()
            if self.phase is _IDLE and not self._buffer and answer_at_once(self, data):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.end(Close.CLIENT_RESET)
            return
        self._read(data)

    def _receive(self) -> bytes:
        return self.sock.recv(READ_BYTES)

    def _read(self, data: bytes) -> None:
        if not data:
            self._on_end_of_stream()
        elif self.phase is Phase.LINGER:
            self._discard(len(data))
        elif self._buffer or self.phase is not Phase.IDLE:
            self._buffer += data
            if self.phase is not Phase.SENDING and self.phase is not Phase.OPENING:
                self.advance()
            elif len(self._buffer) >= PIPELINE_BYTES_MAX:
                self._watch(False, self._writing)
        else:
            self._buffer = data
            self.advance()

    def advance(self) -> None:
        """Take requests out of the buffer as far as they go, and answer them in turn."""
        for _ in range(PIPELINE_TURN_MAX):
            if self.phase is Phase.BODY:
                if not self._drain_body():
                    return
            elif self.phase in (Phase.IDLE, Phase.HEAD):
                if not self._buffer:
                    if self._peer_done:
                        self._end_gently(Close.CLIENT_DONE)
                    return
                if not self._take_request():
                    return
            else:
                return
        self.server.call_soon(self._go_on)

    def _go_on(self) -> None:
        try:
            self.advance()
        except Exception:
            self._fail()

    def _take_request(self) -> bool:
        """Read one head and act on it; False when the buffer does not hold it whole."""
        try:
            taken = take_head(self._buffer)
        except RequestError as exc:
            self._reject(exc.status, Close.BAD_REQUEST)
            return True
        if taken is None:
            self._await_head()
            return False
        line, fields, used = taken
        raw_line = self._buffer[: self._buffer.find(b"\r\n")]
        self._buffer = self._buffer[used:]
        self.server.metrics[_REQUESTS] += 1
        self._request = (raw_line, line, fields)
        if fields.expect is not None and fields.expect.lower() != b"100-continue":
            self._reject(417, Close.BAD_REQUEST)
        elif fields.length or fields.chunked:
            self._begin_body(line, fields)
        else:
            self._dispatch()
        return True

    def _await_head(self) -> None:
        if self._peer_done:
            self._reject(400, Close.CLIENT_CLOSED_EARLY)
        elif self.phase is Phase.IDLE:
            self._enter(Phase.HEAD)
            self._wait(self.server.poller.now_s + self.server.timeouts.head_s)

    def _begin_body(self, line: Line, fields: Fields) -> None:
        try:
            self._body = Chunked() if fields.chunked else Sized(fields.length)
        except RequestError as exc:
            self._reject(exc.status, Close.BAD_REQUEST)
            return
        if fields.expect is not None and line.minor:
            if line.method not in ("GET", "HEAD", "OPTIONS"):
                # RFC 9110 §10.1.1: the final answer may come instead of the 100
                self._reject(405, Close.BAD_REQUEST)
                return
            if not self._buffer:
                self.out.interim(CONTINUE)
        self._enter(Phase.BODY)
        self._wait(self.server.poller.now_s + self.server.timeouts.body_s)

    def _drain_body(self) -> bool:
        """Take the body out of the buffer; False when more of it must come."""
        data, self._buffer = self._buffer, b""
        if self._body is None:
            raise RuntimeError("no body is being read")
        try:
            end = self._body.feed(data)
        except RequestError as exc:
            self._reject(exc.status, Close.BAD_REQUEST)
            return True
        if end is None:
            if self._peer_done:
                self._reject(400, Close.CLIENT_CLOSED_EARLY)
            return False
        self._buffer = data[end:]
        self._body = None
        self._dispatch()
        return True

    # --- answering -------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Have the request answered."""
        server = self.server
        if self._request is None:
            raise RuntimeError("no request was read")
        raw_line, line, fields = self._request
        if server.is_stale() or self._seen != server.generation:
            self._look_up_place()
        self._close = server.closing(self.served)
        if self._close is None and closes(line, fields):
            self._close = Close.ASKED
        request = Request(
            raw_line=raw_line,
            line=line,
            fields=fields,
            inside=self._inside,
            client=self.address,
            close=self._close is not None,
            date=server.date,
            now_s=time.time(),
            tick_s=server.poller.now_s,
            absent=self._absent,
        )
        said = cmcd_of(line, fields)
        player = None if said is None else self._listen()
        if server.pacing.is_on:
            self._pace(pace_bps(server.pacing, said, fields))
        try:
            reply, self._arrived = self._arrived or server.service.answer(request), None
        except Cold as cold:
            self._await_file(cold)
            return
        except Later as later:
            self._await_reply(later.pending)
            return
        if player is not None and said is not None:
            reply = player.answered(said, reply, int(request.now_s // 60))
        if reply.refused:
            server.metrics[REFUSAL_SLOT[reply.refused]] += 1
            server.on_refused(self.address, line, reply.refused)
        if reply.plan.close and self._close is None:
            self._close = Close.BAD_REQUEST if reply.feed is None else Close.ASKED
        self._send(reply)

    def _await_reply(self, pending: Pending) -> None:
        """It is fetched; then the request goes on with it."""
        if self.phase is not Phase.OPENING:
            self._enter(Phase.OPENING)
        self._wait(self.server.poller.now_s + self.server.timeouts.send_stalled_s)
        self._later = pending
        pending.begin(self._on_arrived)

    def _on_arrived(self, reply: Reply) -> None:
        """What the request waited for."""
        self._later = None
        if self.phase is not Phase.OPENING:
            return
        self._arrived = reply
        try:
            self._dispatch()
            self._go_on()
        except Exception:
            self._fail()

    def _await_file(self, cold: Cold) -> None:
        """Have a thread open it; then the request is asked again."""
        if self.phase is not Phase.OPENING:
            self._enter(Phase.OPENING)
            self._wait(self.server.poller.now_s + self.server.timeouts.disk_s)
            self.server.metrics[_COLD_OPENS] += 1
        self.server.disk.open(cold, partial(self._on_opened, cold.key))

    def _on_opened(self, key: bytes, found: bool, fault: BaseException | None) -> None:
        """A thread is done with `key`: there was something, or nothing, or the disk failed."""
        if self.phase is not Phase.OPENING:
            return
        try:
            if isinstance(fault, UnavailableError):
                self._reject(503, Close.FILE_ERROR)
                return
            if fault is not None:
                raise fault
            if not found:
                self._absent |= {key}
            self._dispatch()
            self._go_on()
        except Exception:
            self._fail()

    def _listen(self) -> Player:
        """Its player speaks: measure how the answers before went."""
        if self._player is None:
            self._player = Player(self.server, self.sock)
        self._player.measure(self._pace_bps)
        return self._player

    def _pace(self, rate_bps: int) -> None:
        """From this answer on; the one before may have gone at another rate."""
        if rate_bps != self._pace_bps:
            self._pace_bps = rate_bps
            set_pace(self.sock, rate_bps)

    def _reject(self, status: int, reason: Close) -> None:
        """An error answer after which nothing more of this peer is read."""
        line = None if self._request is None else self._request[1]
        if line is None and self._buffer.startswith(b"HEAD "):
            line = _BROKEN_HEAD
        self._close = reason
        self._buffer = b""
        self._body = None
        self._send(Reply(refuse(status, date=self.server.date, line=line, close=True)))

    def _send(self, reply: Reply) -> None:
        if self.server.access is not None and self.server.access.is_due():
            line = b"" if self._request is None else self._request[0]
            self.out.note = (self.server.poller.now_s, self.address, line, reply.plan.status)
        self._request = None
        if self._absent:
            self._absent = frozenset()
        self.served += 1
        self._start_sending()
        self.out.begin(reply)
        self._transmit()

    def _start_sending(self) -> None:
        self._enter(Phase.SENDING)
        now_s = self.server.poller.now_s
        self._end_s = now_s + self.server.timeouts.response_s
        self._wait(now_s + self.server.timeouts.send_stalled_s)

    def go_on_sending(self, is_full: bool) -> None:
        """An answer was begun (oca.quick) and has to be finished; `is_full`: not at once."""
        self._start_sending()
        if is_full:
            self.out.push()
            self._watch(self._reading, True)
        else:
            self._transmit()

    def _on_writable(self) -> None:
        stalled_s = self.server.poller.now_s + self.server.timeouts.send_stalled_s
        self.deadline_s = min(stalled_s, self._end_s)
        self._transmit()
        if self.phase is Phase.IDLE:
            self.advance()

    def _transmit(self) -> None:
        try:
            sent = self.out.transmit()
        except ShortFileError:
            self.end(Close.SHORT_FILE)
        except FeedError:
            self.end(Close.UPSTREAM_FAILED)
        except DiskError as exc:
            self._on_disk_error(exc)
        except OSError:
            self.end(Close.CLIENT_RESET)
        else:
            if sent is Sent.ALL:
                self._on_sent()
            elif sent is Sent.TURN:
                self._go_on_soon()
            elif sent is Sent.FULL:
                self._watch(self._reading, True)
            elif sent is Sent.DRY:
                self._watch(self._reading, False)
                if self.out.feed is not None:
                    self.out.feed.on_ready = self._on_fed
            else:
                self._watch(self._reading, False)
                self.server.metrics[_COLD_READS] += 1
                self.server.disk.warm(*self.out.missing(), self._on_warm)

    def _go_on_soon(self) -> None:
        """After those who wait for their turn as well."""
        self._writing = True
        self.server.poller.again(self.fd)

    def _on_sent(self) -> None:
        """The kernel has the whole answer."""
        if self._player is not None:
            self._player.sent(self.server.poller.now_s)
        if self._close is not None:
            self._linger()
            return
        self._enter(Phase.IDLE)
        self._wait(self.server.poller.now_s + self.server.idle_s)
        self._watch(not self._peer_done, False)

    def _on_fed(self) -> None:
        """More of the body has come, or the news that no more will."""
        try:
            if self.phase is Phase.SENDING and not self._writing:
                self._on_writable()
        except Exception:
            self._fail()

    def _on_warm(self, end: int, fault: OSError | None) -> None:
        """The file was read up to `end`, or could not be."""
        if self.phase is not Phase.SENDING:
            return
        if fault is not None:
            self._on_disk_error(fault)
            return
        self.out.now_warm(end)
        self._go_on_soon()

    def _on_disk_error(self, fault: Exception) -> None:
        self.server.on_disk_error(str(fault))
        self.end(Close.FILE_ERROR)

    def _on_end_of_stream(self) -> None:
        """The peer sends no more; it may still read what it asked for (RFC 9112 §9.6)."""
        self._peer_done = True
        self._watch(False, self._writing)
        if self.phase is Phase.LINGER:
            self._end_gently(self._close or Close.ASKED)
        elif self.phase is Phase.IDLE and not self._buffer:
            self._end_gently(Close.CLIENT_DONE)
        elif self.phase in (Phase.HEAD, Phase.BODY):
            self._reject(400, Close.CLIENT_CLOSED_EARLY)

    def end(self, reason: Close) -> None:
        """As of a Peer; what is being fetched for it is not waited for."""
        later, self._later = self._later, None
        if later is not None:
            later.give_up()
        super().end(reason)
