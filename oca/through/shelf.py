"""A worker's open chunks: those stored, and those that are growing while they are sent.

An adapter. A stored chunk is opened by its name, without a word to the fetcher: what has the name
is whole. The loop opens only what the kernel knows already (oca.opening), threads open the rest.
One that is being fetched comes as an open file, of which so many bytes may be sent.
"""

from __future__ import annotations

import math
import os
from array import array
from collections import OrderedDict

from oca.files import Entry
from oca.http.respond import Facts
from oca.opening import Opener
from oca.through.chunks import TRAILER_BYTES
from oca.through.disk import chunk_path
from oca.through.region import ChunkKey


class ChunkFile(Entry):
    """An open chunk: `bytes` of it may be sent; `whole` when no more come, `last` of its object."""

    __slots__ = ("bytes", "last", "stored", "whole")

    def __init__(self, fd: int, count: int, *, whole: bool) -> None:
        """Takes over the descriptor."""
        self.facts = Facts(count, b"", 0, b"", b"")
        self.fd, self.body, self.identity = fd, None, (0, 0, 0, 0, 0)
        self.ok_tail = self.part_tail = b""
        self.check_at_s = math.inf
        self.users = 0
        self.used = True
        self._warm = array("I")
        self.bytes, self.whole, self.last, self.stored = count, whole, False, whole

    def hold(self) -> None:
        """Keep it open until `release`."""
        self.users += 1

    def grow(self, count: int) -> None:
        """So many bytes are there now."""
        self.bytes = count


class ChunkShelf:
    """Open chunks by (version, number); the one not asked for lately is closed first (CLOCK)."""

    def __init__(self, folder: str, open_max: int) -> None:
        """`folder` is the region's; at most `open_max` whole chunks are open."""
        self._opener = Opener()
        self._folder, self._max = folder, open_max
        self._files: OrderedDict[ChunkKey, ChunkFile] = OrderedDict()

    def get(self, key: ChunkKey) -> ChunkFile | None:
        """An open chunk, or one that is stored and can be opened at once; else None: ask for it."""
        file = self._files.get(key)
        if file is not None:
            file.used = True
            return file
        try:
            return self.land(key, *self.open(key, wait=False))
        except OSError:
            return None

    def open(self, key: ChunkKey, *, wait: bool) -> tuple[int, int]:
        """(descriptor, bytes) of a stored chunk: for a thread when it may wait; raises OSError."""
        fd, st = self._opener.open_own(chunk_path(self._folder, *key), wait=wait)
        return fd, st.st_size - TRAILER_BYTES

    def land(self, key: ChunkKey, fd: int, count: int) -> ChunkFile:
        """An opened chunk takes its place; if that is taken, the descriptor is closed."""
        file = self._files.get(key)
        if file is not None:
            os.close(fd)
            return file
        file = ChunkFile(fd, count, whole=True)
        self._keep(key, file)
        return file

    def holds(self, key: ChunkKey, end: int, unknown: bool) -> bool:
        """Whether a chunk is there up to `end`; `unknown` when one would have to wait to know."""
        file = self._files.get(key)
        if file is not None:
            return file.bytes >= end
        try:
            self._opener.stat(os.fsencode(chunk_path(self._folder, *key)))
        except BlockingIOError:
            return unknown
        except OSError:
            return False
        return True

    def growing(self, key: ChunkKey) -> ChunkFile | None:
        """An open chunk, whole or not."""
        return self._files.get(key)

    def begin(self, key: ChunkKey, fd: int, count: int) -> None:
        """A chunk that is being fetched; one of the same name is replaced: its fetch began anew."""
        self.drop(key)
        self._keep(key, ChunkFile(fd, count, whole=False))

    def drop(self, key: ChunkKey) -> None:
        """It was evicted, or replaced; who is sending it may finish."""
        file = self._files.pop(key, None)
        if file is not None:
            file.forget()

    def drop_growing(self) -> None:
        """The fetcher is gone, and what it was writing comes no further."""
        for key in [key for key, file in self._files.items() if not file.whole]:
            self.drop(key)

    def clear(self) -> None:
        """Close everything."""
        for key in list(self._files):
            self.drop(key)

    def _keep(self, key: ChunkKey, file: ChunkFile) -> None:
        self._files[key] = file
        turns = 2 * len(self._files)
        while len(self._files) > self._max and turns > 0:
            turns -= 1
            oldest, victim = self._files.popitem(last=False)
            if victim is file or victim.used or not victim.whole:
                victim.used = False
                self._files[oldest] = victim
            else:
                victim.forget()
