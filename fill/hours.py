"""When boxes may fill: windows of sites at their own places, as seconds after a plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fill.arrays import Floats, Ints
from fill.config import DAY_S
from wire.fleet import Fleet

Spans = tuple[tuple[int, int], ...]
"""When something is open: from second to second after the plan is made, in order."""


def spans_of(fleet: Fleet, now_s: int) -> dict[str, Spans]:
    """Site → when its boxes fill in the day that follows, until the next plan; sites that tell no
    window are absent."""
    known: dict[tuple[str, str], Spans] = {}
    found = {}
    for site in fleet.sites:
        hours = site.hours()
        if hours is not None:
            told = (site.window, site.timezone)
            if told not in known:
                known[told] = hours.spans(now_s, DAY_S)
            found[site.id] = known[told]
    return found


def length_s(spans: Spans) -> int:
    """Seconds that it is open."""
    return sum(end - start for start, end in spans)


@dataclass(frozen=True, slots=True)
class Hours:
    """Spans of boxes: `kinds` are the different ones, `kind` tells which of them each box has."""

    kinds: tuple[Spans, ...]
    kind: Ints

    @classmethod
    def of(cls, spans: Sequence[Spans]) -> Hours:
        """From the spans of each box."""
        kinds = tuple(dict.fromkeys(spans))
        number = {each: index for index, each in enumerate(kinds)}
        return cls(kinds, np.array([number[each] for each in spans], np.int32))

    @property
    def horizon_s(self) -> int:
        """Seconds until the last of them closes."""
        return max((end for spans in self.kinds for _, end in spans), default=0)

    def slots(self, slot_s: float, count: int) -> SlotHours:
        """The same, slot by slot."""
        edge = np.arange(count + 1) * slot_s
        share = np.zeros((len(self.kinds), count))
        for row, spans in zip(share, self.kinds, strict=True):
            for start, end in spans:
                row += np.diff(np.clip(edge, start, end)) / slot_s
        return SlotHours(share, self.kind)

    def done_s(self, need_s: Floats) -> float:
        """When the last box is done that pulls for `need_s` seconds (by box), as soon as it may."""
        most = np.zeros(len(self.kinds))
        np.maximum.at(most, self.kind, need_s)
        last = 0.0
        for need, spans in zip(most.tolist(), self.kinds, strict=True):
            for start, end in spans if need > 0 else ():
                last = max(last, start + min(need, end - start))
                need -= end - start
                if need <= 0:
                    break
            else:
                last += max(need, 0.0)
        return last


@dataclass(frozen=True, slots=True)
class SlotHours:
    """The `share` of each slot in which boxes of each kind may pull (kinds × slots)."""

    share: Floats
    kind: Ints

    @property
    def count(self) -> int:
        """How many slots there are."""
        return int(self.share.shape[1])

    def at(self, slot: int) -> Floats:
        """By box."""
        return np.asarray(self.share[self.kind, slot], np.float64)
