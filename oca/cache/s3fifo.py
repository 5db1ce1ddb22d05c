"""S3-FIFO: three FIFO queues, of which the small one quickly drops what is asked for only once.

Follows Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction" (SOSP
2023): new keys enter a small queue; those asked for again move to the main queue (a CLOCK with
two-bit counters); those that were not leave, and their name stays in a ghost queue for a while;
whoever returns while its ghost lives enters the main queue at once. The age of a ghost is counted
in bytes evicted since, as in the paper's section on implementation.

All state is integers in dicts and deques: half a microsecond per miss, and nothing for Python's
garbage collector to walk. A hit writes one dict slot and moves nothing.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from oca.cache.policy import Key, Policy

IN_MAIN = 1
COUNT_ONE = 2
COUNT_BITS = 6
"""Two bits count further requests, as in the paper; they saturate."""
SIZE_SHIFT = 3
"""An entry is one integer: size, count and queue."""

OVERSIZE_SHARE = 0.1
"""An object above this share of the capacity must prove itself before it displaces others."""
OVERSIZE_GHOST_SHIFT = 10
"""Each oversized object that was turned away ages the ghosts by this (2^-10 of the capacity)."""
DEAD_MAX = 64
"""Forgotten keys may stand in the queues until they outnumber the held ones by this many."""


class S3Fifo(Policy):
    """S3-FIFO with its shares as attributes, so that they can be changed while it runs."""

    __slots__ = (
        "_dead_count",
        "_dead_main",
        "_dead_small",
        "_entries",
        "_evicted_bytes",
        "_filled",
        "_ghost_keys",
        "_ghost_stamps",
        "_ghosts",
        "_main",
        "_promote_bits",
        "_small",
        "_small_bytes",
        "ghost_keep_bytes",
        "ghost_max_bytes",
        "oversize_bytes",
        "small_max_bytes",
    )
    name: ClassVar[str] = "s3-fifo"

    def __init__(
        self,
        capacity_bytes: int,
        *,
        small_share: float = 0.1,
        ghost_share: float = 0.9,
        promote_at: int = 2,
        fill_main: bool = False,
    ) -> None:
        """Shares are of the capacity; `promote_at` further requests (1 to 3) earn main.

        With `fill_main`, main takes what the small queue has no room for until the first eviction.
        """
        super().__init__(capacity_bytes)
        self.small_max_bytes = int(capacity_bytes * small_share)
        self.ghost_max_bytes = int(capacity_bytes * ghost_share)
        self.ghost_keep_bytes = self.ghost_max_bytes
        self.oversize_bytes = int(capacity_bytes * OVERSIZE_SHARE)
        self._promote_bits = promote_at * COUNT_ONE
        self._filled = not fill_main
        self._entries: dict[Key, int] = {}
        self._small: deque[Key] = deque()
        self._main: deque[Key] = deque()
        self._small_bytes = 0
        self._ghosts: dict[Key, int] = {}
        self._ghost_keys: deque[Key] = deque()
        self._ghost_stamps: deque[int] = deque()
        self._evicted_bytes = 0
        self._dead_small: dict[Key, int] = {}
        self._dead_main: dict[Key, int] = {}
        self._dead_count = 0

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> list[Key]:
        """The keys held now, in no particular order."""
        return list(self._entries)

    def request(self, key: Key, size_bytes: int) -> bool:
        """A hit only counts; queues move when room is needed."""
        entry = self._entries.get(key)
        if entry is None:
            self._miss(key, size_bytes)
            return False
        if entry & COUNT_BITS != COUNT_BITS:
            self._entries[key] = entry + COUNT_ONE
        return True

    def _miss(self, key: Key, size_bytes: int) -> None:
        """Take the key in: into main if its ghost lives, into the small queue otherwise."""
        if size_bytes > self.capacity_bytes:
            return
        stamp = self._ghosts.pop(key, None)
        known = stamp is not None and self._evicted_bytes - stamp <= self.ghost_max_bytes
        if size_bytes > self.oversize_bytes and not known:
            self._remember(key, self.capacity_bytes >> OVERSIZE_GHOST_SHIFT)
            return
        if self.held_bytes + size_bytes > self.capacity_bytes:
            self._filled = True
            self._make_room(self.capacity_bytes - size_bytes)
        self.held_bytes += size_bytes
        if known or (not self._filled and self._small_bytes >= self.small_max_bytes):
            self._entries[key] = size_bytes << SIZE_SHIFT | IN_MAIN
            self._main.append(key)
        else:
            self._entries[key] = size_bytes << SIZE_SHIFT
            self._small.append(key)
            self._small_bytes += size_bytes

    def _make_room(self, room_bytes: int) -> None:
        """Evict until at most `room_bytes` are held; one loop, for it is where the time goes."""
        entries, small, main = self._entries, self._small, self._main
        while self.held_bytes > room_bytes:
            if self._small_bytes > self.small_max_bytes or not main:
                key = small.popleft()
                if self._dead_small and self._was_dead(self._dead_small, key):
                    continue
                entry = entries[key]
                size_bytes = entry >> SIZE_SHIFT
                self._small_bytes -= size_bytes
                if entry & COUNT_BITS >= self._promote_bits:
                    entries[key] = size_bytes << SIZE_SHIFT | IN_MAIN
                    main.append(key)
                    continue
                self._remember(key, size_bytes)
            else:
                key = main.popleft()
                if self._dead_main and self._was_dead(self._dead_main, key):
                    continue
                entry = entries[key]
                if entry & COUNT_BITS:
                    entries[key] = entry - COUNT_ONE
                    main.append(key)
                    continue
                size_bytes = entry >> SIZE_SHIFT
            del entries[key]
            self.held_bytes -= size_bytes
            self.victims.append(key)

    def _remember(self, key: Key, size_bytes: int) -> None:
        """Let a ghost of this key live until `ghost_keep_bytes` more were evicted."""
        self._evicted_bytes = now = self._evicted_bytes + size_bytes
        self._ghosts[key] = now
        self._ghost_keys.append(key)
        stamps = self._ghost_stamps
        stamps.append(now)
        oldest = now - self.ghost_keep_bytes
        while stamps and stamps[0] < oldest:
            stamp = stamps.popleft()
            gone = self._ghost_keys.popleft()
            if self._ghosts.get(gone) == stamp:
                del self._ghosts[gone]

    def _was_dead(self, dead: dict[Key, int], key: Key) -> bool:
        """Whether this place in the queue belongs to a forgotten key: the oldest one does."""
        count = dead.get(key)
        if count is None:
            return False
        if count == 1:
            del dead[key]
        else:
            dead[key] = count - 1
        self._dead_count -= 1
        return True

    def forget(self, key: Key) -> None:
        """Its place in the queue stays, dead, until it is passed or the dead outnumber the rest."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        size_bytes = entry >> SIZE_SHIFT
        self.held_bytes -= size_bytes
        if entry & IN_MAIN:
            dead = self._dead_main
        else:
            dead = self._dead_small
            self._small_bytes -= size_bytes
        dead[key] = dead.get(key, 0) + 1
        self._dead_count += 1
        if self._dead_count > DEAD_MAX + len(self._entries):
            self._small = deque([k for k in self._small if not self._was_dead(self._dead_small, k)])
            self._main = deque([k for k in self._main if not self._was_dead(self._dead_main, k)])

    def halve(self, dropped: list[Key]) -> None:
        """Become a cache of half the size that never saw the dropped keys (half of all)."""
        for key in dropped:
            self.forget(key)
        self.capacity_bytes = max(1, self.capacity_bytes // 2)
        self.small_max_bytes //= 2
        self.ghost_max_bytes //= 2
        self.ghost_keep_bytes //= 2
