"""One worker's listening socket, its connections, and the sweep that keeps their time.

An adapter over oca.poller's loop. Life cycle: start → serve → drain → stop.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections import Counter
from collections.abc import Callable

from oca.accesslog import AccessLog
from oca.account import DemandKey
from oca.config import Limits, Pacing, Timeouts
from oca.connection import Connection
from oca.counters import Demand
from oca.deadlines import Deadlines
from oca.disk import Disk
from oca.http.dates import http_date
from oca.http.head import Line
from oca.http.respond import refuse, start_of
from oca.peer import Peer
from oca.playback import Playback, Ring
from oca.poller import Loop
from oca.prefixes import address_of
from oca.reasons import CLASS_SLOT, CLOSE_SLOT, CONNECTIONS_OPEN, SLOT, Close
from oca.service import Service
from oca.tls import Certificates
from oca.tlsflow import TlsConnection, secure
from wire.log import Bounded, client_prefix, get

SWEEP_S = 0.25
FLUSH_SWEEPS = 4  # after so many it is said how many lines the log left out
FAULTS_LOGGED_PER_S = 5  # with a traceback each
RENEW_S = 2.0  # certificates that were replaced are taken up within this
ACCEPT_TURN_MAX = 64  # connections taken in one go
ACCEPT_PAUSE_S = 0.1  # when the process is out of descriptors
DRAIN_GRACE_S = 1.0  # an idle player that asked this lately may be asking again right now
UNSENT_BYTES_MAX = 60 * 1024
"""TCP_NOTSENT_LOWAT: bounds memory per slow client, keeps what is sent in the processor's cache.
Less than one segment of loopback (64 KiB) waits behind what is on its way: measured, 0.16 instead
of 0.24 s of CPU a GB of 4 MiB files; from 16 to 60 KiB it is all the same, and of these the largest
wakes us least on real paths."""

_PARAMETER = re.compile(rb";|%3[bB]")  # where a token may begin, however it is spelled

_OPEN = SLOT[CONNECTIONS_OPEN]
_UNCOUNTED = SLOT["oca_uncounted_bytes_total"]
_REQUESTS, _BODY_BYTES = SLOT["oca_requests_total"], SLOT["oca_body_bytes_total"]
_OK = CLASS_SLOT[2]
_TAKEN = SLOT["oca_connections_total"]
_log = get("server")


class Server:
    """Serves one listening socket until drained."""

    def __init__(
        self,
        listener: socket.socket,
        service: Service,
        metrics: memoryview,
        *,
        timeouts: Timeouts,
        limits: Limits,
        demand: Demand | None = None,
        word: memoryview | None = None,
        reload: Callable[[], None] = lambda: None,
        access: AccessLog | None = None,
        tls: Certificates | None = None,
        pacing: Pacing | None = None,
        name: str = "oca",
        ring: Ring | None = None,
    ) -> None:
        """`metrics` are this worker's slots; `word` is the generation word, and `reload` is called
        when it rose, before the next answer. `name` is what players are told, `ring` where what
        they say is kept."""
        self._listener, self.service, self.metrics = listener, service, metrics
        self.timeouts, self.limits, self.demand = timeouts, limits, demand
        self.word = memoryview(bytes(8)).cast("Q") if word is None else word
        self.generation = self.word[0]
        self._reload = reload
        self.hot = service.hot
        self.access = access
        self._tls = tls
        self.pacing = pacing or Pacing()
        self.is_pacing = self.pacing.is_on
        self.name, self.playback = name, Playback(metrics, ring)
        self.count = demand.add if demand is not None else _uncounted
        self.draining = False
        self.idle_s = timeouts.idle_s
        self.served_max = limits.requests_per_connection - 1
        self.date = self.ok_start = self.part_start = b""
        self.quick_answers = self.quick_bytes = 0
        """Answered by oca.quick and not yet in the metrics; added every SWEEP_S."""
        self._open = 0
        self._addresses: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        if not isinstance(self._loop, Loop):
            raise TypeError("a server runs on oca.poller.Loop")
        self.poller = self._loop.poller
        self.disk = Disk(self._loop)
        self.deadlines: Deadlines[Peer] = Deadlines(SWEEP_S, self.poller.now_s)
        self._refusals, self._faults = Bounded("server"), Bounded("server", FAULTS_LOGGED_PER_S)
        self._told = 0
        self._empty = asyncio.Event()
        self._empty.set()

    # --- life cycle ------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)
        # accepted sockets inherit both
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
        self._tick()
        self._renew_certificates()
        self._loop.add_reader(self._listener, self._accept)

    async def drain(self) -> None:
        """Finish what is being sent, within `timeouts.drain_s`; then nothing is open any more."""
        self._accept()  # those in the queue were promised an answer
        self._loop.remove_reader(self._listener)
        self.draining = True
        self.idle_s = DRAIN_GRACE_S
        self.served_max = 0
        now_s = time.monotonic()
        for connection in self.deadlines.everything():
            connection.on_drain(now_s, DRAIN_GRACE_S)
        try:
            await asyncio.wait_for(self._empty.wait(), self.timeouts.drain_s)
        except TimeoutError:
            for connection in self.deadlines.everything():
                connection.end(Close.DRAIN_FORCED)
        self._publish()
        self.disk.close()

    # --- what connections ask --------------------------------------------------------------------

    def is_stale(self) -> bool:
        """Whether the generation rose since the last look; what was cached is then forgotten."""
        if self.word[0] == self.generation:
            return False
        self.generation = self.word[0]
        self._reload()
        return True

    def is_inside(self, address: str) -> bool:
        """Whether clients at this address are served; one that is none (a pipe's) is nowhere."""
        try:
            return self.service.is_inside(address_of(address))
        except ValueError:
            return False

    def closing(self, served: int) -> Close | None:
        """Why the connection ends after the next answer; None when it may go on."""
        if self.draining:
            return Close.DRAIN
        if served >= self.served_max:
            return Close.REQUEST_LIMIT
        return None

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run it after others had their turn."""
        self._loop.call_soon(callback)

    def forget(self, connection: Peer, reason: Close) -> None:
        """The connection ends for `reason`; its socket is closed right after."""
        self.deadlines.drop(connection)
        self._open -= 1
        left = self._addresses[connection.address] - 1
        if left > 0:
            self._addresses[connection.address] = left
        else:
            del self._addresses[connection.address]
        self.metrics[_OPEN] -= 1
        self.metrics[CLOSE_SLOT[reason]] += 1
        if not self._open:
            self._empty.set()

    def on_refused(self, address: str, line: Line, reason: str) -> None:
        """Log a 403: the reason, never the token, and no more of a person than the network."""
        path = _PARAMETER.split(line.path, maxsplit=1)[0].decode("latin-1")
        self._refusals.info("refused", client=client_prefix(address), path=path[:256], why=reason)

    def on_fault(self, connection: Peer) -> None:
        """A fault of ours; call it while the exception is being handled."""
        where = client_prefix(connection.address)
        self._faults.exception("fault", client=where, phase=connection.phase.name)

    def on_disk_error(self, why: str) -> None:
        """A file could not be read while it was being sent."""
        self._faults.error("disk error", why=why)

    # --- the loop's callbacks --------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(ACCEPT_TURN_MAX):
            try:
                sock, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as exc:
                self._pause_accepting(exc)
                return
            self._take(sock, peer[0])

    def _pause_accepting(self, exc: OSError) -> None:
        """Out of descriptors or memory: the queue keeps them until others have left."""
        _log.error("cannot accept", why=exc.strerror)
        if not self.draining:
            self._loop.remove_reader(self._listener)
            self._loop.call_later(ACCEPT_PAUSE_S, self._resume_accepting)

    def _resume_accepting(self) -> None:
        if not self.draining:
            self._loop.add_reader(self._listener, self._accept)

    def _take(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        self.metrics[_TAKEN] += 1
        if self._open >= self.limits.connections:
            self._turn_away(sock, Close.TOO_MANY)
            return
        if self._addresses[address] >= self.limits.connections_per_address:
            self._turn_away(sock, Close.TOO_MANY_FROM_ADDRESS)
            return
        if self._tls is None:
            connection = Connection(self, sock, address)
        else:
            try:
                behind = secure(sock, self._tls.context)
            except OSError:
                self.metrics[CLOSE_SLOT[Close.TLS_REFUSED]] += 1
                return
            connection = TlsConnection(self, behind, address)
        self._addresses[address] += 1
        self.metrics[_OPEN] += 1
        self._open += 1
        self._empty.clear()
        connection.begin()

    def _turn_away(self, sock: socket.socket, reason: Close) -> None:
        """503 at once: a player goes to the next box, and not away for ever as after a 429."""
        self.metrics[CLOSE_SLOT[reason]] += 1
        plan = refuse(503, date=self.date, close=True, extra=b"Retry-After: 5\r\n")
        body = b"".join(part for part in plan.parts if isinstance(part, bytes))
        try:
            if self._tls is None:
                sock.send(plan.head + body)
        except OSError:
            pass
        finally:
            sock.close()

    def _renew_certificates(self) -> None:
        """Every RENEW_S: were the files replaced?"""
        if self._tls is not None and not self.draining:
            self._tls.renew()
            self._loop.call_later(RENEW_S, self._renew_certificates)

    def _tick(self) -> None:
        """Every SWEEP_S: the date of answers, the counters, and who is over their time."""
        self._loop.call_later(SWEEP_S, self._tick)
        self.date = http_date(time.time())
        self.ok_start, self.part_start = start_of(200, self.date), start_of(206, self.date)
        self._told += 1
        if self._told % FLUSH_SWEEPS == 0:
            self._refusals.flush()
            self._faults.flush()
        self.is_stale()
        self._publish()
        now_s = time.monotonic()
        for connection in self.deadlines.due(now_s):
            connection.on_sweep(now_s)

    def _publish(self) -> None:
        """What the hot path counted in passing becomes visible."""
        self.metrics[_REQUESTS] += self.quick_answers
        self.metrics[_OK] += self.quick_answers
        self.metrics[_BODY_BYTES] += self.quick_bytes
        self.quick_answers = self.quick_bytes = 0
        if self.demand is not None and self.demand.uncounted_bytes:
            self.metrics[_UNCOUNTED] += self.demand.uncounted_bytes
            self.demand.uncounted_bytes = 0


def _uncounted(_key: DemandKey, _bytes: int) -> None:
    """Nobody's demand is counted here (`oca serve --root`)."""
