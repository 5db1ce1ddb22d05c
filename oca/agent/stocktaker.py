"""Know what is stored soon after a start, believe it, and look at every file in the background.

What the index has is offered at once. A disk that it does not know is listed beside the serving;
until that is done nothing is fetched or dropped, for the plan would be compared with half the
truth. Then, slowly, every file is looked at: what is not whole after all leaves.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from oca.agent.diskwatch import DiskWatch
from oca.agent.dropper import Remover
from oca.agent.holdings import Holdings
from oca.agent.loops import Loop
from oca.agent.metrics import Metrics
from oca.held import Held
from oca.ioprio import IDLE, give_way
from oca.partfile import StoreError
from oca.probe import in_daemon
from oca.seats import Seat
from oca.stock import is_known, merge, take_stock
from oca.store import SHELF, Store, place, whole
from wire.log import get

START_S = 8.0
"""A disk that does not list its names by then is not waited for."""
WORK_S = 0.1
"""So long files are looked at, then as long nothing: half a disk's idle time at most."""

_log = get("stock")


def known_at_start(store: Store) -> dict[int, Held]:
    """What the index knows, on disks that answer; one that fails is switched off. Blocks."""
    held: dict[int, Held] = {}
    begun_s = time.monotonic()
    seats = [seat for seat in store.disks.live if is_known(store, seat)]
    found: dict[str, dict[int, Held] | StoreError] = {}

    def look(seat: Seat) -> None:
        try:
            found[seat.path] = take_stock(store, seat)
        except StoreError as exc:
            found[seat.path] = exc

    threads = [threading.Thread(target=look, args=(seat,), daemon=True) for seat in seats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, begun_s + START_S - time.monotonic()))
    for seat in seats:
        result = found.get(seat.path, StoreError("does not answer", 0))
        if isinstance(result, StoreError):
            store.disks.switch_off(seat, str(result))
            continue
        with suppress(StoreError):
            merge(store, held, result)
    return held


class Stocktaker:
    """`known` is set once everything on the disks in use is in `holdings`."""

    def __init__(
        self,
        store: Store,
        holdings: Holdings,
        remover: Remover,
        watch: DiskWatch,
        metrics: Metrics,
    ) -> None:
        """`holdings` has what was known at the start."""
        self._store, self._holdings = store, holdings
        self._remover, self._watch, self._metrics = remover, watch, metrics
        self.known = asyncio.Event()
        self.checked = 0
        self._unknown = [seat for seat in store.disks.live if not is_known(store, seat)]
        self._todo: asyncio.Queue[Seat] = asyncio.Queue()
        watch.on_back = self._todo.put_nowait
        if not self._unknown:
            self.known.set()

    async def run(self) -> None:
        """For ever: list what is not known, then look at every file of every disk once."""
        while self._unknown:
            await self._list(self._unknown[0])
            self._unknown.pop(0)
        self.known.set()
        for seat in self._store.disks.live:
            self._todo.put_nowait(seat)
        while True:
            await self._check(await self._todo.get())

    def after(self, loop: Loop) -> Loop:
        """A loop that begins when all is known."""

        async def waiting() -> None:
            await self.known.wait()
            await loop()

        return waiting

    async def _list(self, seat: Seat) -> None:
        """One disk that the index does not know, while its finds are offered bit by bit."""
        loop = asyncio.get_running_loop()
        begun_s = time.monotonic()
        _log.warning("the index does not know this disk: it is listed", path=seat.path)

        def tell(found: dict[int, Held]) -> None:
            loop.call_soon_threadsafe(self._holdings.gain, found)

        listing = in_daemon(partial(take_stock, self._store, seat, tell))
        while not listing.done() and self._is_live(seat):
            await asyncio.wait((listing,), timeout=1.0)
        if not listing.done():
            return  # it hangs, and is switched off: the watch takes stock when it is back
        try:
            found = listing.result()
        except StoreError as exc:
            self._watch.condemn(seat.path, str(exc))
            return
        took_s = round(time.monotonic() - begun_s, 1)
        _log.info("disk listed", path=seat.path, assets=len(found), took_s=took_s)

    async def _check(self, seat: Seat) -> None:
        """Look at every file of a disk; the bytes are the scrubber's."""
        begun_s = time.monotonic()
        held = [a for a, entry in self._holdings.held.items() if entry.disk == seat.uuid]
        bad = await in_daemon(partial(self._look, seat, held))
        for asset in bad:
            if asset in self._holdings.held:
                await self._remover.give_back(seat, asset, "a file is missing or has another size")
        took_s = round(time.monotonic() - begun_s, 1)
        _log.info("disk checked", path=seat.path, assets=len(held), bad=len(bad), took_s=took_s)

    def _look(self, seat: Seat, assets: Iterable[int]) -> list[int]:
        """In a thread of its own: what is not whole."""
        give_way(IDLE)
        bad: list[int] = []
        rest_at_s = time.monotonic() + WORK_S
        for asset in assets:
            if not self._is_live(seat):
                break
            try:
                if whole(place(self._store.root_of(seat), SHELF, asset), seat.uuid) is None:
                    bad.append(asset)
            except StoreError as exc:
                self._metrics.disk_refused(exc)
            self.checked += 1
            if time.monotonic() > rest_at_s:
                time.sleep(WORK_S)
                rest_at_s = time.monotonic() + WORK_S
        return bad

    def _is_live(self, seat: Seat) -> bool:
        return any(other.uuid == seat.uuid for other in self._store.disks.live)
