"""The life of `oca routes`: lock → go on from the file → lines in, a file out by rename → end.

exabgp writes to us without waiting for anybody, so lines are read before anything else. Changes
travel together: a file is written when there was quiet for a moment, and at the latest after a
second; large tables less often, so that writing takes a third of the time at most.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from oca.bgp.file import LOCK_SUFFIX, RoutesDocument, document, kept
from oca.bgp.rib import Limits, Rib
from oca.bgp.stream import LINE_BYTES_MAX, event_of
from wire.codec import decode, encode
from wire.durable import write_durably
from wire.errors import WireError
from wire.log import Bounded, get

QUIET_S, BURST_S = 0.1, 1.0
WRITING_REST = 2  # after writing, at least so many times as long for reading
READ_BYTES = 1024 * 1024
AGAIN_S = 5.0
WAIT_S = 60.0  # for a select without a deadline: any, so long as it is finite
REFRESH = "announce route-refresh ipv4 unicast\nannounce route-refresh ipv6 unicast\n"
"""To exabgp: ask all neighbours for everything again (RFC 2918). After a restart of ours alone the
sessions stand, and nobody would tell us what they told the one before."""

_log, _bad = get("routes"), Bounded("routes", 5)


@dataclass(slots=True)
class Schedule:
    """When the file is written next. Monotonic seconds; pure."""

    first_s: float = math.inf
    last_s: float = -math.inf
    free_s: float = -math.inf

    def changed(self, now_s: float) -> None:
        """There is something to write."""
        self.first_s = min(self.first_s, now_s)
        self.last_s = now_s

    def wrote(self, began_s: float, now_s: float) -> None:
        """It was written; large files are given a rest."""
        self.first_s = math.inf
        self.free_s = now_s + (now_s - began_s) * WRITING_REST

    @property
    def due_s(self) -> float:
        """When to write; infinity: nothing to do."""
        if math.isinf(self.first_s):
            return math.inf
        return max(self.free_s, min(self.last_s + QUIET_S, self.first_s + BURST_S))


class Feed:
    """One table, one file."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """`path` is the agent's `routes_file`."""
        self._path, self._limits = path, limits
        self._rib = Rib(limits)
        self._schedule = Schedule()
        self._rest = b""
        self._skipping = False
        self.malformed = 0

    def load(self) -> None:
        """Go on from the file of an earlier life, if there is one that can be read."""
        try:
            told = decode(RoutesDocument, self._path.read_bytes(), str(self._path))
        except FileNotFoundError:
            return
        except (OSError, WireError) as exc:
            _log.warning("the last routes are not used", why=str(exc))
            return
        with contextlib.suppress(WireError):  # more neighbours than there may be: of some of them
            self._rib.restore(kept(told), time.monotonic())
        _log.info("going on", routes=len(told.routes), hold_s=self._limits.hold_s)

    def run(self, stream: IO[bytes]) -> None:
        """Follow the stream to its end; what was said by then is in the file."""
        self._schedule.changed(time.monotonic())  # also a file that nothing will change is written
        while True:
            now_s = time.monotonic()
            due_s = min(self._schedule.due_s, self._rib.due_s)
            wait_s = min(WAIT_S, max(0.0, due_s - now_s))
            ready, _, _ = select.select([stream], [], [], wait_s)
            if ready:
                raw = os.read(stream.fileno(), READ_BYTES)
                if not raw:
                    break
                self.feed(raw)
            self.tick(time.monotonic())
        self._write()
        _log.info("exabgp has ended; the file stays for a while", hold_s=self._limits.hold_s)

    def feed(self, raw: bytes) -> None:
        """Some bytes of the stream, cut anywhere."""
        *lines, rest = (self._rest + raw).split(b"\n")
        for line in lines:
            if not self._skipping:
                self._line(line)
            self._skipping = False
        if len(rest) > LINE_BYTES_MAX:
            if not self._skipping:
                self._line(rest)
            self._skipping, rest = True, b""
        self._rest = rest

    def tick(self, now_s: float) -> None:
        """Drop what was held long enough, write what is due."""
        self._rib.expire(now_s)
        for note in self._rib.notes:
            _log.warning("bgp", what=note)
        self._rib.notes.clear()
        if self._rib.changed:
            self._rib.changed = False
            self._schedule.changed(now_s)
        if now_s >= self._schedule.due_s:
            self._write()

    def _line(self, line: bytes) -> None:
        try:
            event = event_of(line)
            if event is not None:
                self._rib.take(event, time.monotonic())
        except WireError as exc:
            self.malformed += 1
            _bad.warning("a line is skipped", why=str(exc)[:300], malformed=self.malformed)

    def _write(self) -> None:
        began_s = time.monotonic()
        told = document(self._rib, self._limits.hold_s, self.malformed)
        try:
            write_durably(self._path, encode(told))
        except OSError as exc:
            _log.error("the routes were not written", why=str(exc), again_in_s=AGAIN_S)
            self._schedule.free_s = began_s + AGAIN_S
            return
        now_s = time.monotonic()
        self._schedule.wrote(began_s, now_s)
        _log.info("routes", count=len(told.routes), took_s=round(now_s - began_s, 3))


def follow(path: Path, limits: Limits) -> None:
    """Be exabgp's process until it ends. Waits while another one keeps the same file."""
    with path.with_name(path.name + LOCK_SUFFIX).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        feed = Feed(path, limits)
        feed.load()
        sys.stdout.write(REFRESH)
        sys.stdout.flush()
        feed.run(sys.stdin.buffer)
