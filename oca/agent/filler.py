"""Fill: start what the plan wants, best first, as room, window and budget allow.

Assets become visible one by one. What a failed try left is gone on with at the next.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import time
from collections.abc import Collection
from itertools import islice

from oca.agent.api import Fill as FillApi
from oca.agent.diff import diff
from oca.agent.fetch import Fetcher, NotYet
from oca.agent.holdings import Holdings
from oca.agent.knobs import Fill
from oca.agent.metrics import Metrics
from oca.agent.pulse import Pulse
from oca.agent.queue import Item, Queue
from oca.agent.sources import Candidates, candidates
from oca.agent.window import is_open, parse_window
from oca.partfile import StoreError
from oca.store import Store
from wire.catalogue import Asset
from wire.errors import OcaError
from wire.log import get

IDLE_S = 30.0
"""An idle queue is looked at this often: for the window's hour, and space that others took."""
SHOWN_MAX = 100

_log = get("fill")


class Filler:
    """Owns `incoming/` and what appears on the shelf; `holdings` says what is wanted."""

    def __init__(
        self,
        me: str,
        store: Store,
        holdings: Holdings,
        pulse: Pulse,
        fetcher: Fetcher,
        fill: FillApi,
        knobs: Fill,
        metrics: Metrics,
    ) -> None:
        """`me` is the appliance's id; `pulse` beats when `holdings` change."""
        self._me, self._store, self._holdings, self._pulse = me, store, holdings, pulse
        self._fetcher, self._fill, self._knobs, self._metrics = fetcher, fill, knobs, metrics
        self._window = parse_window(knobs.window, "fill.window")
        self.queue = Queue()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._landings: set[asyncio.Task[None]] = set()
        self._adopted: tuple[object, ...] = ()
        self._spent: dict[int, int] = {}  # generation → bytes made visible under it
        self.skipped: tuple[int, ...] = ()
        self.paused = ""

    async def run(self) -> None:
        """For ever: adopt the plan, start what may start, wait for a change."""
        try:
            while True:
                seen = self._pulse.beats
                await self._adopt()
                wait_s = await self._start()
                await self._pulse.wait(seen, wait_s)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), *self._landings, return_exceptions=True)

    # --- what is to be done ----------------------------------------------------------------------

    async def _adopt(self) -> None:
        """When the plan or what is held against it changed: compare them anew."""
        holdings, plan = self._holdings, self._holdings.plan
        if plan is None or self._state() == self._adopted or plan.expires_s <= time.time():
            return
        gathering = await self._fetcher.blocking(self._store.gathering)
        room_bytes = await self._capacity(sum(gathering.values()))
        # Another plan may have come meanwhile. From here to `_adopted` nothing waits, so that what
        # is marked as compared is what was compared.
        plan = holdings.plan or plan
        # What belongs on a disk that is switched off waits for that.
        desired = [item for item in plan.desired if not self._store.is_out(item.asset)]
        work = diff(desired, holdings.held, room_bytes, holdings.banned)
        unwanted = self.queue.replace(work.fetch, gathering)
        holdings.leave(work.drop)
        self.skipped = work.skipped
        self._adopted = self._state()
        await self._forget(unwanted, gathering)
        self._show()
        _log.info(
            "plan compared",
            generation=plan.generation,
            fetch=len(work.fetch),
            fetch_bytes=sum(item.bytes for item in work.fetch),
            drop=len(work.drop),
            skipped=len(work.skipped),
        )

    def _state(self) -> tuple[object, ...]:
        """When this changes, the comparison is no longer true."""
        holdings = self._holdings
        again = int(time.monotonic() / IDLE_S) if self.skipped else 0
        leaving = frozenset(holdings.leaving)
        return (holdings.plan, holdings.banned, leaving, holdings.removed, again)

    async def _forget(self, unwanted: list[int], gathering: Collection[int]) -> None:
        tasks = [self._running[asset] for asset in unwanted if asset in self._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        wanted = {item.wanted.asset for item in self.queue}
        for asset in {*gathering, *unwanted} - wanted:
            await self._fetcher.blocking(self._store.discard, asset)

    async def _capacity(self, gathered_bytes: int) -> int:
        """Bytes that assets may take in all: the knob's, and no more than the disks have."""
        free_bytes = await self._free()
        most_bytes = self._holdings.held_bytes() + gathered_bytes + free_bytes
        if self._knobs.capacity_bytes:
            most_bytes = min(most_bytes, self._knobs.capacity_bytes)
        return max(0, most_bytes)

    async def _free(self) -> int:
        """Bytes that may still be written, beside the reserve."""
        free_bytes = await self._fetcher.blocking(self._store.free_bytes)
        self._metrics.free_bytes.set(free_bytes)
        return free_bytes - self._knobs.reserve_bytes

    # --- doing it --------------------------------------------------------------------------------

    async def _start(self) -> float:
        """Start what may start; the seconds to wait before looking again."""
        self.paused = self._pause()
        if self.paused:
            for task in self._running.values():
                task.cancel()
            return IDLE_S
        while self.queue and len(self._running) < self._knobs.assets_parallel:
            item, wait_s = self.queue.choose(self._running, await self._room(), time.monotonic())
            if item is None:
                return wait_s
            self.queue.begin(item)
            self._running[item.wanted.asset] = asyncio.create_task(self._asset(item))
        return IDLE_S

    def _pause(self) -> str:
        plan = self._holdings.plan
        if plan is None:
            return "there is no plan yet"
        if plan.expires_s <= time.time():
            return f"the plan of generation {plan.generation} has expired"
        now = datetime.datetime.now().astimezone()
        if not plan.out_of_window and not is_open(self._window, now.hour * 60 + now.minute):
            return f"the fill window is {self._knobs.window}"
        return ""

    async def _room(self) -> int:
        """Bytes for one more asset: what disks, quota and budget leave beside what is begun."""
        room_bytes = await self._free()  # first: below nothing changes between the sums
        plan = self._holdings.plan
        spent_bytes = self._spent.get(plan.generation, 0) if plan else 0
        room_bytes = min(room_bytes, plan.fill_bytes - spent_bytes if plan else 0)
        if self._knobs.capacity_bytes:
            quota_bytes = self._knobs.capacity_bytes - self._holdings.held_bytes()
            room_bytes = min(room_bytes, quota_bytes)
        return room_bytes - self.queue.begun_bytes

    async def _asset(self, item: Item) -> None:
        """One try at one asset, whatever comes of it."""
        number = item.wanted.asset
        item.first_try_s = item.first_try_s or time.monotonic()
        try:
            asset = await self._begin(item)
            await self._fetcher.gather(asset, lambda: self._candidates(item))
            landing = asyncio.create_task(self._land(asset))
            self._landings.add(landing)
            landing.add_done_callback(self._landings.discard)
            await asyncio.shield(landing)
        except NotYet as exc:
            item.put_off(time.monotonic(), exc.quiet, str(exc))
        except OcaError as exc:
            item.put_off(time.monotonic(), False, str(exc))
            if isinstance(exc, StoreError):
                self._metrics.disk_refused(exc)
            _log.warning("asset failed", asset=number, why=str(exc))
        finally:
            self._running.pop(number, None)
            self._pulse.beat()

    async def _begin(self, item: Item) -> Asset:
        """The asset's folder in `incoming/`, with the catalogue entry that the plan means."""
        raw = await self._fetcher.blocking(self._store.begun, item.wanted.asset)
        if raw is None or hashlib.sha256(raw).hexdigest() != item.wanted.digest:
            raw = await self._fill.entry(item.wanted)
        return await self._fetcher.blocking(self._store.begin, raw)

    async def _land(self, asset: Asset) -> None:
        """Make an asset visible, and say so: never one without the other."""
        entry = await self._fetcher.blocking(self._store.publish, asset)
        if asset.id in self.queue:
            self.queue.remove(asset.id)
        else:
            self._adopted = ()  # the plan changed while it landed
        plan = self._holdings.plan
        if plan is not None:
            spent_bytes = self._spent.get(plan.generation, 0)
            self._spent = {plan.generation: spent_bytes + entry.bytes}
        self._holdings.add(asset.id, entry)
        self._metrics.assets_fetched.inc()
        self._show()
        _log.info("asset stored", asset=asset.id, bytes=entry.bytes, left=len(self.queue))

    def _candidates(self, item: Item) -> Candidates:
        plan = self._holdings.plan
        now_s = time.monotonic()
        since_s = max(item.first_try_s or now_s, self._fetcher.peer_progress_s)
        patient = now_s - since_s < self._knobs.patience_s
        sources = plan.sources if plan else ()
        return candidates(item.wanted, sources, self._fetcher.book, self._me, now_s, patient)

    def status(self) -> dict[str, object]:
        """What is left to do, and what stands in its way, best first."""
        return {
            "paused": self.paused,
            "running": sorted(self._running),
            "left": len(self.queue),
            "left_bytes": self.queue.left_bytes,
            "next": [
                {"asset": item.wanted.asset, "bytes": item.wanted.bytes, "why": item.why}
                for item in islice(self.queue, SHOWN_MAX)
            ],
            "no_room_for": list(self.skipped[:SHOWN_MAX]),
            "sources_struck": self._fetcher.book.struck(time.monotonic()),
        }

    def _show(self) -> None:
        self._metrics.wanted.set(len(self.queue))
        self._metrics.wanted_bytes.set(self.queue.left_bytes)
        self._metrics.held.set(len(self._holdings.held))
        self._metrics.held_bytes.set(self._holdings.held_bytes())
