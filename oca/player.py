"""One connection's player: what it says with its requests (CMCD), what it is told (CMSD).

An adapter: it asks the kernel about the connection. Made with the first request that carries CMCD;
whoever sends none has none.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from oca.http.cmcd import Cmcd
from oca.http.cmsd import dynamic_line
from oca.http.respond import with_line
from oca.service import Reply
from oca.tcpinfo import read
from oca.throughput import Meter

if TYPE_CHECKING:
    from oca.server import Server


class Player:
    """Between a request and its answer; one at a time, as HTTP/1.1 has it."""

    __slots__ = ("_due_s", "_meter", "_place", "_server", "_sock")

    def __init__(self, server: Server, sock: socket.socket) -> None:
        """`sock` is the connection's."""
        self._server, self._sock, self._meter = server, sock, Meter()
        self._due_s, self._place = 0.0, -1

    def measure(self, pace_bps: int) -> None:
        """A request came; `pace_bps` held the answers before it back (0: nothing did)."""
        now = read(self._sock)
        if now is not None:
            self._meter.learn(now, pace_bps)

    def answered(self, said: Cmcd, reply: Reply, minute: int) -> Reply:
        """Take down what it said, if it may have what it asked for; the answer with CMSD."""
        server, meter = self._server, self._meter
        self._due_s = 0.0
        if reply.plan.status < 300 and (reply.entry is not None or reply.feed is not None):
            self._place = server.playback.note(said, reply.key, minute)
            if said.dl:
                self._due_s = server.poller.now_s + said.dl / 1000
        line = dynamic_line(
            server.name,
            etp_kbps=meter.kbps(),
            rtt_us=meter.rtt_us,
            highest_kbps=server.pacing.rate_bps // 1000,
            duress=server.draining,
        )
        reply.plan = with_line(reply.plan, line)
        return reply

    def sent(self, now_s: float) -> None:
        """The kernel has the whole answer: after the player's deadline (`dl`) it is late for sure,
        before it that is for the network to decide."""
        if 0 < self._due_s < now_s:
            self._server.playback.late(self._place)
        self._due_s = 0.0
