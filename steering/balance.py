"""Bounded load: no box of a site is given more than its fair share times a factor. Pure.

Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018) moves a key on to the
next box when its own is full. Ours moves always the same keys: each box has a `spread`, the share
of its keys that it goes on taking first, and every tick moves it by what this replica itself gave
to whom. So it needs no report from afar, has no lag to swing with, and leaves sessions where they
are. Traffic Control's users see 15–20 of 100 caches take nearly all (#6902): plain hashing of few,
unequally popular titles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from steering.choose import Box

TICK_S = 10.0
"""About as long as the tallies of a busy site need to say something."""
KEPT = 0.3  # of the last tick's tallies: more would show what was put right already
NOISE = 1.0  # standard deviations: what chance does is not answered
ENOUGH = 200.0
"""Decisions a box before a site's tallies say anything. Chance would move keys about, and a box to
which keys come takes that for a crowd."""
FADE = 0.9  # a tick, of tallies that do not say anything yet
SPREAD_MIN = 0.02
GROWTH = 1.05  # a tick; taking back is slower than giving away, so that it comes to rest
STEP = 0.7  # of the way at a time, on a scale of factors: the tallies hold some of the past


class Balance:
    """What this replica gave to whom, and what follows for the shares."""

    def __init__(self, load_factor: float) -> None:
        """No box shall be given more than `load_factor` × its fair share of its site."""
        self._factor = load_factor
        self._given: dict[str, float] = {}
        self.spread: dict[str, float] = {}

    def note(self, box_id: str, count: float = 1.0) -> None:
        """A decision (or so many) put this box first."""
        self._given[box_id] = self._given.get(box_id, 0.0) + count

    def tick(self, sites: Mapping[str, Sequence[Box]]) -> set[str]:
        """Move the shares, once every TICK_S; returns the boxes whose share changed."""
        changed: set[str] = set()
        seen: set[str] = set()
        for boxes in sites.values():
            given = sum(self._given.get(box.id, 0.0) for box in boxes)
            if len(boxes) > 1 and given >= ENOUGH * len(boxes):
                changed |= self._tick_site(boxes)
                seen.update(box.id for box in boxes)
        faded = {name: n * (KEPT if name in seen else FADE) for name, n in self._given.items()}
        self._given = {name: n for name, n in faded.items() if n >= 0.01}
        return changed

    def _tick_site(self, boxes: Iterable[Box]) -> set[str]:
        usable = [box for box in boxes if box.passed is None]
        capacity = sum(box.weight * box.admit for box in usable)
        given = sum(self._given.get(box.id, 0.0) for box in usable)
        changed = set()
        for box in usable:
            fair = given * box.weight * box.admit / capacity if capacity else 0.0
            before = self.spread.get(box.id, 1.0)
            after = self._next(before, self._given.get(box.id, 0.0), fair)
            if after != before:
                changed.add(box.id)
                self.spread[box.id] = after
                if after >= 1.0:
                    del self.spread[box.id]
        return changed

    def _next(self, spread: float, given: float, fair: float) -> float:
        """The share that a box takes first from now on. Between fair and the middle of the bound it
        rests."""
        middle = 1 + (self._factor - 1) / 2
        noise = NOISE * math.sqrt(fair)
        if given > middle * fair + noise:
            return max(SPREAD_MIN, round(spread * float((middle * fair / given) ** STEP), 3))
        if spread < 1.0 and given < fair - noise / 2:
            return min(1.0, round(spread * GROWTH, 3))
        return spread
