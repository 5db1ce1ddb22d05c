"""FIFO and LRU, the two that every other policy is measured against.

LRU's analysis: Mattson, Gecsei, Slutz, Traiger, "Evaluation techniques for storage hierarchies"
(IBM Systems Journal, 1970).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from oca.cache.policy import Key, Policy


class Fifo(Policy):
    """Whatever came first goes first; a hit changes nothing."""

    __slots__ = ("_sizes",)
    name: ClassVar[str] = "fifo"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._sizes: OrderedDict[Key, int] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def request(self, key: Key, size_bytes: int) -> bool:
        """Hit if held; else take it in at the young end."""
        if key in self._sizes:
            return True
        self._insert(key, size_bytes)
        return False

    def _insert(self, key: Key, size_bytes: int) -> None:
        if size_bytes > self.capacity_bytes:
            return
        self.held_bytes += size_bytes
        while self.held_bytes > self.capacity_bytes:
            victim, victim_bytes = self._sizes.popitem(last=False)
            self.held_bytes -= victim_bytes
            self.victims.append(victim)
        self._sizes[key] = size_bytes

    def forget(self, key: Key) -> None:
        """Drop it from the queue."""
        self.held_bytes -= self._sizes.pop(key, 0)


class Lru(Fifo):
    """The least recently used goes first."""

    __slots__ = ()
    name: ClassVar[str] = "lru"

    def request(self, key: Key, size_bytes: int) -> bool:
        """A hit moves the key to the young end."""
        if key in self._sizes:
            self._sizes.move_to_end(key)
            return True
        self._insert(key, size_bytes)
        return False
