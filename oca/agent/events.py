"""Collect counted bytes and deliver them to fill, each exactly once. (Kafka joins at `deliver`.)"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from oca.agent.api import ApiError, Fill
from oca.agent.deltas import CounterKey
from oca.agent.metrics import Metrics
from oca.agent.outbox import BATCHES_MAX, Outbox, Waiting
from oca.agent.playing import summarise
from oca.agent.pulse import Pulse
from oca.counters import Table, read_tables
from oca.playback import read_rings
from wire.codec import decode, encode
from wire.errors import WireError
from wire.events import EventAck, EventBatch, FillProgress
from wire.log import get

PROGRESS_S, PROGRESS_MOST_S = 30.0, 900.0
"""How far the fill is: told when it changed, that often at most; and that often at least, so that a
fill service which was restarted knows again."""
MINUTE_LAG_S = 5.0
"""What players said in a minute is taken over when it is over for so long: answers end late."""

_log = get("events")


class Events:
    """Owns the outbox; `asked_s` tells when each asset last moved bytes (monotonic)."""

    def __init__(self, run_dir: Path, outbox: Outbox, metrics: Metrics) -> None:
        """All of the outbox runs in one thread, so that its calls follow each other."""
        self._run_dir, self._outbox, self._metrics = run_dir, outbox, metrics
        self._thread = ThreadPoolExecutor(1, "outbox")
        self._totals: dict[int, int] = {}
        self._made = 0
        self.asked_s: dict[int, float] = {}
        self.fresh = Pulse()
        """Beats when there is something to deliver."""
        self.filling: Callable[[], FillProgress | None] = lambda: None
        """How far the fill is; None when there is nothing to tell of it."""
        self._told: FillProgress | None = None
        self._told_s = -math.inf

    async def begin_boot(self, boot: int) -> None:
        """Number what is counted from now on under this boot."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._outbox.begin_boot, boot)

    async def collect(self) -> None:
        """Once: read the counters, put the difference into the outbox."""
        loop = asyncio.get_running_loop()
        tables = await loop.run_in_executor(self._thread, self._collect, self._progress())
        self._note_asked(tables)
        if self._made:
            self.fresh.beat()

    async def deliver(self, fill: Fill) -> None:
        """Once: send what waits, oldest first; raises ApiError when fill is away."""
        loop = asyncio.get_running_loop()
        while (batch := await loop.run_in_executor(self._thread, self._outbox.first)) is not None:
            ack = await self._post(fill, batch)
            done = await loop.run_in_executor(self._thread, self._outbox.acknowledge, ack)
            if not done:
                raise ApiError(fill.base, 0, f"batch {batch.boot}/{batch.seq} not acknowledged")
        self._metrics.outbox.set(0)

    async def _post(self, fill: Fill, batch: Waiting) -> EventAck:
        ack = await fill.post_events(batch.body)
        if ack.boot == batch.boot and ack.seq < batch.seq:
            # This is the oldest that waits, so fill had acknowledged all before it, and lost that.
            _log.warning("fill has lost its history", before=f"{batch.boot}/{batch.seq}")
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(self._thread, _as_oldest, batch)
            ack = await fill.post_events(body)
        if ack.boot != batch.boot or ack.seq > batch.seq:
            detail = f"acknowledges {ack.boot}/{ack.seq} for {batch.boot}/{batch.seq}"
            raise WireError("events reply", "$.seq", detail)
        return ack

    def _progress(self) -> FillProgress | None:
        """How far the fill is, if that is to be told now."""
        far, now_s = self.filling(), time.monotonic()
        changed = far is not None and (self._told is None or not _same(far, self._told))
        if far is None or now_s < self._told_s + (PROGRESS_S if changed else PROGRESS_MOST_S):
            return None
        self._told, self._told_s = far, now_s
        return far

    def _collect(self, filling: FillProgress | None) -> list[Table]:
        tables = read_tables(self._run_dir)
        self._made = 0
        waiting = self._outbox.waiting()
        self._metrics.outbox.set(waiting)
        if waiting < BATCHES_MAX:
            now_s = time.time()
            news = read_rings(self._run_dir, self._outbox.rings, int((now_s - MINUTE_LAG_S) // 60))
            played = summarise(row for one in news for row in one.rows)
            rings = {one.ring: one.newest for one in news}
            self._made = self._outbox.collect(
                _rows(tables), int(now_s // 60), played, rings, filling
            )
            self._retire(tables)
            self._metrics.played(played, sum(one.lost for one in news))
        return tables

    def _retire(self, tables: Sequence[Table]) -> None:
        """Sealed tables were read to the end: unlink them, the newest of each worker excepted."""
        newest = {table.worker: table.number for table in tables}
        done = [table for table in tables if table.sealed and table.number < newest[table.worker]]
        for table in done:
            table.path.unlink(missing_ok=True)
        self._outbox.retire(table.table_id for table in done)

    def _note_asked(self, tables: Sequence[Table]) -> None:
        totals: dict[int, int] = {}
        for (_table, asset, _home), count in _rows(tables):
            totals[asset] = totals.get(asset, 0) + count
        now_s = time.monotonic()
        for asset, total in totals.items():
            if total != self._totals.get(asset, 0):
                self.asked_s[asset] = now_s
        self._totals = totals


def _same(one: FillProgress, other: FillProgress) -> bool:
    """Whether they tell the same, whatever the rate is just now."""
    return msgspec.structs.replace(one, bps=other.bps) == other


def _as_oldest(batch: Waiting) -> bytes:
    whole = decode(EventBatch, batch.body, "outbox")
    return encode(msgspec.structs.replace(whole, oldest=batch.seq))


def _rows(tables: Sequence[Table]) -> Iterator[tuple[CounterKey, int]]:
    for table in tables:
        for (asset, home), count in table.rows.items():
            yield (table.table_id, asset, home), count
