"""Watch every disk: one that fails is switched off by itself, one that comes back is taken in.

Off means: out of the workers' table and of the inventory at once, nothing is written to it, and its
share is nowhere else. One task a disk, and a thread that nobody waits for: a disk that hangs hangs
alone.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from oca.agent.diskjudge import COMPLAINTS_MAX, Judge, Probe
from oca.agent.holdings import Holdings
from oca.agent.metrics import Metrics
from oca.agent.pulse import Pulse
from oca.agent.tell import Workers
from oca.config import DiskKnobs
from oca.disks import Cabinet, DiskFault
from oca.held import Held
from oca.partfile import StoreError
from oca.probe import in_daemon, probe, why_of
from oca.seats import BY_HAND, Seat
from oca.stock import take_stock
from oca.store import Store
from wire.errors import NotFoundError, OcaError
from wire.log import get

_log = get("disks")


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at a seat gave: the seat as it is, and how long its probe took."""

    seat: Seat
    took_s: float
    free_bytes: int


class DiskWatch:
    """Owns the seats; `on_judged` is told the share of space in use, and what is wrong."""

    def __init__(
        self,
        store: Store,
        cabinet: Cabinet,
        holdings: Holdings,
        workers: Workers,
        knobs: DiskKnobs,
        metrics: Metrics,
    ) -> None:
        """`holdings` are what is on the disks that `store` has in use."""
        self._store, self._cabinet, self._holdings = store, cabinet, holdings
        self._workers, self._knobs, self._metrics = workers, knobs, metrics
        self._judges = {
            seat.path: Judge(knobs.slow_s, knobs.back_s, seat.why) for seat in store.disks.seats
        }
        self._alarms = {path: Pulse() for path in self._judges}
        self._free = dict.fromkeys(self._judges, 0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._one = asyncio.Lock()  # one disk at a time changes
        self.on_hang: Callable[[], None] = lambda: None
        """Threads that use a disk may hang with it: others are to take over."""
        self.on_judged: Callable[[float, str], None] = lambda _share, _why: None
        metrics.on_refusal = self.complain
        self.on_back: Callable[[Seat], None] = lambda _seat: None
        """Told of a disk that is in use again."""
        self._show()

    @property
    def trouble(self) -> str:
        """What is wrong with any of them, in a line; "" for nothing."""
        return "; ".join(f"{s.path}: {s.why}" for s in self._store.disks.seats if not s.is_live)

    async def run(self) -> None:
        """For ever: mind every disk."""
        self._tell()
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            for path in self._judges:
                group.create_task(self._mind(path))

    def complain(self, fault: StoreError) -> None:
        """A read or write was refused: look at that disk now; too many, and it goes. Any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._complain, fault)

    def _complain(self, fault: StoreError) -> None:
        seat = self._seat_of(fault)
        if seat is None or not fault.is_disk:
            return
        self._judges[seat.path].complain(str(fault), time.monotonic())
        self._alarms[seat.path].beat()

    async def switch(self, path: str, *, on: bool) -> None:
        """The operator's word: it survives restarts. Raises NotFoundError."""
        async with self._one:
            seat = next((seat for seat in self._store.disks.seats if seat.path == path), None)
            if seat is None:
                known = ", ".join(seat.path for seat in self._store.disks.seats)
                raise NotFoundError(f"there is no disk {path} (but {known})")
            seat = msgspec.structs.replace(seat, by_hand=not on)
            if on:
                await self._replace(seat)
            else:
                self._judges[path].why = BY_HAND
                await self._switch_off(seat, BY_HAND)
        self._alarms[path].beat()

    def condemn(self, path: str, fault: str) -> None:
        """A disk failed at something that is not tried again: it goes."""
        judge = self._judges[path]
        for _ in range(COMPLAINTS_MAX):
            judge.complain(fault, time.monotonic())
        self._alarms[path].beat()

    def status(self) -> list[dict[str, object]]:
        """Every disk as operators see it."""
        held = [entry.disk for entry in self._holdings.held.values()]
        return [
            {
                "path": seat.path,
                "state": "in use" if seat.is_live else "off",
                "why": seat.why,
                "by_hand": seat.by_hand,
                "bytes": seat.weight_bytes,
                "free_bytes": self._free[seat.path],
                "assets": held.count(seat.uuid),
                "latency_s": round(self._judges[seat.path].latency_s, 4),
                "uuid": seat.uuid,
            }
            for seat in self._store.disks.seats
        ]

    # --- one disk --------------------------------------------------------------------------------

    async def _mind(self, path: str) -> None:
        judge, alarm = self._judges[path], self._alarms[path]
        looking: asyncio.Future[Found] | None = None
        while True:
            seen = alarm.beats
            if looking is None:
                looking = in_daemon(partial(self._look, path))
            await asyncio.wait((looking,), timeout=self._knobs.hang_s)
            probe_, seat = Probe(None), None
            if looking.done():
                probe_, seat = self._outcome(path, looking)
                looking = None
            judge.note(probe_, time.monotonic())
            await self._carry_out(path, seat)
            await alarm.wait(seen, self._knobs.probe_s)

    def _outcome(self, path: str, looking: asyncio.Future[Found]) -> tuple[Probe, Seat | None]:
        fault = looking.exception()
        if fault is None:
            found = looking.result()
            self._free[path] = found.free_bytes
            return Probe(found.took_s), found.seat
        if not isinstance(fault, OcaError | OSError):
            raise fault
        return Probe(0.0, why_of(fault)), None

    def _look(self, path: str) -> Found:
        """In a thread of its own. Raises OcaError, OSError."""
        seats = self._store.disks.seats
        seat = next(seat for seat in seats if seat.path == path)
        if not seat.is_live:
            seat = self._cabinet.look(path, [other for other in seats if other.path != path])
            if seat.why:
                raise DiskFault(seat.why)
        took_s = probe(seat)
        stat = os.statvfs(path)
        return Found(seat, took_s, stat.f_bavail * stat.f_frsize)

    async def _carry_out(self, path: str, found: Seat | None) -> None:
        """What the judge thinks becomes so."""
        async with self._one:
            seat = next(seat for seat in self._store.disks.seats if seat.path == path)
            why = self._judges[path].why
            if seat.is_live and why:
                await self._switch_off(seat, why)
            elif not seat.is_live and not why and found is not None:
                await self._switch_on(found)
            elif not seat.is_live and why and why != seat.why:
                await self._replace(msgspec.structs.replace(seat, why=why))

    async def _switch_off(self, seat: Seat, why: str) -> None:
        _log.error("disk is switched off, its share is missing", path=seat.path, why=why)
        await self._replace(msgspec.structs.replace(seat, why=why))
        self.on_hang()
        lost = self._holdings.darken(seat.uuid)
        _log.warning("assets are missing", path=seat.path, assets=lost)

    async def _switch_on(self, seat: Seat) -> None:
        try:
            found = await in_daemon(partial(self._take_stock, seat))
        except (OcaError, OSError) as exc:
            self._judges[seat.path].note(Probe(0.0, why_of(exc)), time.monotonic())
            return
        await self._replace(seat)
        self._holdings.lighten(seat.uuid, found)
        self.on_back(seat)
        _log.warning("disk is in use again", path=seat.path, assets=len(found))

    def _take_stock(self, seat: Seat) -> dict[int, Held]:
        """What a disk holds, less what was purged meanwhile. Raises StoreError."""
        found = take_stock(self._store, seat)
        for asset in self._holdings.banned & found.keys():
            self._store.retract_from(seat, asset)
            del found[asset]
        return found

    async def _replace(self, fresh: Seat) -> None:
        """One seat is another: for us at once, then for the workers."""
        seats = [fresh if seat.path == fresh.path else seat for seat in self._store.disks.seats]
        self._store.disks.replace(seats)
        self._tell()
        try:
            await asyncio.to_thread(self._cabinet.keep, seats)
        except OSError as exc:
            _log.error("workers cannot be told of the disks", why=exc.strerror)
        self._workers.forget()

    def _tell(self) -> None:
        self._show()
        self.on_judged(self._store.disks.share_live(), self.trouble)

    def _show(self) -> None:
        for seat in self._store.disks.seats:
            self._metrics.disk_live.labels(seat.path).set(seat.is_live)

    def _seat_of(self, fault: StoreError) -> Seat | None:
        if fault.path is None:
            return None
        places = {str(place) for place in (fault.path, *fault.path.parents)}
        return next((seat for seat in self._store.disks.seats if seat.path in places), None)
