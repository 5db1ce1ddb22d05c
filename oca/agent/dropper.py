"""Drop what the plan does not want, in the order of the drop protocol; purge at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from oca.agent.api import Fill
from oca.agent.drops import Leaving, due_s
from oca.agent.holdings import Holdings
from oca.agent.knobs import Agent
from oca.agent.metrics import Metrics
from oca.agent.pulse import Pulse
from oca.agent.reports import Reporter
from oca.agent.tell import Workers
from oca.partfile import StoreError
from oca.seats import Seat
from oca.stock import send_back, set_aside
from oca.store import Store
from wire.durable import write_durably
from wire.errors import ConflictError, OcaError
from wire.keys import VerifyKey
from wire.log import get
from wire.plan import PurgeAck, PurgeList, open_purge

LOOK_S = 0.5
"""Confirmations are looked for this often while something waits for them."""
IDLE_S = 60.0
AGAIN_S = 5.0  # after a disk refused
PURGE_FILE = "purge.jws"

_log = get("drop")


class Remover:
    """Takes assets off the shelf: out of sight, then out of the workers' caches, then unlinked."""

    def __init__(
        self, store: Store, holdings: Holdings, workers: Workers, metrics: Metrics
    ) -> None:
        """One for both reasons to remove something."""
        self._store, self._holdings = store, holdings
        self._workers, self._metrics = workers, metrics
        self._one = asyncio.Lock()
        self.rotten = 0
        """Files set aside since the start."""

    async def remove(self, assets: Iterable[int], why: str) -> None:
        """Raises StoreError when a disk refuses, after the others had their turn; then it is tried
        again."""
        async with self._one:
            gone, fault = await asyncio.to_thread(self._remove, tuple(assets))
            for asset in gone:
                self._holdings.remove(asset)
                self._metrics.assets_dropped.inc()
        if gone:
            _log.info("assets removed", assets=gone, why=why)
        if fault is not None:
            self._metrics.disk_refused(fault)
            raise fault

    async def give_back(self, seat: Seat, asset: int, why: str) -> None:
        """What was believed whole is not: out of sight, and fetched again where it is wrong."""
        await self._take_back(asset, partial(send_back, self._store, seat, asset))
        _log.error("asset is not whole after all", asset=asset, path=seat.path, why=why)

    async def quarantine(self, seat: Seat, asset: int, bad: Mapping[str, str]) -> None:
        """Files of an asset are rotten (name → why): it is out of sight, they are put aside, and
        what is left is checked and completed by the fill."""
        await self._take_back(asset, partial(set_aside, self._store, seat, asset, bad))
        for name, why in bad.items():
            self.rotten += 1
            self._metrics.rotten.inc()
            _log.error("rotten file set aside", asset=asset, file=name, why=why, path=seat.path)

    async def _take_back(self, asset: int, move: Callable[[], None]) -> None:
        """Out of the inventory, then off the shelf; the fill waits until it is done."""
        async with self._one:
            self._holdings.busy.add(asset)
            self._holdings.remove(asset)
            try:
                await asyncio.to_thread(move)
            except StoreError as exc:
                self._metrics.disk_refused(exc)
            finally:
                self._workers.forget()
                self._holdings.settled(asset)

    def _remove(self, assets: tuple[int, ...]) -> tuple[list[int], StoreError | None]:
        gone: list[int] = []
        fault: StoreError | None = None
        for asset in assets:
            try:
                self._store.retract(asset)
                gone.append(asset)
            except StoreError as exc:
                fault = exc
        self._workers.forget()
        try:
            self._store.empty_trash()
        except StoreError as exc:
            fault = exc
        return gone, fault


class Dropper:
    """Carries `holdings.leaving` through the drop protocol."""

    def __init__(
        self,
        holdings: Holdings,
        pulse: Pulse,
        reporter: Reporter,
        remover: Remover,
        asked_s: Mapping[int, float],
        knobs: Agent,
        metrics: Metrics,
    ) -> None:
        """`asked_s`: when each asset last moved bytes (monotonic)."""
        self._holdings, self._pulse, self._reporter = holdings, pulse, reporter
        self._remover, self._asked_s, self._knobs = remover, asked_s, knobs
        self._metrics = metrics
        self._leaving: dict[int, Leaving] = {}
        self._born_s = time.monotonic()

    async def run(self) -> None:
        """For ever."""
        while True:
            seen = self._pulse.beats
            ready, wait_s = self._look(time.monotonic())
            if ready:
                try:
                    await self._remover.remove(ready, "not in the plan")
                    continue
                except StoreError as exc:
                    _log.error("assets cannot be removed", why=str(exc))
                    wait_s = AGAIN_S
            await self._pulse.wait(seen, wait_s)

    def _look(self, now_s: float) -> tuple[list[int], float]:
        """What may go now, and how long to wait for the next."""
        self._adopt()
        ready: list[int] = []
        wait_s = IDLE_S
        knobs = self._knobs
        for asset, leaving in self._leaving.items():
            if leaving.confirmed_s is None:
                if not self._reporter.confirmed(leaving.inventory_seq, now_s):
                    wait_s = min(wait_s, LOOK_S)
                    continue
                leaving.confirmed_s = now_s
            asked_s = self._asked_s.get(asset, self._born_s)  # an earlier life may know better
            due = due_s(
                leaving.confirmed_s,
                asked_s,
                knobs.drop_ttl_s,
                knobs.drop_idle_s,
                knobs.drop_bound_s,
            )
            if due <= now_s:
                ready.append(asset)
            wait_s = min(wait_s, max(0.0, due - now_s))
        return ready, wait_s

    def _adopt(self) -> None:
        leaving = self._holdings.leaving
        self._metrics.leaving.set(len(leaving))
        for asset in self._leaving.keys() - leaving:
            del self._leaving[asset]
        fresh = leaving - self._leaving.keys()
        if fresh:
            seq = self._reporter.number()
            self._leaving.update((asset, Leaving(seq)) for asset in fresh)


class Purger:
    """Owns `run/purge.jws`: what is on that list is unlinked at once, and never fetched again."""

    def __init__(
        self,
        me: str,
        run_dir: Path,
        keys: Mapping[str, VerifyKey],
        holdings: Holdings,
        remover: Remover,
        forget_pulled: Callable[[Iterable[int]], object] | None = None,
    ) -> None:
        """`keys` may sign purge lists: the same that sign plans. `forget_pulled` drops what
        pull-through keeps of assets, when there is pull-through; it blocks, and may raise OcaError.
        """
        self._me, self._path, self._keys = me, run_dir / PURGE_FILE, keys
        self._holdings, self._remover = holdings, remover
        self._forget_pulled = forget_pulled
        self._etag = ""
        self._acked = -1
        self.number = -1

    def load(self) -> None:
        """At start: what was purged stays purged."""
        try:
            self._adopt(open_purge(self._path.read_bytes(), self._keys))
        except FileNotFoundError:
            return
        except (OSError, OcaError) as exc:
            _log.error("the stored purge list cannot be used", why=str(exc))

    async def poll(self, fill: Fill) -> None:
        """Once: fetch the list, carry it out, acknowledge; raises ApiError, AuthError, WireError,
        ConflictError or StoreError, and then it is tried again."""
        reply = await fill.document("/v1/purge", self._etag)
        if reply is not None:
            purge = open_purge(reply.body, self._keys)
            self._check(purge)
            if purge.number != self.number:
                await asyncio.to_thread(write_durably, self._path, reply.body)
                self._adopt(purge)
            self._etag = reply.etag
        await self.carry_out()
        if self._forget_pulled is not None and self._holdings.banned:  # each time: it may come back
            await asyncio.to_thread(self._forget_pulled, sorted(self._holdings.banned))
        if self.number > self._acked:
            await fill.ack_purge(PurgeAck(appliance=self._me, number=self.number))
            self._acked = self.number

    async def carry_out(self) -> None:
        """Remove what is purged and still held; raises StoreError."""
        doomed = self._holdings.banned & self._holdings.held.keys()
        if doomed:
            await self._remover.remove(sorted(doomed), f"purged by list {self.number}")

    def _check(self, purge: PurgeList) -> None:
        """Refuses a list of another world, or from the past."""
        if self._holdings.epoch and purge.epoch != self._holdings.epoch:
            raise ConflictError(f"the purge list is of the catalogue {purge.epoch}")
        if purge.number < self.number:
            raise ConflictError(f"purge list {purge.number} is older than {self.number}")

    def _adopt(self, purge: PurgeList) -> None:
        self.number = purge.number
        self._holdings.ban(purge)
