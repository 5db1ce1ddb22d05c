"""Joins demand, disk and workers: who wants which chunk, what is being fetched, what must leave.

An adapter (files, threads). All state changes in the loop; the disk is used by threads: names by
one thread alone, so that an unlink never overtakes the link that came after it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from oca.through.demand import SKIP_MAX, Window, covered, runs
from oca.through.disk import Kept, Meta, Part, Room
from oca.through.doubts import Doubts
from oca.through.flight import Flight
from oca.through.knobs import Through
from oca.through.links import Link
from oca.through.messages import (
    BATCH_MAX,
    Begun,
    Done,
    Dropped,
    Evicted,
    FromFetcher,
    Gone,
    Grown,
    Want,
)
from oca.through.region import ChunkKey, Region
from oca.through.upstream import Upstream
from oca.through.versions import HUGE, Book, Known, Version
from wire.log import get

WRITERS = 4  # threads: one disk, and a write may wait for it
CHANGED, FAILED = 409, 502
Stream = tuple[Link, int]
_log = get("through")


class Hub:
    """The state of one fetcher."""

    def __init__(self, room: Room, region: Region, upstream: Upstream, knobs: Through) -> None:
        """Nothing is known yet: `restore` what the disk has."""
        self.room, self.region, self.upstream, self.knobs = room, region, upstream, knobs
        self.book = Book()
        self.links: set[Link] = set()
        self._streams: dict[Stream, Version] = {}
        self._names = ThreadPoolExecutor(1, "names")
        self.writers = ThreadPoolExecutor(WRITERS, "writer")
        self._tasks: set[asyncio.Task[None]] = set()
        self._doubts = Doubts(self._on_bad)

    def close(self) -> None:
        """The threads end; what was asked of them is done first."""
        for task in self._tasks:
            task.cancel()
        self._doubts.close()
        self.writers.shutdown(wait=True)
        self._names.shutdown(wait=True)

    def start(self, task: asyncio.Task[None]) -> None:
        """Keep a task until it ends, and say when it fails by a fault of ours."""
        self._tasks.add(task)
        task.add_done_callback(self._on_task)

    def _on_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("fault", exc_info=task.exception())

    def know(self, key: str) -> Known:
        """What is known of a key; others may be forgotten for it."""
        known = self.book.know(key)
        for other in list(self.book.forgettable()):
            if other.version is not None:
                self.end(other.version, "forgotten")
            self.book.forget(other)
        return known

    def tell(self, message: FromFetcher) -> None:
        """Every worker."""
        for link in list(self.links):
            link.send(message)

    # --- what workers want -----------------------------------------------------------------------

    def want(self, link: Link, want: Want) -> None:
        """A stream's window, new or moved."""
        version = self.book.versions.get(want.version)
        if version is None:
            link.send(Gone(want.id, CHANGED, "no such version"))
            return
        stream = (link, want.id)
        last = min(want.last, version.chunks - 1)
        window = Window(want.low, min(want.high, last), last)
        before = version.demand.windows.get(stream)
        version.demand.windows[stream] = window
        self._streams[stream] = version
        for number in range(window.low, window.high + 1):
            if before is None or not before.low <= number <= before.high:
                self._ask_for(link, version, number)
        self._release(version, before)
        self.plan(version)

    def _ask_for(self, link: Link, version: Version, number: int) -> None:
        """A stream wants a chunk that it did not want before."""
        if number in version.held:
            link.send(Done(version.name, number, version.length_of(number), True))
            return
        if not version.alone and version.size is not None:
            self.evict(self.region.want((version.name, number), version.length_of(number)))
        part = version.filling.get(number)
        if part is not None:
            self._begun(version, number, {link})

    def leave(self, link: Link, stream: int) -> None:
        """A stream is over."""
        version = self._streams.pop((link, stream), None)
        if version is not None:
            before = version.demand.windows.pop((link, stream), None)
            self._release(version, before)
            self.tidy(version)

    def lose(self, link: Link) -> None:
        """A worker is gone, and all its streams."""
        self.links.discard(link)
        for stream in [stream for stream in self._streams if stream[0] is link]:
            self.leave(*stream)
        for version in self.book.versions.values():
            for watchers in version.watchers.values():
                watchers.discard(link)

    def _release(self, version: Version, before: Window | None) -> None:
        """Room reserved for chunks that nobody wants any more is free again."""
        if before is not None:
            self.region.forget(
                (version.name, number)
                for number in range(before.low, before.high + 1)
                if not version.has(number) and not version.demand.wants(number)
            )
        for flight in version.flights:
            flight.wake()

    def plan(self, version: Version) -> None:
        """Begin the fetches that are missing."""
        if version.fate:
            self._give_up(version, CHANGED, version.fate)
            return
        wanted = [number for number in version.demand.wanted() if number < version.chunks]
        reached: set[int] = set()
        for flight in version.flights:
            skip = HUGE if flight.dense else SKIP_MAX
            reached |= covered(flight.at, flight.end, wanted, skip)
        missing = [n for n in wanted if n not in reached and not version.has(n)]
        if version.alone:
            if missing and not version.flights:
                self.end(version, "its only answer is over")
            return
        if not missing:
            return
        for first, last in runs(version.demand, version.has, reached):
            if not version.is_joinable:
                self.end(version, "cannot be asked for in parts")
                return
            if not version.ranges:
                first, last = 0, version.chunks - 1
            self.fly(Flight(self, version, first, last, dense=not version.ranges))
            if not version.ranges:
                return

    def fly(self, flight: Flight) -> None:
        """Let a fetch run."""
        flight.version.flights.append(flight)
        self.start(asyncio.create_task(flight.run()))

    def landed(self, flight: Flight, status: int, why: str) -> None:
        """A fetch is over; `status` 0 when all was well, else what readers are told."""
        version = flight.version
        version.flights.remove(flight)
        if status:
            _log.warning("fetch failed", key=version.key[:256], why=why)
        if version.alone and version.held:
            self.end(version, "it did not come whole")
        elif not version.flights and version.is_lame():
            self.end(version, "what is missing of it could not be joined to it")
        elif status:
            self._give_up(version, status, why)
        else:
            self.plan(version)
        self.tidy(version)

    def _give_up(self, version: Version, status: int, why: str) -> None:
        """Those who want what nobody is going to fetch are told so."""
        wanted = version.demand.wanted()
        reached: set[int] = set()
        for flight in version.flights:
            reached |= covered(flight.at, flight.end, wanted)
        for stream, window in list(version.demand.windows.items()):
            numbers = range(window.low, window.high + 1)
            if all(version.has(n) or n in reached for n in numbers) or not isinstance(
                stream, tuple
            ):
                continue
            link, number = stream
            link.send(Gone(number, status, why))
            self.leave(link, number)

    # --- what is fetched -------------------------------------------------------------------------

    def begin(self, version: Version, number: int, part: Part) -> None:
        """A chunk's first bytes are about to come."""
        version.filling[number] = part
        version.watchers[number] = set()
        links = {who[0] for who in version.demand.who(number) if isinstance(who, tuple)}
        self._begun(version, number, links)

    def _begun(self, version: Version, number: int, links: Iterable[Link]) -> None:
        part, watchers = version.filling[number], version.watchers[number]
        for link in links:
            if link not in watchers:
                watchers.add(link)
                link.send(Begun(version.name, number, part.bytes), part.fd)

    def grown(self, version: Version, number: int) -> None:
        """More of a chunk is there."""
        message = Grown(version.name, number, version.filling[number].bytes)
        for link in version.watchers[number]:
            if isinstance(link, Link):
                link.send(message)

    async def finish(self, version: Version, number: int, part: Part, *, end: bool) -> None:
        """A chunk is whole: it gets its name, or is gone with its last reader."""
        key = (version.name, number)
        stored = False
        if version.alone and version.whole_only and part.bytes and not version.fate:
            self.evict(self.region.want(key, part.bytes))  # what it has not is not admitted below
        if not version.fate and self.region.admits(key):
            stored = await self._store(version, number, part)
        del version.filling[number]
        if stored and self.region.admits(key) and not version.fate:
            version.held.add(number)
        else:
            self.region.forget((key,))
            if stored:
                self._unlink(version, [number])
                stored = False
        if end and version.whole_only and version.alone and not version.fate:
            await self._keep_whole(version)
        for link in version.watchers.pop(number):
            if isinstance(link, Link):
                link.send(Done(version.name, number, part.bytes, stored, end))
        if stored:
            self._doubts.add(version.name, number, part.give_away())
        part.close()

    async def _keep_whole(self, version: Version) -> None:
        """What was for one client alone has come to its end, and is everybody's if all is held."""
        known = self.book.know(version.key)
        if known.version is not None or not version.size or len(version.held) < version.chunks:
            return
        write = partial(self.room.write_meta, meta_of(version))
        version.persisted = await asyncio.get_running_loop().run_in_executor(self._names, write)
        if version.persisted and known.version is None and len(version.held) == version.chunks:
            version.alone, known.version, known.pass_until_s = False, version, 0.0

    def _on_bad(self, name: str, number: int, fault: OSError) -> None:
        """The disk did not take a stored chunk, and what it has instead nobody knows."""
        _log.error("a stored chunk was not written, it is dropped", why=fault.strerror)
        version = self.book.versions.get(name)
        if version is not None and number in version.held:
            self.region.forget([(name, number)])
            self.evict([(name, number)])

    async def _store(self, version: Version, number: int, part: Part) -> bool:
        loop = asyncio.get_running_loop()
        if not version.persisted and not version.alone:
            version.persisted = True
            meta = meta_of(version)
            if not await loop.run_in_executor(self._names, self.room.write_meta, meta):
                version.persisted = False
                return False
        store = partial(self.room.store, part, version.name, number)
        return await loop.run_in_executor(self._names, store)

    def spare(self, version: Version, number: int, part: Part) -> Part:
        """The disk takes no more: go on in memory with the bytes that are there; raises OSError."""
        _log.error("no room on the disk, a chunk is served from memory", key=version.key[:256])
        spare = self.room.memory_part(version.name, number)
        spare.write(os.pread(part.fd, part.bytes, 0))
        version.filling[number] = spare
        watchers, version.watchers[number] = version.watchers[number], set()
        self._begun(version, number, (link for link in watchers if isinstance(link, Link)))
        part.close()
        return spare

    def drop_part(self, version: Version, number: int, part: Part) -> None:
        """A chunk will not be whole."""
        version.filling.pop(number, None)
        version.watchers.pop(number, None)
        self.region.forget([(version.name, number)])
        part.close()

    # --- what leaves -----------------------------------------------------------------------------

    def evict(self, victims: Iterable[ChunkKey]) -> None:
        """The policy turned these out."""
        gone: list[ChunkKey] = []
        for name, number in victims:
            version = self.book.versions.get(name)
            if version is not None and number in version.held:
                version.held.discard(number)
                gone.append((name, number))
                self._unlink(version, [number])
                if version.is_lame():
                    self.end(version, "what is missing of it could not be joined to it")
                self.tidy(version)
        for at in range(0, len(gone), BATCH_MAX):
            self.tell(Evicted(gone[at : at + BATCH_MAX]))

    def _unlink(self, version: Version, numbers: list[int], *, meta: bool = False) -> None:
        self._names.submit(partial(self.room.remove, version.name, numbers, meta=meta))

    def rewrite(self, meta: Meta) -> None:
        """What is known of a stored version is other than it was."""
        self._names.submit(self.room.write_meta, meta)

    def end(self, version: Version, why: str) -> None:
        """No more of this version: the object changed, or nothing can be joined to it."""
        if version.fate:
            return
        version.fate = why
        known = self.book.know(version.key)
        if known.version is version:
            known.version = None
        self.tell(Dropped([version.key]))
        numbers = sorted(version.held)
        version.held.clear()
        self.region.forget((version.name, number) for number in numbers)
        self._unlink(version, numbers, meta=True)
        self.tell_evicted(version, numbers)
        for flight in version.flights:
            flight.wake()
        self._give_up(version, CHANGED, why)
        self.tidy(version)

    def purge(self, keys: Sequence[str], *, below: bool) -> int:
        """Forget objects at once, also for those who are reading them; how many were there."""
        found = self.book.matching(keys, below=below)
        count = sum(known.version is not None or known.short is not None for known in found)
        for known in found:
            self.book.set_short(known, None)
        names = {known.key for known in found}
        for version in [v for v in self.book.versions.values() if v.key in names]:
            self.end(version, "purged")
        if count:
            _log.info("purged", objects=count)
        return count

    def tell_evicted(self, version: Version, numbers: list[int]) -> None:
        """Workers let go of these."""
        for at in range(0, len(numbers), BATCH_MAX):
            self.tell(Evicted([(version.name, n) for n in numbers[at : at + BATCH_MAX]]))

    def lost(self, name: str, number: int) -> None:
        """A stored chunk is not there: somebody removed it."""
        version = self.book.versions.get(name)
        if version is not None and number in version.held:
            version.held.discard(number)
            self.region.forget([(name, number)])
            self.plan(version)

    def hits(self, chunks: Iterable[ChunkKey]) -> None:
        """Workers served these from the disk."""
        for name, number in chunks:
            version = self.book.versions.get(name)
            if version is not None and number in version.held:
                self.evict(self.region.hit((name, number), version.length_of(number)))

    def tidy(self, version: Version) -> None:
        """A version of which nothing is left needs no file, and no place if it is not the key's."""
        if not version.is_idle():
            return
        if version.persisted:
            version.persisted = False
            self._unlink(version, [], meta=True)
        if version.fate or version.alone:
            self.book.versions.pop(version.name, None)

    # --- the beginning ---------------------------------------------------------------------------

    def restore(self, found: Iterable[Kept]) -> int:
        """Take up what the disk has, of two versions the later; returns how many chunks."""
        count = 0
        victims: list[ChunkKey] = []
        chunks = []
        for kept in sorted(found, key=lambda kept: -kept.meta.freshness.at_s):
            version = version_of(kept.meta)
            known = self.book.know(version.key)
            if known.version is not None or not kept.chunks:
                self._unlink(version, [number for number, _, _ in kept.chunks], meta=True)
                continue
            known.version = version
            self.book.add(version)
            chunks += [(at_s, version, number, size) for number, size, at_s in kept.chunks]
        for _, version, number, length in sorted(chunks, key=lambda chunk: chunk[0]):
            if length == version.length_of(number):
                for _ in range(1 + self.knobs.second_request):
                    victims += self.region.want((version.name, number), length)
            if self.region.admits((version.name, number)):
                version.held.add(number)
                count += 1
            else:
                self._unlink(version, [number])
            self.evict(victims)
            victims.clear()
        for version in [version for version in self.book.versions.values() if version.is_lame()]:
            self.end(version, "not all of it survived")
        return count


def meta_of(version: Version) -> Meta:
    """What its file says."""
    return Meta(
        version=version.name,
        key=version.key,
        validators=version.validators,
        freshness=version.freshness,
        media_type=version.media_type,
        lines=version.lines,
        date=version.date,
        ranges=version.ranges,
        whole_only=version.whole_only,
    )


def version_of(meta: Meta) -> Version:
    """A version as its file says."""
    version = Version(
        meta.version,
        meta.key,
        meta.validators,
        meta.freshness,
        media_type=meta.media_type,
        lines=meta.lines,
        date=meta.date,
        ranges=meta.ranges,
    )
    version.persisted, version.whole_only = True, meta.whole_only
    return version
