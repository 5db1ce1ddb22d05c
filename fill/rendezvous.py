"""In which order a site's boxes are asked to hold an asset: weighted rendezvous hashing. Pure.

Thaler & Ravishankar 1998 (highest random weight); weights by Schindelhauer & Schomaker 2005: a box
wins in proportion to its weight, and a box that comes or goes moves only its own share.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import xxhash


def rendezvous_order(asset: int, weights: Mapping[str, float]) -> list[str]:
    """The ids in `weights` (any unit, > 0) in the order in which they are asked for `asset`."""
    return sorted(weights, key=lambda box: (_distance(asset, box, weights[box]), box))


def _distance(asset: int, box: str, weight: float) -> float:
    draw = (xxhash.xxh3_64_intdigest(f"{asset}/{box}".encode()) + 1) / (2**64 + 1)
    return -log(draw) / weight if weight > 0 else float("inf")
