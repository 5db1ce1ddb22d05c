"""LIRS: keeps what returns within a short distance, whenever it was last used.

Follows Jiang, Zhang, "LIRS: an efficient low inter-reference recency set replacement policy to
improve buffer cache performance" (SIGMETRICS 2002), with bytes in place of blocks. Nearly all room
is for LIR keys (short reuse distance); the rest, the queue Q of resident HIR keys, is where new
ones wait and where all victims come from. The stack S holds all that was used since the oldest
LIR key; a HIR key that returns while it is in S has the shorter distance, and the two change roles.
Ghosts (HIR keys in S that left the cache) are bounded to as many bytes as the cache has.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from oca.cache.policy import Key, Policy

HIR_SHARE = 0.01
"""The paper's one per cent."""


class Lirs(Policy):
    """LIRS over bytes."""

    __slots__ = ("_ghost_bytes", "_ghosts", "_lir", "_lir_bytes", "_lir_max_bytes", "_queue", "_s")
    name: ClassVar[str] = "lirs"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._lir_max_bytes = int(capacity_bytes * (1 - HIR_SHARE))
        self._lir_bytes = 0
        self._ghost_bytes = 0
        self._s: OrderedDict[Key, None] = OrderedDict()
        self._lir: dict[Key, int] = {}
        self._queue: OrderedDict[Key, int] = OrderedDict()
        self._ghosts: OrderedDict[Key, int] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._lir or key in self._queue

    def __len__(self) -> int:
        return len(self._lir) + len(self._queue)

    def request(self, key: Key, size_bytes: int) -> bool:
        """The three cases of the paper: LIR, resident HIR, and not resident."""
        stack = self._s
        if key in self._lir:
            stack.move_to_end(key)
            self._prune()
            return True
        if key in self._queue:
            self._hit_hir(key)
            return True
        if size_bytes <= self.capacity_bytes:
            self._insert(key, size_bytes)
        return False

    def _hit_hir(self, key: Key) -> None:
        if key in self._s:
            self._promote(key, self._queue.pop(key))
        else:
            self._s[key] = None
            self._queue.move_to_end(key)

    def _insert(self, key: Key, size_bytes: int) -> None:
        returning = self._ghosts.pop(key, None)
        self._ghost_bytes -= returning or 0
        self.held_bytes += size_bytes
        while self.held_bytes > self.capacity_bytes:
            self._evict()
        while self._ghost_bytes > self.capacity_bytes:
            ghost, ghost_bytes = self._ghosts.popitem(last=False)
            self._ghost_bytes -= ghost_bytes
            del self._s[ghost]
        if (returning is not None and key in self._s) or (
            self._lir_bytes + size_bytes <= self._lir_max_bytes
        ):
            self._promote(key, size_bytes)
        else:
            self._s[key] = None
            self._s.move_to_end(key)
            self._queue[key] = size_bytes

    def _promote(self, key: Key, size_bytes: int) -> None:
        """Make it LIR, at the top of the stack; the oldest LIR keys give way."""
        self._lir[key] = size_bytes
        self._lir_bytes += size_bytes
        self._s[key] = None
        self._s.move_to_end(key)
        self._prune()
        while self._lir_bytes > self._lir_max_bytes and len(self._lir) > 1:
            self._demote()

    def _demote(self) -> None:
        """The LIR key at the bottom of the stack becomes HIR."""
        key, _ = self._s.popitem(last=False)
        size_bytes = self._lir.pop(key)
        self._lir_bytes -= size_bytes
        self._queue[key] = size_bytes
        self._prune()

    def _prune(self) -> None:
        """Cut the stack off below its oldest LIR key; ghosts there are forgotten."""
        stack = self._s
        while stack:
            key = next(iter(stack))
            if key in self._lir:
                return
            del stack[key]
            self._ghost_bytes -= self._ghosts.pop(key, 0)

    def _evict(self) -> None:
        if not self._queue:
            self._demote()
        key, size_bytes = self._queue.popitem(last=False)
        self.held_bytes -= size_bytes
        self.victims.append(key)
        if key in self._s:
            self._ghosts[key] = size_bytes
            self._ghost_bytes += size_bytes

    def forget(self, key: Key) -> None:
        """Drop it, and all memory of it."""
        size_bytes = self._lir.pop(key, None)
        if size_bytes is not None:
            self._lir_bytes -= size_bytes
        else:
            size_bytes = self._queue.pop(key, None)
        if size_bytes is not None:
            self.held_bytes -= size_bytes
            self._s.pop(key, None)
            self._prune()
