"""Nested intervals of addresses, flattened once: a look-up is one short bisection. Pure.

Intervals lie inside one another or apart (as prefixes do). They become sorted ranges, each owned by
the innermost interval around it, and every interval knows the next larger one (its parent), so the
less specific matches are a chain, as on a path of a radix tree (RFC 1812 §5.2.4.3).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np

from steering.arrays import Array

KEY_BITS = {4: 32, 6: 64}
"""Bits that addresses are told apart by: v6 announcements end at /48, half an address will do."""
_KEY_TYPE = {4: "I", 6: "Q"}
_DTYPE = {4: np.uint32, 6: np.uint64}
_TOP_BITS = 16  # the first step of a look-up is an index by these: bisection then has 2 to 5 steps
NOBODY = -1


class Intervals:
    """Intervals of one IP version, by number in the order they were given (sorted)."""

    __slots__ = ("_first", "_numpy", "_owner", "_shift", "_where", "parent", "version")

    def __init__(self, version: int, where: Array, owner: Array, parent: Array) -> None:
        """From arrays of `build`: where ranges begin, whose they are, each interval's parent."""
        self.version, self.parent = version, parent
        self._numpy = where, owner
        self._shift = KEY_BITS[version] - _TOP_BITS
        # A copy: bisecting an array of the interpreter's own is twice as fast as one of numpy's.
        self._where = array(_KEY_TYPE[version], where.tobytes())
        tops = np.arange(1 << _TOP_BITS, dtype=np.uint64) << np.uint64(self._shift)
        firsts = np.append(np.searchsorted(where, tops.astype(where.dtype)), len(where))
        self._first = array("I", firsts.astype(np.uint32).tobytes())
        self._owner = owner.data

    @classmethod
    def build(cls, version: int, starts: Sequence[int], ends: Sequence[int]) -> Intervals:
        """From first and last keys, sorted by start, larger ones first; raises ValueError naming
        the number of an interval that lies across another's end."""
        sweep = _Sweep(1 << KEY_BITS[version])
        for node, (start, end) in enumerate(zip(starts, ends, strict=True)):
            sweep.add(node, start, end)
        sweep.finish()
        return cls(
            version,
            np.array(sweep.where, _DTYPE[version]),
            np.array(sweep.owner, np.int32),
            np.array(sweep.parent, np.int32),
        )

    def leaf(self, key: int) -> int:
        """The number of the innermost interval around a key; NOBODY where there is none."""
        top = key >> self._shift
        first = self._first
        return self._owner[bisect_right(self._where, key, first[top], first[top + 1]) - 1]

    def leaves(self, keys: Array) -> Array:
        """`leaf` of many keys at once (same type as the ranges': uint32 or uint64)."""
        where, owner = self._numpy
        return owner[np.searchsorted(where, keys, side="right") - 1]

    def arrays(self) -> dict[str, Array]:
        """What `__init__` takes, to be kept in a file."""
        where, owner = self._numpy
        return {"where": where, "owner": owner, "parent": self.parent}

    @classmethod
    def of(cls, version: int, arrays: Mapping[str, Array], prefix: str) -> Intervals:
        """From arrays of a file, whose names there begin with `prefix`."""
        return cls(version, *(arrays[prefix + name] for name in ("where", "owner", "parent")))


class _Sweep:
    """A walk over intervals in order of address, the open ones on a stack."""

    def __init__(self, span: int) -> None:
        self._span = span
        self._open: list[tuple[int, int]] = []
        self.where, self.owner = [0], [NOBODY]
        self.parent: list[int] = []

    def add(self, node: int, start: int, end: int) -> None:
        opened = self._open
        while opened and opened[-1][0] < start:
            self._close()
        if opened and opened[-1][0] < end:
            raise ValueError(f"interval {node} lies across the end of another one")
        self.parent.append(opened[-1][1] if opened else NOBODY)
        self._mark(start, node)
        opened.append((end, node))

    def finish(self) -> None:
        while self._open:
            self._close()

    def _close(self) -> None:
        end, _ = self._open.pop()
        if end + 1 < self._span:
            self._mark(end + 1, self._open[-1][1] if self._open else NOBODY)

    def _mark(self, position: int, owner: int) -> None:
        if self.where[-1] == position:
            self.owner[-1] = owner
        else:
            self.where.append(position)
            self.owner.append(owner)
