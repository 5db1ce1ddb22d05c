"""Fill: start what the plan wants, best first, as room, window and budget allow.

Assets become visible one by one. What a failed try left is gone on with at the next.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Set
from itertools import islice

from oca.agent.api import Fill as FillApi
from oca.agent.diff import diff
from oca.agent.fetch import Fetcher, NotYet
from oca.agent.holdings import Holdings
from oca.agent.knobs import Fill
from oca.agent.metrics import Metrics
from oca.agent.progress import Meter, Progress
from oca.agent.pulse import Pulse
from oca.agent.purse import Purse
from oca.agent.queue import Item, Queue
from oca.agent.sources import LIES, Candidates, candidates
from oca.partfile import StoreError
from oca.store import Store
from wire.catalogue import Asset
from wire.errors import OcaError
from wire.events import FillProgress
from wire.log import get
from wire.window import parse_window

IDLE_S = 30.0
"""An idle queue is looked at this often: for the window's hour, and space that others took."""
SHOWN_MAX = 100
STUCK_S = 10.0
"""Nothing came for so long: this box does not tell its peers any more that it is fetching."""

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
        purse: Purse,
        knobs: Fill,
        metrics: Metrics,
    ) -> None:
        """`me` is the appliance's id; `pulse` beats when `holdings` change."""
        self._me, self._store, self._holdings, self._pulse = me, store, holdings, pulse
        self._fetcher, self._fill, self._knobs, self._metrics = fetcher, fill, knobs, metrics
        self._window = parse_window(knobs.window, knobs.timezone, "fill")
        self._purse = purse
        self.queue = Queue()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._progress: dict[int, Progress] = {}
        self._landings: set[asyncio.Task[None]] = set()
        self._adopted: tuple[object, ...] = ()
        self._adopted_s = 0.0
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
        # What belongs on a disk that is switched off waits for that; so does what is being moved.
        busy = set(holdings.busy)
        desired = [
            item
            for item in plan.desired
            if not self._store.is_out(item.asset) and item.asset not in busy
        ]
        work = diff(desired, holdings.held, room_bytes, holdings.banned)
        unwanted = self.queue.replace(work.fetch, gathering)
        holdings.leave(work.drop)
        self.skipped = work.skipped
        self._adopted, self._adopted_s = self._state(), time.monotonic()
        await self._forget(unwanted, gathering.keys() - busy)
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

    async def _forget(self, unwanted: list[int], gathering: Set[int]) -> None:
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
        paused = self._pause()
        if paused != self.paused:
            self.paused = paused
            _log.info("fill pauses" if paused else "fill goes on", why=paused, left=len(self.queue))
        if paused:
            for task in self._running.values():
                task.cancel()
            return min(IDLE_S, 60.0 - time.time() % 60)  # a window opens with a minute
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
        now_s = time.time()
        self._purse.turn(self._window.night(now_s), plan.generation, plan.fill_bytes)
        if not plan.out_of_window and not self._window.is_open(now_s):
            where = f" ({self._knobs.timezone})" if self._knobs.timezone else ""
            return f"the fill window is {self._knobs.window}{where}"
        if self.queue and not self._purse.left_bytes():
            return "the budget is spent"
        return ""

    async def _room(self) -> int:
        """Bytes for one more asset: what disks, quota and budget leave beside what is begun."""
        room_bytes = await self._free()  # first: below nothing changes between the sums
        missing_bytes = self.queue.begun_missing_bytes
        room_bytes = min(room_bytes, self._purse.left_bytes()) - missing_bytes
        if self._knobs.capacity_bytes:
            quota_bytes = self._knobs.capacity_bytes - self._holdings.held_bytes()
            room_bytes = min(room_bytes, quota_bytes - self.queue.begun_bytes)
        return room_bytes

    async def _asset(self, item: Item) -> None:
        """One try at one asset, whatever comes of it."""
        number, now_s = item.wanted.asset, time.monotonic()
        item.first_try_s = item.first_try_s or now_s
        progress = Progress(number, item.wanted.bytes, item.have_bytes, Meter(now_s))
        progress.hope_s = item.hope_s
        self._progress[number] = progress
        try:
            asset = await self._begin(item)
            await self._fetcher.gather(asset, lambda: self._candidates(item, progress), progress)
            landing = asyncio.create_task(self._land(asset))
            self._landings.add(landing)
            landing.add_done_callback(self._landings.discard)
            await asyncio.shield(landing)
        except NotYet as exc:
            now_s = time.monotonic()
            item.put_off(now_s, exc.quiet, str(exc), random.random(), self.queue.waiting)
        except OcaError as exc:
            item.put_off(time.monotonic(), False, str(exc), random.random())
            if isinstance(exc, StoreError):
                self._metrics.disk_refused(exc)
            _log.warning("asset failed", asset=number, why=str(exc))
        finally:
            item.have_bytes, item.hope_s = progress.have_bytes, progress.hope_s
            del self._progress[number]
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
        self._holdings.add(asset.id, entry)
        self._metrics.assets_fetched.inc()
        self._show()
        _log.info("asset stored", asset=asset.id, bytes=entry.bytes, left=len(self.queue))

    def _candidates(self, item: Item, progress: Progress) -> Candidates:
        plan = self._holdings.plan
        now_s = time.monotonic()
        since_s = max(item.first_try_s or now_s, progress.hope_s, self._fetcher.peer_progress_s)
        sources = plan.sources if plan else ()
        book, patience_s = self._fetcher.book, self._knobs.patience_s
        return candidates(item.wanted, sources, book, self._me, now_s, now_s - since_s, patience_s)

    def coming(self) -> list[int]:
        """What this box will have soon, for peers that ask for it: nothing when it is stuck."""
        fresh_s = max(self._adopted_s, self._fetcher.flow.came_s)
        if self.paused or not self._adopted or time.monotonic() - fresh_s > STUCK_S:
            return []
        return [item.wanted.asset for item in self.queue]

    def status(self) -> dict[str, object]:
        """What is left to do, and what stands in its way, best first."""
        now_s, flow = time.monotonic(), self._fetcher.flow
        bps = flow.bps(now_s)
        return {
            "paused": self.paused,
            "running": sorted(self._running),
            "progress": [p.shown(now_s) for p in self._progress.values()],
            "left": len(self.queue),
            "left_bytes": self.queue.left_bytes,
            "bps": round(bps),
            "limit_bps": round(flow.limit_bps),
            "eta_s": round(8 * self.queue.left_bytes / bps) if bps > 1 else None,
            "window": self._knobs.window or "always",
            "timezone": self._knobs.timezone,
            "opens_in_min": self._window.opens_in_min(time.time()),
            "budget": self._purse.shown(),
            "next": [
                {"asset": item.wanted.asset, "bytes": item.wanted.bytes, "why": item.why}
                for item in islice(self.queue, SHOWN_MAX)
            ],
            "no_room_for": list(self.skipped[:SHOWN_MAX]),
            "sources": self._fetcher.book.shown(now_s),
            "sources_struck": self._fetcher.book.struck(now_s),
        }

    def told(self) -> FillProgress | None:
        """How far it is, for the events; None before there is a plan."""
        if not self._holdings.generation:
            return None
        return FillProgress(
            generation=self._holdings.generation,
            held=len(self._holdings.held),
            held_bytes=self._holdings.held_bytes(),
            left=len(self.queue),
            left_bytes=max(0, self.queue.left_bytes),
            bps=round(self._fetcher.flow.bps(time.monotonic())),
            paused=self.paused,
        )

    def log_progress(self) -> None:
        """One line about how far the fill is, while it is under way."""
        now_s = time.monotonic()
        if self._running:
            left, bps = len(self.queue), round(self._fetcher.flow.bps(now_s))
            left_bytes = self.queue.left_bytes
            _log.info("fill progress", left=left, left_bytes=left_bytes, bps=bps)

    def show_flow(self) -> None:
        """The gauges of what comes and what may come."""
        now_s, flow, metrics = time.monotonic(), self._fetcher.flow, self._metrics
        metrics.fill_bps.set(round(flow.bps(now_s)))
        metrics.fill_limit_bps.set(round(flow.limit_bps))
        metrics.fill_paused.set(bool(self.paused))
        metrics.budget_left.set(self._purse.left_bytes())
        struck = self._fetcher.book.struck(now_s).values()
        metrics.sources_struck.set(sum(why in LIES for why in struck))

    def _show(self) -> None:
        self._metrics.wanted.set(len(self.queue))
        self._metrics.wanted_bytes.set(self.queue.left_bytes)
        self._metrics.held.set(len(self._holdings.held))
        self._metrics.held_bytes.set(self._holdings.held_bytes())
