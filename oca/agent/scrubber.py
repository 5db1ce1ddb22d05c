"""Read again all that is stored, what was verified longest ago first, at a bounded rate.

The index has when each asset was verified, so that progress survives a restart. What is rotten, or
cannot be read, leaves the inventory at once: the file is moved aside, the rest of its asset is
checked byte by byte, and what is missing is fetched again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from oca.agent.dropper import Remover
from oca.agent.holdings import Holdings
from oca.agent.metrics import Metrics
from oca.config import Scrub
from oca.index import Age, Index
from oca.ioprio import IDLE, give_way, heeds, scheduler
from oca.partfile import StoreError, blame
from oca.probe import in_daemon
from oca.seats import Seat
from oca.store import SHELF, Store, entry_in, place
from oca.verify import Pace, digest
from wire.catalogue import Asset
from wire.log import get

IDLE_S = 30.0
"""When nothing is due it is looked again after this."""

_log = get("scrub")


@dataclass(slots=True)
class Result:
    """What one asset's reading gave: `bad` files and why; `whole` unless it was broken off."""

    whole: bool = True
    bytes: int = 0
    bad: dict[str, str] = field(default_factory=dict)


class Scrubber:
    """One errand; `now` is what is read at the moment."""

    def __init__(
        self,
        store: Store,
        index: Index,
        holdings: Holdings,
        remover: Remover,
        knobs: Scrub,
        metrics: Metrics,
    ) -> None:
        """`knobs.rate_bytes_s` 0: nothing is ever read again."""
        self._store, self._index, self._holdings = store, index, holdings
        self._remover, self._knobs, self._metrics = remover, knobs, metrics
        self._pace = Pace(max(1, knobs.rate_bytes_s))
        self._priority = ""
        self.now: Age | None = None

    async def run(self) -> None:
        """For ever: the asset verified longest ago, if it is due."""
        while True:
            age = await asyncio.to_thread(self._next) if self._knobs.rate_bytes_s else None
            if age is None:
                await asyncio.sleep(min(IDLE_S, self._knobs.every_s))
                continue
            self.now = age
            try:
                await self._one(age)
            finally:
                self.now = None

    def _next(self) -> Age | None:
        age = self._index.oldest([seat.uuid for seat in self._store.disks.live])
        if age is None or 0 <= time.time() - age.verified_s < self._knobs.every_s:
            return None
        return age

    async def _one(self, age: Age) -> None:
        seat = next((s for s in self._store.disks.live if s.uuid == age.disk), None)
        if seat is None or age.asset not in self._holdings.held:
            self._index.remove((age.asset,), age.disk)
            return
        result = await in_daemon(partial(self._read, seat, age.asset))
        if result.bad and age.asset in self._holdings.held:
            await self._remover.quarantine(seat, age.asset, result.bad)
        elif result.whole:
            at_s = int(time.time())
            await asyncio.to_thread(self._index.verified, Age(age.asset, age.disk, at_s))
        else:
            await asyncio.sleep(1.0)  # the disk went off, or the asset was dropped meanwhile

    def _read(self, seat: Seat, asset: int) -> Result:
        """In a thread of its own, behind everybody else at the disk."""
        self._priority = give_way(IDLE)
        folder = place(self._store.root_of(seat), SHELF, asset)
        try:
            found = entry_in(folder)
        except StoreError as exc:
            self._metrics.disk_refused(exc)
            return Result(whole=False)
        if found is None:
            return Result(bad={} if not folder.exists() else {"": "its catalogue entry is gone"})
        return self._read_files(folder, found[0], seat)

    def _read_files(self, folder: Path, asset: Asset, seat: Seat) -> Result:
        result = Result()

        def go_on() -> bool:
            live = any(other.uuid == seat.uuid for other in self._store.disks.live)
            return live and asset.id in self._holdings.held

        for file in asset.files:
            try:
                with blame(folder / file.name):
                    found = digest(folder / file.name, self._pace, go_on)
            except StoreError as exc:
                self._metrics.disk_refused(exc)
                result.bad[file.name] = str(exc)
                continue
            if found is None or not go_on():
                return Result(whole=False)
            result.bytes += found[1]
            self._metrics.scrubbed_bytes.inc(found[1])
            if found != (file.sha256, file.bytes):
                result.bad[file.name] = "its bytes are not those that were stored"
        return result if go_on() else Result(whole=False)

    # --- for operators ---------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """How far the reading is. Blocks, shortly."""
        knobs, now_s = self._knobs, time.time()
        return {
            "rate_bytes_s": knobs.rate_bytes_s,
            "every_s": knobs.every_s,
            "now": {"asset": self.now.asset, "disk": self.now.disk} if self.now else None,
            "bad_files": self._remover.rotten,
            "io_priority": self._priority or "idle",
            "disks": [self._progress(seat, now_s) for seat in self._store.disks.live],
        }

    def _progress(self, seat: Seat, now_s: float) -> dict[str, Any]:
        assets, total = self._index.since(seat.uuid, 0)
        done, done_bytes = self._index.since(seat.uuid, now_s - self._knobs.every_s)
        oldest = self._index.oldest([seat.uuid])
        name = scheduler(Path(seat.path))
        return {
            "path": seat.path,
            "assets": assets,
            "bytes": total,
            "verified_assets": done,
            "verified_bytes": done_bytes,
            "oldest_s": int(now_s - oldest.verified_s) if oldest and oldest.verified_s else None,
            "scheduler": name,
            "heeds_priority": heeds(name),
        }
