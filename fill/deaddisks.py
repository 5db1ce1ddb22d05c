"""What a box with a disk switched off can take: only assets that belong on its other disks. Pure.

The box leaves the share of such a disk alone until it is back (wire.seats). To plan it there
all the same would leave it out of the site, and room on the other disks empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fill.arrays import Flags, Ints
from wire.reports import DiskTold
from wire.seats import HASHES, seed_of

Words = NDArray[np.uint64]
_SECRET = 0xC73AB174C5ECD5A2  # bytes 8–16 of XXH3's default secret, xor bytes 16–24
_MIX = np.uint64(0x9FB21C651E98DF25)


def live_share(disks: Sequence[DiskTold]) -> float:
    """The part of a box's space that is in use; all of it when nothing is said of its disks."""
    whole = sum(disk.bytes for disk in disks)
    return sum(disk.bytes for disk in disks if disk.live) / whole if whole else 1.0


def storable(ids: Ints, disks: Sequence[DiskTold]) -> Flags:
    """Which of these assets belong on a disk that is in use; all when nothing is said of disks."""
    if not disks or not len(ids):
        return np.ones(len(ids), bool)
    words = ids.astype(np.uint64)
    scores = [
        -disk.bytes / np.log((_xxh3(words, seed_of(disk.key)).astype(np.float64) + 0.5) / HASHES)
        for disk in disks
    ]
    live = np.array([disk.live for disk in disks])
    return np.asarray(live[np.argmax(np.stack(scores), axis=0)])


def _xxh3(words: Words, seed: int) -> Words:
    """XXH3-64 of each number's 8 little-endian bytes (xxHash's specification, inputs of 4–8)."""
    swapped = int.from_bytes((seed & 0xFFFFFFFF).to_bytes(4, "little"), "big")
    flip = np.uint64((_SECRET - (seed ^ (swapped << 32))) % 2**64)
    low, high = words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)
    mixed = ((low << np.uint64(32)) + high) ^ flip
    mixed ^= _turned(mixed, 49) ^ _turned(mixed, 24)
    mixed *= _MIX
    mixed ^= (mixed >> np.uint64(35)) + np.uint64(8)
    mixed *= _MIX
    return mixed ^ (mixed >> np.uint64(28))


def _turned(words: Words, bits: int) -> Words:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))
