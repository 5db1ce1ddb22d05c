"""One fetch of a run of chunks: reads what is wanted, goes on after a cut, never mixes versions.

An adapter (asyncio). It waits at a chunk that nobody wants yet, and ends when nobody comes to want
it; so a client that leaves, or reads slowly, costs neither memory nor the upstream's bytes.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from oca.through.chunks import chunk_at, start_of_chunk
from oca.through.demand import SKIP_MAX
from oca.through.disk import Part
from oca.through.upstream import Response, UpstreamError
from oca.through.verdict import Asked, Body, judge
from oca.through.versions import HUGE, Version

if TYPE_CHECKING:
    from oca.through.hub import Hub

TRIES_MAX = 3
"""Requests in a row that bring nothing, before those who wait are told."""

TRIES_ALL_MAX = 20  # however much each of them brought
AT_ONCE_BYTES = 64 * 1024
"""The first bytes of a chunk are written by the loop (20 µs): somebody waits for them, and a thread
would have to wait for the interpreter's lock first."""

LINGER_STEP_S = 0.25
PAUSE_S = 0.1  # doubled from try to try


class _EndedError(Exception):
    """Nobody wants more of it."""


class Flight:
    """From chunk `at` to chunk `end` of one version; `dense`: through whatever is in between."""

    def __init__(
        self, hub: Hub, version: Version, first: int, last: int, *, dense: bool = False
    ) -> None:
        """Nothing is asked before `run`."""
        self._hub, self.version = hub, version
        self.at, self.end, self.dense = first, last, dense
        self._position = start_of_chunk(first)  # of the next byte
        self._ignore = 0  # bytes that come before it
        self._part: Part | None = None
        self._skipping = False
        self._pulse = asyncio.Event()
        self._response: Response | None = None

    def wake(self) -> None:
        """The demand has changed."""
        self._pulse.set()

    def take_over(self, response: Response) -> None:
        """An answer that begins at our position has come already."""
        self._response = response

    async def run(self) -> None:
        """Until its end, or nobody wants more, or it fails for good."""
        status, why = 0, ""
        try:
            await self._fetch()
        except _EndedError:
            pass
        except UpstreamError as exc:
            status, why = exc.status, exc.why
        except OSError as exc:
            status, why = 503, f"disk: {exc.strerror}"
        finally:
            if self._response is not None:
                self._response.close()
            if self._part is not None:
                self._hub.drop_part(self.version, self.at, self._part)
            self._hub.landed(self, status, why)

    async def _fetch(self) -> None:
        fruitless, tries = 0, 0
        while True:
            before = self._position
            try:
                if self._response is None:
                    self._response = await self._ask()
                await self._read(self._response)
                return
            except UpstreamError:
                fruitless = 0 if self._position > before else fruitless + 1
                tries += 1
                if not self._may_go_on() or fruitless >= TRIES_MAX or tries >= TRIES_ALL_MAX:
                    raise
            finally:
                if self._response is not None:
                    self._response.close()
                    self._response = None
            await asyncio.sleep(PAUSE_S * 2**fruitless)

    def _may_go_on(self) -> bool:
        version = self.version
        return not version.alone and not version.fate and version.is_joinable

    # --- asking ----------------------------------------------------------------------------------

    async def _ask(self) -> Response:
        """Ask for what is left of the run, of this version only."""
        version, asked = self.version, Asked()
        extra: dict[str, str] = {}
        if version.ranges:
            last = min(start_of_chunk(self.end + 1), version.validators.size) - 1
            asked = Asked(self._position, last)
            extra = {"Range": f"bytes={self._position}-{last}", **version.validators.if_range}
        response = await self._hub.upstream.ask("GET", version.key, extra)
        try:
            self._check(response, asked)
        except BaseException:
            response.close()
            raise
        return response

    def _check(self, response: Response, asked: Asked) -> None:
        verdict = judge(response.status, response.headers, asked, time.time())
        if not isinstance(verdict, Body):
            status = response.status
            if status in (404, 410, 416):
                self._hub.end(self.version, f"upstream says {status}")
            raise UpstreamError(502, f"upstream says {status}")
        if not verdict.validators.same(self.version.validators):
            self._hub.end(self.version, "it changed")
            raise UpstreamError(409, "it changed")
        if asked.first is not None and not verdict.ranges:
            self.version.ranges = False
            self.dense = True
        self._ignore = self._position - verdict.first

    # --- reading ---------------------------------------------------------------------------------

    async def _read(self, response: Response) -> None:
        """Take the body, chunk by chunk."""
        size = self.version.size
        end = None if size is None else min(start_of_chunk(self.end + 1), size)
        while end is None or self._position < end:
            await self._wanted()
            piece = memoryview(await response.piece())
            if not piece:
                await self._on_end(end)
                return
            if self._ignore:
                skipped = min(self._ignore, len(piece))
                self._ignore -= skipped
                piece = piece[skipped:]
            while piece and (end is None or self._position < end):
                await self._wanted()
                piece = await self._put(piece)

    async def _on_end(self, end: int | None) -> None:
        """The body is over: as it should be only where the length was not known. One that the end
        of a connection ends is whole as far as anybody can tell (RFC 9112 §8), and never kept."""
        if end is not None:
            raise UpstreamError(502, "cut short")
        if self._part is None:
            self._begin()
        self.version.ended_at(self._position)
        await self._finish(last=True)

    async def _put(self, piece: memoryview) -> memoryview:
        """Write what belongs to the present chunk; returns the rest."""
        version, size = self.version, self.version.size
        chunk_end = start_of_chunk(self.at + 1)
        if size is not None:
            chunk_end = min(chunk_end, size)
        taken = piece[: chunk_end - self._position]
        if not self._skipping:
            await self._write(taken)
            self._hub.grown(version, self.at)
        self._position += len(taken)
        if self._position == chunk_end:
            if not self._skipping:
                await self._finish()
            self._skipping = False
            self.at = chunk_at(self._position)
        return piece[len(taken) :]

    async def _write(self, data: memoryview) -> None:
        if self._part is None:
            self._begin()
        part = self._part
        if part is None:
            raise RuntimeError("no chunk was begun")
        loop = asyncio.get_running_loop()
        try:
            if not part.bytes and len(data) <= AT_ONCE_BYTES:
                part.write(data)
            else:
                await loop.run_in_executor(self._hub.writers, part.write, data)
        except OSError:
            part = self._part = self._hub.spare(self.version, self.at, part)
            await loop.run_in_executor(
                self._hub.writers, part.write, data[part.bytes - self._in_chunk :]
            )

    @property
    def _in_chunk(self) -> int:
        return self._position - start_of_chunk(self.at)

    def _begin(self) -> None:
        self._part = self._hub.room.new_part(self.version.name, self.at)
        self._hub.begin(self.version, self.at, self._part)

    async def _finish(self, *, last: bool = False) -> None:
        part, self._part = self._part, None
        if part is not None:
            await self._hub.finish(self.version, self.at, part, end=last)

    # --- is it wanted? ---------------------------------------------------------------------------

    async def _wanted(self) -> None:
        """Until the present chunk is to be read; raises _EndedError when it never will be."""
        while self._part is None and not self._skipping:
            version = self.version
            if version.fate or self.at > self.end:
                raise _EndedError
            taken, ahead = version.has(self.at), self._next_wanted()
            if ahead is not None and (self.dense or ahead - self.at <= SKIP_MAX + taken):
                self._skipping = taken
                if not taken:
                    return
            elif taken:
                raise _EndedError
            else:
                await self._linger()

    async def _linger(self) -> None:
        """Until the demand changes; raises _EndedError when it does not, or others need the turn.

        What is for one client alone could not be gone on with: it gives up its turn instead.
        """
        self._pulse.clear()
        end_s = time.monotonic() + self._hub.knobs.linger_s
        while time.monotonic() < end_s:
            try:
                await asyncio.wait_for(self._pulse.wait(), LINGER_STEP_S)
                return
            except TimeoutError:
                if self.version.alone and self._response is not None:
                    self._response.give_turn()
                    end_s = time.monotonic() + self._hub.knobs.linger_s
                    if not self.version.demand.windows:
                        raise _EndedError from None
                elif self._hub.upstream.is_crowded:
                    break
        raise _EndedError

    def _next_wanted(self) -> int | None:
        """The next chunk that somebody wants and nobody has."""
        version = self.version
        numbers = (
            number
            for window in version.demand.windows.values()
            for number in range(max(window.low, self.at), min(window.high, self.end, HUGE) + 1)
            if not version.has(number)
        )
        return min(numbers, default=None)
