"""Fetch one asset: its files from whoever has them, many at once, each source by what it bears.

A source that fails hands over to the next at the byte where it stopped; one that sends wrong bytes
is found out, by chunk and by file, and struck off.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

import aiohttp

from oca.agent.answer import SourceFault, suspects
from oca.agent.flow import Flow
from oca.agent.knobs import Fill
from oca.agent.metrics import Metrics
from oca.agent.progress import Progress
from oca.agent.pull import Puller
from oca.agent.sources import LIES, QUIET, Candidates, Fault, SourceBook
from oca.partfile import PartFile, WrongBytes
from oca.store import Store
from wire.catalogue import Asset, File
from wire.errors import OcaError
from wire.keys import SigningKey
from wire.log import get
from wire.plan import Source, SourceKind

P = ParamSpec("P")
R = TypeVar("R")

EARLIER = ""
"""The writer of what an earlier life of the agent left."""
LOOK_S = 1.0
"""A file that waits for its turn at a source looks this often whether others may be asked now."""

_log = get("fetch")


class NotYet(OcaError):
    """No source that may be asked has the asset now; `faults` says what each one answered."""

    def __init__(self, faults: dict[str, Fault]) -> None:
        """`faults`: source → why not."""
        self.faults = faults
        super().__init__(", ".join(f"{name}: {fault}" for name, fault in faults.items()) or "none")

    @property
    def quiet(self) -> bool:
        """Whether nobody failed: the asset just is not there yet."""
        return all(fault in QUIET for fault in self.faults.values())


class _Try:
    """One try at one asset: who does not have it, and how far it is."""

    def __init__(self, asset: Asset, choose: Callable[[], Candidates], progress: Progress) -> None:
        self.asset, self.choose, self.progress = asset, choose, progress
        self.absent: dict[str, Fault] = {}

    def ranked(self, tried: dict[str, Fault], book: SourceBook) -> list[Source]:
        """Whom to ask for one file; those of the nearest kind only: the others cost more. While a
        source is on trial the next ones are asked, and it is waited for when there are none."""
        found = [
            source
            for source in self.choose().sources
            if source.id not in self.absent and source.id not in tried
        ]
        found = [source for source in found if not book.is_on_trial(source.id)] or found
        return [source for source in found if source.kind is found[0].kind]


class Fetcher:
    """Pulls assets into the store. One for all of an agent's fetching."""

    def __init__(
        self,
        store: Store,
        session: aiohttp.ClientSession,
        key: SigningKey,
        knobs: Fill,
        pool: Executor,
        flow: Flow,
        metrics: Metrics,
    ) -> None:
        """`session` must not decompress; `pool` takes what blocks."""
        self.book = SourceBook(knobs.source_parallel)
        self.flow = flow
        self.peer_progress_s = 0.0
        """When a peer last delivered something (monotonic): then waiting for peers is worth it."""
        self._store, self._knobs, self._metrics = store, knobs, metrics
        self._puller = Puller(session, key, knobs, pool, flow, self.book, metrics)
        self._streams = 0
        self._freed = asyncio.Condition()

    async def blocking(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run what may wait for a disk in a thread."""
        return await self._puller.blocking(call, *args, **kwargs)

    async def gather(
        self, asset: Asset, choose: Callable[[], Candidates], progress: Progress
    ) -> None:
        """Bring every missing file of an asset that was begun; `choose` ranks its sources anew.

        Raises NotYet, or StoreError. What came before stays, and is gone on with next time.
        """
        missing = await self.blocking(self._store.missing, asset)
        progress.have_bytes = asset.bytes - sum(file.bytes for file in missing)
        attempt = _Try(asset, choose, progress)
        todo = iter(missing)
        put_off: list[NotYet] = []

        async def work() -> None:
            # What others have begun is brought to its end; nothing new is begun.
            for file in todo:
                try:
                    await self._file(attempt, file)
                except NotYet as exc:
                    put_off.append(exc)
                if put_off:
                    return

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._knobs.files_parallel, len(asset.files))):
                    group.create_task(work())
        except ExceptionGroup as errors:
            ours, faults = errors.split(OcaError)
            raise faults or (ours or errors).exceptions[0] from None
        if put_off:
            raise min(put_off, key=lambda exc: exc.quiet)

    async def _file(self, attempt: _Try, file: File) -> None:
        part = self._store.part(attempt.asset, file)
        try:
            offset = await self.blocking(part.resume)
            attempt.progress.have_bytes += offset
            writers = [(0, EARLIER)] if offset else []
            tried: dict[str, Fault] = {}
            while part.offset < file.bytes or not await self._sealed(part, writers, tried):
                await self._attempt(attempt, part, writers, tried)
        finally:
            part.close()

    async def _attempt(
        self,
        attempt: _Try,
        part: PartFile,
        writers: list[tuple[int, str]],
        tried: dict[str, Fault],
    ) -> None:
        """Ask one source for the rest of a file; note what it did. Raises NotYet, StoreError."""
        source = await self._turn(attempt, tried)

        def started(offset: int) -> None:
            if source.kind is SourceKind.PEER:
                self.peer_progress_s = time.monotonic()
            if not offset:
                writers.clear()
            writers.append((offset, source.id))

        try:
            await self._puller.pull(source, attempt.asset.id, part, attempt.progress, started)
        except WrongBytes as exc:
            self._accuse(part, writers, tried, str(exc))
        except SourceFault as exc:
            (attempt.absent if exc.fault in QUIET else tried)[source.id] = exc.fault
            if exc.fault is Fault.COMING:
                attempt.progress.hope_s = time.monotonic()
            self._blame(source.id, exc.fault, part.file.name, exc.detail)
        finally:
            self.book.end(source.id)
            self._streams -= 1
            async with self._freed:
                self._freed.notify_all()

    async def _turn(self, attempt: _Try, tried: dict[str, Fault]) -> Source:
        """The best source that may be asked, once it bears one more request; raises NotYet."""
        while True:
            ranked = attempt.ranked(tried, self.book)
            if not ranked:
                raise NotYet({**attempt.absent, **tried})
            if self._streams < self.flow.streams_max:
                for source in ranked:
                    if self.book.has_room(source.id):
                        self.book.begin(source.id)
                        self._streams += 1
                        return source
            async with self._freed:
                try:
                    await asyncio.wait_for(self._freed.wait(), LOOK_S)
                except TimeoutError:
                    continue

    async def _sealed(
        self, part: PartFile, writers: list[tuple[int, str]], tried: dict[str, Fault]
    ) -> bool:
        try:
            await self.blocking(part.seal)
        except WrongBytes as exc:
            self._accuse(part, writers, tried, str(exc))
            return False
        return True

    def _accuse(
        self,
        part: PartFile,
        writers: list[tuple[int, str]],
        tried: dict[str, Fault],
        detail: str,
    ) -> None:
        """Wrong bytes have one author, or they are fetched again to see whose they were."""
        named = suspects(writers, part.offset)
        writers.clear()
        if len(named) == 1 and named[0] != EARLIER:
            tried[named[0]] = Fault.WRONG
            self._blame(named[0], Fault.WRONG, part.file.name, detail)

    def _blame(self, source: str, fault: Fault, name: str, detail: str) -> None:
        self.book.blame(source, fault, time.monotonic(), random.random())
        self._metrics.faults.labels(source, fault.value).inc()
        if fault in LIES:
            _log.error("source struck off", source=source, fault=fault, file=name, why=detail)
        elif fault not in QUIET:
            _log.warning("source failed", source=source, fault=fault, file=name, why=detail)
