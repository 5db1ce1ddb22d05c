"""One request to one source: the rest of a file streams into its part, checked, paced, counted.

The loop never touches a disk: writing and hashing run in threads. What is wrong is cut off before
it is renamed, so nothing that a source sends can become visible unless the catalogue says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

import aiohttp

from oca.agent.answer import SourceFault, judge, range_headers
from oca.agent.flow import Flow
from oca.agent.knobs import Fill
from oca.agent.metrics import Metrics
from oca.agent.progress import Progress
from oca.agent.sources import Fault, SourceBook
from oca.partfile import PartFile
from wire.auth import LIFE_S, bearer
from wire.keys import SigningKey
from wire.plan import Source

P = ParamSpec("P")
R = TypeVar("R")

BATCH_BYTES = 1024 * 1024
"""Handed to a thread at once: the hand-over (~50 µs) is lost in the hashing (~1 ms)."""
PACE_MIN_BYTES_S = 8 * 1024
"""A source slower than this, time waiting for it counted alone, is as good as stalled."""
PROOF_S = LIFE_S / 2
"""A signature for a source is used this long: no request begins with one about to expire."""


class Puller:
    """Speaks HTTP to sources. One for all of an agent's fetching: the flow is shared."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        key: SigningKey,
        knobs: Fill,
        pool: Executor,
        flow: Flow,
        book: SourceBook,
        metrics: Metrics,
    ) -> None:
        """`session` must not decompress; `pool` takes what blocks; `book` hears who delivers."""
        self._session, self._key, self._knobs, self._pool = session, key, knobs, pool
        self._flow, self._book, self._metrics = flow, book, metrics
        self._proofs: dict[str, tuple[float, str]] = {}

    async def blocking(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run what may wait for a disk in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: call(*args, **kwargs))

    async def pull(
        self,
        source: Source,
        asset: int,
        part: PartFile,
        progress: Progress,
        on_start: Callable[[int], None],
    ) -> None:
        """Ask for what is missing of a file; `on_start` hears at which offset the answer begins.

        Raises SourceFault, WrongBytes or StoreError; what came before stays, as far as it is right.
        """
        url = f"{source.url}/a/{asset}/{part.file.name}"
        headers = range_headers(part.file, part.offset)
        headers["Authorization"] = self._proof(source.id)
        asked_s = time.monotonic()
        async with (
            _translated(),
            self._session.get(
                url, headers=headers, allow_redirects=False, timeout=self._timeout()
            ) as response,
        ):
            start = judge(response.status, response.headers, part.file, part.offset)
            first_byte_s = time.monotonic() - asked_s
            if start < part.offset:
                progress.have_bytes -= part.offset
                await self.blocking(part.restart)
            on_start(start)
            await self._stream(response, part, source, progress)
        if part.offset < part.file.bytes:
            raise SourceFault(Fault.SHORT, f"{part.offset} of {part.file.bytes} bytes came")
        self._book.praise(source.id, time.monotonic(), first_byte_s)

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
        self, response: aiohttp.ClientResponse, part: PartFile, source: Source, progress: Progress
    ) -> None:
        """Read and write side by side: while a thread takes one batch, the next one comes."""
        batch: list[bytes] = []
        batch_bytes = 0
        writing: asyncio.Future[None] | None = None
        counted = self._metrics.fetched_bytes.labels(source.kind.value)
        standing = self._book.of(source.id)
        try:
            async for data in self._paced(response):
                batch.append(data)
                batch_bytes += len(data)
                counted.inc(len(data))
                standing.bytes += len(data)
                progress.came(source.id, len(data), time.monotonic())
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
            pause_s = self._flow.came(len(data), time.monotonic())
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            before_s = time.monotonic()


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
