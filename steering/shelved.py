"""An inventory that is still on the disk, read when it is asked for. Pure: reading is passed in.

A replica that restarts has 10,000 of them, more than a gigabyte; it answers before all are read.
"""

from __future__ import annotations

from collections.abc import Callable

from pyroaring import BitMap


class Shelved:
    """Stands for a bitmap until it is read."""

    __slots__ = ("_count", "_read", "_whole")

    def __init__(self, read: Callable[[], BitMap], count: int) -> None:
        """`read` gives the bitmap; `count` is how many it has, as far as we know."""
        self._read, self._count = read, count
        self._whole: BitMap | None = None

    @property
    def whole(self) -> BitMap:
        """The bitmap itself."""
        if self._whole is None:
            self._whole = self._read()
        return self._whole

    def __contains__(self, asset: int) -> bool:
        """Whether it has an asset."""
        return asset in self.whole

    def __len__(self) -> int:
        """How many it has."""
        return self._count if self._whole is None else len(self._whole)


def whole(held: BitMap | Shelved) -> BitMap:
    """The bitmap, read if need be."""
    return held.whole if isinstance(held, Shelved) else held
