"""The cache that a planned box is compared with: LRU, filled by misses alone. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Lru:
    """Whole assets, the least lately played leaves first; `capacity_bytes` is never exceeded."""

    def __init__(self, capacity_bytes: float, size_bytes: Sequence[float]) -> None:
        """`size_bytes` by asset; an asset larger than the cache is never stored."""
        self._left, self._capacity = capacity_bytes, capacity_bytes
        self._size = [float(size) for size in size_bytes]
        self._held: OrderedDict[int, None] = OrderedDict()

    def play(self, assets: Sequence[int]) -> list[bool]:
        """Play assets one after the other: which of them were there."""
        held, size, left, hits = self._held, self._size, self._left, []
        for asset in assets:
            there = asset in held
            hits.append(there)
            if there:
                held.move_to_end(asset)
            elif size[asset] <= self._capacity:
                held[asset] = None
                left -= size[asset]
                while left < 0:
                    left += size[held.popitem(last=False)[0]]
        self._left = left
        return hits


def plays_of(
    at: NDArray[np.int32],
    amounts: NDArray[np.float64],
    size: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[list[int], NDArray[np.float64]]:
    """A day's bytes by asset as plays in random order: assets, and the bytes that each delivers.

    One play is as much of the asset as its size, so bytes ÷ size plays, at least one.
    """
    count = np.maximum(np.rint(amounts / size[at]), 1).astype(np.int64)
    each = amounts / count
    order = rng.permutation(np.repeat(np.arange(len(at)), count))
    return at[order].tolist(), each[order]
