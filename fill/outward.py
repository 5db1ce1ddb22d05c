"""What sites cannot hold falls to farther ones: bytes by asset, and plays that missed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fill.pullthrough import Lru

Floats = NDArray[np.float64]
Plays = tuple[NDArray[np.int64], Floats]
"""Assets in the order of plays, and the bytes of each."""


@dataclass(slots=True)
class Flow:
    """Amounts by asset that are left of each site's own demand, sites in the order of planning."""

    left: dict[int, Floats] = field(default_factory=dict)

    def taken(self, nearer: Sequence[int], count: int) -> Floats:
        """What comes from nearer sites to the one that takes over from them, by asset."""
        whole = np.zeros(count)
        for index in nearer:
            whole += self.left[index]
        return whole

    def settle(self, index: int, nearer: Sequence[int], own: Floats, passed: Floats) -> None:
        """A site has served what it could: the share of each asset that it `passed` on is left."""
        for other in nearer:
            self.left[other] = self.left[other] * passed
        self.left[index] = own * passed


@dataclass(slots=True)
class Misses:
    """The same for caches: plays of each site's own clients that no cache has had so far."""

    left: dict[int, Plays] = field(default_factory=dict)

    def play(
        self, cache: Lru, index: int, nearer: Sequence[int], own: Plays, rng: np.random.Generator
    ) -> float:
        """Play a day to a site's cache, mixed with what comes from nearer ones; the share of bytes
        that were there (0 of nothing)."""
        parts = [own, *(self.left[other] for other in nearer)]
        plays = np.concatenate([part[0] for part in parts])
        each = np.concatenate([part[1] for part in parts])
        owner = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        if len(parts) > 1:
            order = rng.permutation(len(plays))
            plays, each, owner = plays[order], each[order], owner[order]
        hits = np.array(cache.play(plays.tolist()), dtype=bool)
        for number, other in enumerate((index, *nearer)):
            missed = ~hits & (owner == number)
            self.left[other] = plays[missed], each[missed]
        return float(each[hits].sum()) / max(float(each.sum()), 1.0)

    def bytes_of(self, index: int) -> float:
        """Bytes of a site's own clients that no cache had."""
        return float(self.left[index][1].sum())
