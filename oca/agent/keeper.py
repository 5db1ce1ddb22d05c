"""All that keeps what is stored, put together: disks watched, stock known, bytes read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oca.agent.diskwatch import DiskWatch
from oca.agent.dropper import Remover
from oca.agent.holdings import Holdings
from oca.agent.loops import Loop
from oca.agent.metrics import Metrics
from oca.agent.scrubber import Scrubber
from oca.agent.stocktaker import Stocktaker, known_at_start
from oca.agent.tell import Workers
from oca.config import Config
from oca.disks import Cabinet
from oca.index import Index
from oca.store import Store
from wire.errors import NotFoundError

GATED = frozenset({"plan", "fill", "drop", "inventory", "scrub"})
"""Errands that compare the plan with what is stored: they wait until all of that is known."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """The origin's tree is not ours to keep: the catalogue made it, `watch` and others are None."""

    store: Store
    remover: Remover
    watch: DiskWatch | None = None
    stock: Stocktaker | None = None
    scrubber: Scrubber | None = None

    @property
    def trouble(self) -> str:
        """What is wrong with any disk, in a line; "" for nothing."""
        return self.watch.trouble if self.watch is not None else ""

    def loops(self) -> dict[str, Loop]:
        """The errands by name."""
        if self.watch is None or self.stock is None or self.scrubber is None:
            return {}
        return {"disks": self.watch.run, "stock": self.stock.run, "scrub": self.scrubber.run}

    def gated(self, loops: dict[str, Loop]) -> dict[str, Loop]:
        """The agent's errands, some of which begin only when the stock is known."""
        if self.stock is None:
            return loops
        after = self.stock.after
        return {name: after(loop) if name in GATED else loop for name, loop in loops.items()}

    async def switch(self, path: str, *, on: bool) -> None:
        """The operator takes a disk out of use, or lets it come back; raises NotFoundError."""
        if self.watch is None:
            raise NotFoundError("the origin's tree is not a disk of ours")
        await self.watch.switch(path, on=on)

    def status(self) -> dict[str, Any]:
        """What /v1/disks shows."""
        return {
            "scrub": self.scrubber.status() if self.scrubber is not None else None,
            "disks": self.watch.status() if self.watch is not None else [],
            "stock_known": self.stock is None or self.stock.known.is_set(),
            "files_checked_of": self.stock.checked if self.stock is not None else 0,
        }


def open_keeper(
    config: Config,
    holdings: Holdings,
    workers: Workers,
    metrics: Metrics,
    on_hang: Callable[[], None],
    on_judged: Callable[[float, str], None],
) -> Keeper:
    """Open the disks and say what is known of them. Blocks; raises OcaError when none can be used.

    `on_hang`: threads may be stuck in a disk; `on_judged`: the share of space in use, and what is
    wrong with the rest.
    """
    if config.role == "origin":
        store = Store(Path(config.store), read_only=True)
        holdings.reset(store.listing())
        return Keeper(store, Remover(store, holdings, workers, metrics))
    run_dir = Path(config.run)
    cabinet = Cabinet(config.disk_paths, run_dir, config.id, mounts=config.disks_are_mounts)
    disks = cabinet.open()
    index = Index(run_dir)
    index.keep_only(seat.uuid for seat in disks.seats)
    store = Store(disks, index=index)
    store.reserve_bytes = config.fill.reserve_bytes
    holdings.reset(known_at_start(store))
    cabinet.keep(store.disks.seats)
    watch = DiskWatch(store, cabinet, holdings, workers, config.disk, metrics)
    watch.on_hang, watch.on_judged = on_hang, on_judged
    on_judged(disks.share_live(), watch.trouble)
    remover = Remover(store, holdings, workers, metrics)
    stock = Stocktaker(store, holdings, remover, watch, metrics)
    scrubber = Scrubber(store, index, holdings, remover, config.scrub, metrics)
    return Keeper(store, remover, watch, stock, scrubber)
