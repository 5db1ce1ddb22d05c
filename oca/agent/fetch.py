"""Fetch one asset: its files by range from whoever has them, verified while they stream in.

The loop never touches a disk: writing and hashing run in `pool`. What is wrong is cut off before it
is renamed, so nothing that a source sends can become visible unless it is what the catalogue says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

import aiohttp

from oca.agent.answer import SourceFault, judge, range_headers, suspects
from oca.agent.bucket import Bucket
from oca.agent.knobs import Fill
from oca.agent.metrics import Metrics
from oca.agent.sources import LIES, QUIET, Candidates, Fault, SourceBook
from oca.partfile import PartFile, WrongBytes
from oca.store import Store
from wire.auth import LIFE_S, bearer
from wire.catalogue import Asset, File
from wire.errors import OcaError
from wire.keys import SigningKey
from wire.log import get
from wire.plan import Source, SourceKind

P = ParamSpec("P")
R = TypeVar("R")

BATCH_BYTES = 1024 * 1024
"""Handed to a thread at once: the hand-over (~50 µs) is lost in the hashing (~1 ms)."""
PACE_MIN_BYTES_S = 8 * 1024
"""A source slower than this, time waiting for it counted alone, is as good as stalled."""
PROOF_S = LIFE_S / 2
"""A signature for a source is used this long: no request begins with one about to expire."""
EARLIER = ""
"""The writer of what an earlier life of the agent left."""

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


class Fetcher:
    """Pulls assets into the store. One for all of an agent's fetching: the rate is shared."""

    def __init__(
        self,
        store: Store,
        session: aiohttp.ClientSession,
        key: SigningKey,
        knobs: Fill,
        pool: Executor,
        metrics: Metrics,
    ) -> None:
        """`session` must not decompress; `pool` takes what blocks."""
        self.book = SourceBook()
        self.peer_progress_s = 0.0
        """When a peer last delivered something (monotonic): then waiting for peers is worth it."""
        self._store, self._session, self._key, self._knobs = store, session, key, knobs
        self._pool, self._metrics = pool, metrics
        self._proofs: dict[str, tuple[float, str]] = {}
        self._bucket = Bucket(knobs.rate_bps, time.monotonic())

    async def blocking(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run what may wait for a disk in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: call(*args, **kwargs))

    async def gather(self, asset: Asset, choose: Callable[[], Candidates]) -> None:
        """Bring every missing file of an asset that was begun; `choose` ranks its sources anew.

        Raises NotYet, or StoreError. What came before stays, and is gone on with next time.
        """
        absent: dict[str, Fault] = {}
        todo = iter(await self.blocking(self._store.missing, asset))

        async def work() -> None:
            for file in todo:
                await self._file(asset, file, choose, absent)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._knobs.files_parallel, len(asset.files))):
                    group.create_task(work())
        except ExceptionGroup as errors:
            ours, faults = errors.split(OcaError)
            raise faults or _worst(ours or errors) from None

    async def _file(
        self,
        asset: Asset,
        file: File,
        choose: Callable[[], Candidates],
        absent: dict[str, Fault],
    ) -> None:
        part = self._store.part(asset, file)
        try:
            offset = await self.blocking(part.resume)
            writers = [(0, EARLIER)] if offset else []
            tried: dict[str, Fault] = {}
            while part.offset < file.bytes or not await self._sealed(part, writers, tried):
                source = _next(choose(), absent, tried)
                if source is None:
                    raise NotYet({**absent, **tried})
                await self._attempt(source, asset, part, writers, absent, tried)
        finally:
            part.close()

    async def _attempt(
        self,
        source: Source,
        asset: Asset,
        part: PartFile,
        writers: list[tuple[int, str]],
        absent: dict[str, Fault],
        tried: dict[str, Fault],
    ) -> None:
        """Ask one source for the rest of a file; note what it did."""
        try:
            await self._pull(source, asset, part, writers)
            self.book.praise(source.id, time.monotonic())
        except WrongBytes as exc:
            self._accuse(part, writers, tried, str(exc))
        except SourceFault as exc:
            (absent if exc.fault in QUIET else tried)[source.id] = exc.fault
            self._blame(source.id, exc.fault, part.file.name, exc.detail)

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
        self.book.blame(source, fault, time.monotonic())
        self._metrics.faults.labels(source, fault.value).inc()
        if fault not in QUIET:
            log = _log.error if fault in LIES else _log.warning
            log("source failed", source=source, fault=fault.value, file=name, why=detail)

    async def _pull(
        self, source: Source, asset: Asset, part: PartFile, writers: list[tuple[int, str]]
    ) -> None:
        url = f"{source.url}/a/{asset.id}/{part.file.name}"
        headers = range_headers(part.file, part.offset)
        headers["Authorization"] = self._proof(source.id)
        async with (
            _translated(),
            self._session.get(
                url, headers=headers, allow_redirects=False, timeout=self._timeout()
            ) as response,
        ):
            start = judge(response.status, response.headers, part.file, part.offset)
            if source.kind is SourceKind.PEER:
                self.peer_progress_s = time.monotonic()
            if start < part.offset:
                await self.blocking(part.restart)
                writers.clear()
            writers.append((start, source.id))
            await self._stream(response, part, source.kind)
        if part.offset < part.file.bytes:
            raise SourceFault(Fault.SHORT, f"{part.offset} of {part.file.bytes} bytes came")

    def _proof(self, source: str) -> str:
        """A signature for a source, used again for a while: many files are small."""
        now_s = time.time()
        made_s, text = self._proofs.get(source, (0.0, ""))
        if not 0 <= now_s - made_s < PROOF_S:
            text = bearer(self._key, source, now_s)
            self._proofs[source] = (now_s, text)
        return text

    def _timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=None, sock_connect=self._knobs.connect_s, sock_read=self._knobs.stall_s
        )

    async def _stream(
        self, response: aiohttp.ClientResponse, part: PartFile, kind: SourceKind
    ) -> None:
        """Read and write side by side: while a thread takes one batch, the next one comes."""
        batch: list[bytes] = []
        batch_bytes = 0
        writing: asyncio.Future[None] | None = None
        counted = self._metrics.fetched_bytes.labels(kind.value)
        try:
            async for data in self._paced(response):
                batch.append(data)
                batch_bytes += len(data)
                counted.inc(len(data))
                if batch_bytes >= BATCH_BYTES:
                    if writing is not None:
                        await writing
                    writing = asyncio.ensure_future(self.blocking(part.write, batch))
                    batch, batch_bytes = [], 0
        finally:
            # Also when the source broke off: what came is kept, and gone on with.
            if writing is not None:
                await writing
            if batch:
                await self.blocking(part.write, batch)

    async def _paced(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body, within the rate; raises SourceFault when it only trickles."""
        waited_s, came_bytes = 0.0, 0
        before_s = time.monotonic()
        async for data in response.content.iter_any():
            now_s = time.monotonic()
            waited_s += now_s - before_s
            came_bytes += len(data)
            if waited_s > self._knobs.stall_s and came_bytes < waited_s * PACE_MIN_BYTES_S:
                raise SourceFault(Fault.STALLED, f"{came_bytes} bytes in {waited_s:.0f} s")
            yield data
            pause_s = self._bucket.take(len(data), time.monotonic())
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            before_s = time.monotonic()


def _next(now: Candidates, absent: dict[str, Fault], tried: dict[str, Fault]) -> Source | None:
    return next((s for s in now.sources if s.id not in absent and s.id not in tried), None)


def _worst(errors: ExceptionGroup[Exception]) -> Exception:
    """One error for several files: a disk's before a source's, a failure before a not-yet."""
    return max(
        errors.exceptions, key=lambda e: (not isinstance(e, NotYet), not getattr(e, "quiet", False))
    )


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Foreign exceptions become SourceFault, once, here."""
    try:
        yield
    except aiohttp.SocketTimeoutError as exc:
        raise SourceFault(Fault.STALLED, "no byte came in time") from exc
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
        raise SourceFault(Fault.UNREACHABLE, str(exc)[:200]) from exc
    except aiohttp.ClientPayloadError as exc:
        raise SourceFault(Fault.SHORT, str(exc)[:200]) from exc
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise SourceFault(Fault.RESET, str(exc)[:200]) from exc
    except (aiohttp.ClientError, ValueError) as exc:
        raise SourceFault(Fault.PROTOCOL, str(exc)[:200]) from exc
