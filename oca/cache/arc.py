"""ARC: two LRU lists, once and often, whose border follows the ghosts of what each lost.

Follows Megiddo, Modha, "ARC: a self-tuning, low overhead replacement cache" (FAST 2003), with
bytes in place of pages: the target p of T1 moves by the size of the returning object times the
ratio of the ghost lists, and each list is trimmed by bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from oca.cache.policy import Key, Policy


class _List(OrderedDict[Key, int]):
    """Sizes by key in order of use, and their sum."""

    __slots__ = ("held_bytes",)

    def __init__(self) -> None:
        super().__init__()
        self.held_bytes = 0

    def push(self, key: Key, size_bytes: int) -> None:
        self[key] = size_bytes
        self.held_bytes += size_bytes

    def drop(self, key: Key) -> int | None:
        size_bytes = self.pop(key, None)
        self.held_bytes -= size_bytes or 0
        return size_bytes

    def drop_oldest(self) -> tuple[Key, int]:
        key, size_bytes = self.popitem(last=False)
        self.held_bytes -= size_bytes
        return key, size_bytes


class Arc(Policy):
    """ARC over bytes; the names are the paper's."""

    __slots__ = ("_b1", "_b2", "_p_bytes", "_t1", "_t2")
    name: ClassVar[str] = "arc"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._t1, self._t2, self._b1, self._b2 = _List(), _List(), _List(), _List()
        self._p_bytes = 0.0

    def __contains__(self, key: object) -> bool:
        return key in self._t1 or key in self._t2

    def __len__(self) -> int:
        return len(self._t1) + len(self._t2)

    def request(self, key: Key, size_bytes: int) -> bool:
        """Cases I to IV of the paper's figure 4."""
        if key in self._t2:
            self._t2.move_to_end(key)
            return True
        held_bytes = self._t1.drop(key)
        if held_bytes is not None:
            self._t2.push(key, held_bytes)
            return True
        if size_bytes <= self.capacity_bytes:
            self._insert(key, size_bytes)
        return False

    def _insert(self, key: Key, size_bytes: int) -> None:
        b1, b2, capacity = self._b1, self._b2, self.capacity_bytes
        in_b1, in_b2 = key in b1, key in b2
        if in_b1:
            step = size_bytes * max(1.0, b2.held_bytes / b1.held_bytes)
            self._p_bytes = min(capacity, self._p_bytes + step)
            b1.drop(key)
        elif in_b2:
            step = size_bytes * max(1.0, b1.held_bytes / b2.held_bytes)
            self._p_bytes = max(0.0, self._p_bytes - step)
            b2.drop(key)
        self.held_bytes += size_bytes
        while self.held_bytes > capacity:
            self._replace(in_b2)
        (self._t2 if in_b1 or in_b2 else self._t1).push(key, size_bytes)
        while b1 and self._t1.held_bytes + b1.held_bytes > capacity:
            b1.drop_oldest()
        while b2 and self.held_bytes + b1.held_bytes + b2.held_bytes > 2 * capacity:
            b2.drop_oldest()

    def _replace(self, in_b2: bool) -> None:
        """REPLACE in the paper: the oldest of the list that is above its target."""
        t1_bytes = self._t1.held_bytes
        over = t1_bytes > self._p_bytes or (in_b2 and t1_bytes == self._p_bytes)
        from_t1 = bool(self._t1) and (over or not self._t2)
        key, size_bytes = (self._t1 if from_t1 else self._t2).drop_oldest()
        (self._b1 if from_t1 else self._b2).push(key, size_bytes)
        self.held_bytes -= size_bytes
        self.victims.append(key)

    def forget(self, key: Key) -> None:
        """Drop it without a ghost: it did not lose a contest."""
        size_bytes = self._t1.drop(key)
        if size_bytes is None:
            size_bytes = self._t2.drop(key)
        self.held_bytes -= size_bytes or 0
