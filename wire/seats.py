"""On which disk of a box an asset belongs: the box puts it there, the planner counts on it. Pure.

Weighted rendezvous hashing (Resch 2015): the disk with the highest score has the asset.
"""

from __future__ import annotations

import math
from functools import lru_cache

import xxhash

DISKS_MAX = 64
HASHES = 2.0**64


def score(asset: int, key: str, weight_bytes: int) -> float:
    """How much an asset prefers the disk that is known by `key` and has `weight_bytes`."""
    drawn = xxhash.xxh3_64_intdigest(asset.to_bytes(8, "little"), seed_of(key))
    return -weight_bytes / math.log((drawn + 0.5) / HASHES)


@lru_cache(1024)
def seed_of(key: str) -> int:
    """What the hash of an asset (8 bytes, little-endian, XXH3-64) begins with."""
    return xxhash.xxh3_64_intdigest(key.encode())
