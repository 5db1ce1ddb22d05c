"""SIEVE: one queue, one hand that spares what was asked for since it last came by.

Follows Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is simpler than LRU: an efficient turn-key
eviction algorithm for web caches" (NSDI 2024). The hand walks from the oldest to the newest; what
it spares stays in place. So the queue is kept as two: what the hand passed on this walk, and what
lies before it (new keys join there); at the end of a walk the two become one again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from oca.cache.policy import Key, Policy

VISITED = 1
SIZE_SHIFT = 1


class Sieve(Policy):
    """SIEVE over bytes."""

    __slots__ = ("_ahead", "_entries", "_passed")
    name: ClassVar[str] = "sieve"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._entries: dict[Key, int] = {}
        self._ahead: OrderedDict[Key, None] = OrderedDict()
        self._passed: OrderedDict[Key, None] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def request(self, key: Key, size_bytes: int) -> bool:
        """A hit only sets the visited bit."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries[key] = entry | VISITED
            return True
        if size_bytes <= self.capacity_bytes:
            self.held_bytes += size_bytes
            while self.held_bytes > self.capacity_bytes:
                self._evict()
            self._entries[key] = size_bytes << SIZE_SHIFT
            self._ahead[key] = None
        return False

    def _evict(self) -> None:
        """Walk the hand to the next key that was not visited, and evict that."""
        entries = self._entries
        spared = True
        while spared:
            if not self._ahead:
                self._ahead, self._passed = self._passed, self._ahead
            key, _ = self._ahead.popitem(last=False)
            entry = entries[key]
            spared = bool(entry & VISITED)
            if spared:
                entries[key] = entry - VISITED
                self._passed[key] = None
        if not self._ahead:  # the walk ends here: who joins now is met at the end of the next one
            self._ahead, self._passed = self._passed, self._ahead
        del entries[key]
        self.held_bytes -= entry >> SIZE_SHIFT
        self.victims.append(key)

    def forget(self, key: Key) -> None:
        """Drop it from whichever side of the hand it is on."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.held_bytes -= entry >> SIZE_SHIFT
            self._ahead.pop(key, None)
            self._passed.pop(key, None)
