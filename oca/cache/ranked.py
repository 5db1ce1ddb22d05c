"""LFU-DA and GDSF: the key of least worth goes first, and worth ages with what was evicted.

Follows Arlitt, Cherkasova, Dilley, Friedrich, Jin, "Evaluating content management techniques for
web proxy caches" (Performance Evaluation Review, 2000): K = L + F for LFU with dynamic aging, and
K = L + F / size for GreedyDual-Size with frequency at cost 1, which trades byte hits for object
hits. F counts requests while held; L is the K of the last one evicted. Equals go oldest first.

A key's worth only grows, so the heap may hold an outdated, lower one; it is put right when it
comes to the top. That leaves hits without any work on the heap.
"""

from __future__ import annotations

from abc import abstractmethod
from heapq import heapify, heappop, heappush, heapreplace
from typing import ClassVar, NamedTuple

from oca.cache.policy import Key, Policy

SLACK = 64
"""A heap this much longer than twice what is held is worth building anew."""


class Worth(NamedTuple):
    """What orders the heap: worth, then age (the number of the last request)."""

    value: float
    turn: int


class Ranked(Policy):
    """A cache that evicts by worth; subclasses say what a request is worth."""

    __slots__ = ("_age", "_counts", "_heap", "_sizes", "_turn", "_worths")

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._sizes: dict[Key, int] = {}
        self._counts: dict[Key, int] = {}
        self._worths: dict[Key, Worth] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._age = 0.0
        self._turn = 0

    @abstractmethod
    def worth(self, count: int, size_bytes: int) -> float:
        """What a key that was asked for `count` times is worth, on top of the age."""

    def __contains__(self, key: object) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def request(self, key: Key, size_bytes: int) -> bool:
        """A hit raises the key's worth."""
        self._turn += 1
        held_bytes = self._sizes.get(key)
        if held_bytes is not None:
            self._counts[key] = count = self._counts[key] + 1
            self._worths[key] = Worth(self._age + self.worth(count, held_bytes), self._turn)
            return True
        if size_bytes <= self.capacity_bytes:
            self._insert(key, size_bytes)
        return False

    def _insert(self, key: Key, size_bytes: int) -> None:
        self.held_bytes += size_bytes
        while self.held_bytes > self.capacity_bytes:
            self._evict()
        self._sizes[key] = size_bytes
        self._counts[key] = 1
        worth = self._worths[key] = Worth(self._age + self.worth(1, size_bytes), self._turn)
        self._push((*worth, key))

    def _push(self, item: tuple[float, int, Key]) -> None:
        """Into the heap, which is built anew when most of it was forgotten or is outdated."""
        if len(self._heap) > SLACK + 2 * len(self._sizes):
            self._heap = [(*worth, key) for key, worth in self._worths.items()]
            heapify(self._heap)
        else:
            heappush(self._heap, item)

    def _evict(self) -> None:
        heap = self._heap
        while True:
            value, turn, key = heap[0]
            worth = self._worths.get(key)
            if worth is None:
                heappop(heap)
            elif worth == (value, turn):
                break
            else:
                heapreplace(heap, (*worth, key))
        heappop(heap)
        self._age = value
        self.victims.append(key)
        self.forget(key)

    def forget(self, key: Key) -> None:
        """Its place in the heap is found empty later."""
        size_bytes = self._sizes.pop(key, None)
        if size_bytes is not None:
            self.held_bytes -= size_bytes
            del self._counts[key], self._worths[key]


class LfuDa(Ranked):
    """Least frequently used, with dynamic aging: yesterday's favourites fade."""

    __slots__ = ()
    name: ClassVar[str] = "lfu-da"

    def worth(self, count: int, size_bytes: int) -> float:
        """F: every request counts the same."""
        return count


class Gdsf(Ranked):
    """GreedyDual-Size with frequency: small and often asked for stays."""

    __slots__ = ()
    name: ClassVar[str] = "gdsf"

    def worth(self, count: int, size_bytes: int) -> float:
        """F / size: hits per byte of room."""
        return count / size_bytes
