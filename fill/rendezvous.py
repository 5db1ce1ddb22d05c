"""In which order a site's boxes are asked to hold an asset: weighted rendezvous hashing. Pure.

Thaler & Ravishankar 1998 (highest random weight); weights by Schindelhauer & Schomaker 2005: a box
wins in proportion to its weight, and a box that comes or goes moves only its own share. The draw is
SplitMix64's finalizer (Steele et al. 2014): it takes ten million pairs in a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from fill.arrays import Floats

Keys = NDArray[np.integer]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def distances(keys: Keys, boxes: Sequence[str], weights: Floats) -> Floats:
    """How far each box (column) is for each key (row): asked in rising order. `weights` are of any
    unit; a box of weight 0 is infinitely far."""
    seeds = np.array([xxhash.xxh3_64_intdigest(box.encode()) for box in boxes], np.uint64)
    draw = _mixed(keys.astype(np.uint64)[:, None] * _GOLDEN ^ seeds[None, :])
    share = ((draw >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(share) / weights[None, :])


def rendezvous_order(key: int, weights: Mapping[str, float]) -> list[str]:
    """The ids in `weights` in the order in which they are asked for `key`."""
    boxes = sorted(weights)
    if not boxes:
        return []
    far = distances(np.array([key]), boxes, np.array([weights[box] for box in boxes]))[0]
    return [boxes[index] for index in np.argsort(far, kind="stable")]


def _mixed(draw: NDArray[np.uint64]) -> NDArray[np.uint64]:
    draw = (draw ^ draw >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    draw = (draw ^ draw >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return draw ^ draw >> np.uint64(31)
