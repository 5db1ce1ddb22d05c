"""Which boxes of one site hold which assets: greedy by marginal value, copy by copy. Pure.

The first copy of an asset is worth its demand. A further copy is worth the share of time a box is
away times the demand, or the bandwidth that the copies before it lack, whichever is more. Copies
already stored cost nothing; the others go to boxes in rendezvous order and spill when one is full.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from fill.config import DAY_S, PlanKnobs
from fill.knapsack import Bin, Refusal, worth
from fill.rendezvous import rendezvous_order


@dataclass(frozen=True, slots=True)
class Box:
    """One appliance that may hold things: usable disk and tonight's transfer in bytes."""

    id: str
    disk_bytes: int
    fill_bytes: int
    link_bps: int
    held: AbstractSet[int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One asset as a site sees it: size in bytes, and bytes of it asked for a day.

    Assets of one `family` (a title's ladder, known by its first id) ask boxes in the same order:
    a player gets a film from one box, which is only offered when it holds most of the ladder.
    """

    asset: int
    size_bytes: int
    demand_bytes: float
    family: int | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy placed: the `number`-th of its asset in the site (from 1), at `density`."""

    asset: int
    box: str
    number: int
    density: float
    held: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The copy that found no box: each box asked, in order, with its reason."""

    number: int
    density: float
    reasons: tuple[tuple[str, Refusal], ...]


@dataclass(slots=True)
class Placement:
    """What one site should hold: copies, refusals and orders of boxes by asset, and how full each
    box is."""

    copies: dict[int, list[Copy]] = field(default_factory=dict)
    refused: dict[int, Refused] = field(default_factory=dict)
    orders: dict[int, list[str]] = field(default_factory=dict)
    bins: dict[str, Bin] = field(default_factory=dict)
    copy_bps: float = 0.0

    def served_share(self, wanted: Wanted, peak_factor: float) -> float:
        """Share of an asset's demand that its copies carry while every box is there."""
        copies = len(self.copies.get(wanted.asset, ()))
        return _carried(copies, wanted.demand_bytes, self.copy_bps, peak_factor)

    def unmet_share(self, wanted: Wanted, knobs: PlanKnobs) -> float:
        """Share of an asset's demand that goes on to farther sites, boxes being away included."""
        copies = len(self.copies.get(wanted.asset, ()))
        share = self.served_share(wanted, knobs.peak_factor)
        return max(1.0 - share, knobs.away_share**copies)


def copy_value(number: int, demand_bytes: float, copy_bps: float, knobs: PlanKnobs) -> float:
    """Bytes a day that the `number`-th copy (from 1) adds, when one copy carries `copy_bps`."""
    carried = _carried(number, demand_bytes, copy_bps, knobs.peak_factor)
    before = _carried(number - 1, demand_bytes, copy_bps, knobs.peak_factor)
    if number == 1:
        return demand_bytes * carried
    return demand_bytes * max(carried - before, knobs.away_share ** (number - 1))


def place_site(boxes: Sequence[Box], wanted: Sequence[Wanted], knobs: PlanKnobs) -> Placement:
    """Place assets on the boxes of one site; the same input gives the same answer."""
    return _Placer(boxes, knobs).place(wanted)


def oracle_bytes(boxes: Sequence[Box], wanted: Sequence[Wanted]) -> float:
    """Bytes a day that the site could serve at best: all its disk as one, no transfer to pay.

    The fractional knapsack, so an upper bound on every plan.
    """
    left = sum(box.disk_bytes for box in boxes)
    served = 0.0
    for item in sorted(wanted, key=lambda item: -item.demand_bytes / item.size_bytes):
        if left <= 0 or item.demand_bytes <= 0:
            break
        served += item.demand_bytes * min(1.0, left / item.size_bytes)
        left -= item.size_bytes
    return served


def _carried(copies: int, demand_bytes: float, copy_bps: float, peak_factor: float) -> float:
    peak_bps = demand_bytes * 8 / DAY_S * peak_factor
    return 1.0 if copies and peak_bps <= 0 else min(1.0, copies * copy_bps / max(peak_bps, 1e-9))


@dataclass(slots=True)
class _Asset:
    """The state of one asset while its site is being placed."""

    wanted: Wanted
    order: list[str]
    holders: list[str]
    taken: list[str] = field(default_factory=list)


class _Placer:
    def __init__(self, boxes: Sequence[Box], knobs: PlanKnobs) -> None:
        self._knobs = knobs
        self._price = 1.0 / knobs.repay_days
        self._boxes = {box.id: box for box in boxes}
        self._weights = {box.id: float(box.disk_bytes) for box in boxes}
        self._result = Placement(
            bins={box.id: Bin(box.disk_bytes, box.fill_bytes, self._price) for box in boxes},
            copy_bps=min((box.link_bps for box in boxes), default=0) * knobs.copy_link_share,
        )
        self._heap: list[tuple[float, int, int, bool]] = []
        self._assets: dict[int, _Asset] = {}

    def place(self, wanted: Sequence[Wanted]) -> Placement:
        for item in wanted:
            family = item.asset if item.family is None else item.family
            order = rendezvous_order(family, self._weights)
            holders = [box for box in order if item.asset in self._boxes[box].held]
            if holders or item.demand_bytes > 0:
                self._assets[item.asset] = _Asset(item, order, holders)
                self._result.orders[item.asset] = order
                self._push(item.asset, 1)
        while self._heap:
            _, asset, number, held = heapq.heappop(self._heap)
            self._try(self._assets[asset], number, held)
        return self._result

    def _push(self, asset: int, number: int, *, held: bool = True) -> None:
        """Offer the next copy of an asset: one that is stored already if there is one left."""
        state = self._assets[asset]
        held = held and any(box not in state.taken for box in state.holders)
        density = self._density(state, number)
        heapq.heappush(self._heap, (-worth(density, held, self._price), asset, number, held))

    def _density(self, state: _Asset, number: int) -> float:
        wanted = state.wanted
        value = copy_value(number, wanted.demand_bytes, self._result.copy_bps, self._knobs)
        return value / wanted.size_bytes

    def _try(self, state: _Asset, number: int, held: bool) -> None:
        wanted, density = state.wanted, self._density(state, number)
        candidates = [
            box
            for box in (state.holders if held else state.order)
            if box not in state.taken and (held or box not in state.holders)
        ]
        reasons: list[tuple[str, Refusal]] = []
        for box in candidates:
            refusal = self._result.bins[box].offer(density, wanted.size_bytes, held)
            if refusal is None:
                state.taken.append(box)
                copy = Copy(wanted.asset, box, number, density, held)
                self._result.copies.setdefault(wanted.asset, []).append(copy)
                if number < len(self._boxes):
                    self._push(wanted.asset, number + 1)
                return
            reasons.append((box, refusal))
        if held:  # no holder has room for it: it may still go elsewhere, at the price of a fetch
            self._push(wanted.asset, number, held=False)
        earlier = self._result.refused.get(wanted.asset)
        told = earlier.reasons if earlier and earlier.number == number else ()
        if reasons or not told:
            self._result.refused[wanted.asset] = Refused(number, density, (*told, *reasons))
