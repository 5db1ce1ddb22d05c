"""One site's part of the night: its boxes, what is asked of it, and what it leaves over. Pure.

Everything here works on one site alone, so sites spread over processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fill.arrays import AssetArrays, DemandArrays, Flags, Floats, Ints
from fill.config import PlanKnobs
from fill.deaddisks import live_share, storable
from fill.hours import Spans, length_s
from fill.place import Box, Placed, SiteProblem, oracle_bytes, place, points
from fill.rules import Ruling
from wire.fleet import Appliance, Fleet, Site
from wire.reports import DiskTold

POINTS = (0.80, 0.90, 0.95, 0.96, 0.97, 0.98, 0.99)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a night's planning looks at. `held`: appliance → ids, rising (absent: unheard of);
    `behind`: site → nearer sites whose unmet demand it takes (absent: all of them); `windows`:
    site → when its boxes fill (absent: for the window of the knobs); `disks`: appliance → what it
    said of its disks (absent: all are in use)."""

    assets: AssetArrays
    fleet: Fleet
    demand: DemandArrays
    held: Mapping[str, Ints]
    knobs: PlanKnobs
    ruling: Ruling | None = None
    behind: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    windows: Mapping[str, Spans] = field(default_factory=dict)
    disks: Mapping[str, tuple[DiskTold, ...]] = field(default_factory=dict)

    def fill_bytes(self, box: Appliance) -> int:
        """Bytes that a box may pull until the next plan."""
        return fill_bytes(box, self.knobs, self.windows.get(box.site))


@dataclass(frozen=True, slots=True)
class Task:
    """One site to plan, and the bytes a day that nearer ones leave to it (places in the asset
    arrays, rising, and bytes)."""

    site: Site
    boxes: tuple[Appliance, ...]
    own: slice
    taken_at: Ints
    taken_bytes: Floats


@dataclass(frozen=True, slots=True)
class SitePlan:
    """One site as planned. `at` (n): its assets, as places in the asset arrays, rising; demand of
    its own clients, taken from nearer sites, and share of each that goes on. `drop_box`,
    `drop_asset` (ids): what is stored and not wanted any more."""

    site: Site
    boxes: tuple[str, ...]
    at: Ints
    own: Floats
    taken: Floats
    unmet: Floats
    placed: Placed
    pinless: tuple[tuple[str, int], ...]
    drop_box: Ints
    drop_asset: Ints
    oracle_bytes: float
    points: tuple[float, ...]

    @property
    def served_own(self) -> float:
        """Bytes a day of its own clients that the site should serve."""
        return self._share(self.own)

    @property
    def served_taken(self) -> float:
        """Bytes a day of nearer sites' clients that it should serve."""
        return self._share(self.taken)

    def _share(self, part: Floats) -> float:
        whole = self.own + self.taken
        served = self.placed.served
        share = np.divide(served, whole, out=np.zeros(len(whole)), where=whole > 0)
        return float((part * np.minimum(share, 1.0)).sum())


def usable_bytes(box: Appliance, knobs: PlanKnobs) -> int:
    """Bytes of a box's disks that plans may fill."""
    return int(box.disk_bytes * (1.0 - knobs.reserve_share))


def fill_rate_bps(box: Appliance, knobs: PlanKnobs) -> float:
    """Bits a second that a box may pull."""
    return min(float(knobs.fill_bps), box.link_bps * knobs.fill_link_share)


def fill_bytes(box: Appliance, knobs: PlanKnobs, spans: Spans | None = None) -> int:
    """Bytes that a box may pull in one window, or while `spans` are open."""
    seconds = knobs.window_s if spans is None else length_s(spans)
    return int(fill_rate_bps(box, knobs) * seconds / 8)


def plan_site(inputs: Inputs, task: Task) -> SitePlan:
    """Plan one site; equal inputs give equal plans."""
    knobs, assets = inputs.knobs, inputs.assets
    boxes = tuple(
        Box(box.id, _room_bytes(inputs, box), inputs.fill_bytes(box), box.link_bps)
        for box in task.boxes
    )
    own_at, known = assets.at(inputs.demand.asset[task.own])
    own_at = own_at[known]
    held = [_held(inputs, box.id) for box in boxes]
    named = _named(inputs, task.site)
    at = np.unique(np.concatenate([own_at, task.taken_at, named, *(each[0] for each in held)]))
    own = np.zeros(len(at))
    own[np.searchsorted(at, own_at)] = inputs.demand.bytes_a_day[task.own][known]
    spread = np.zeros(len(at))
    spread[np.searchsorted(at, own_at)] = inputs.demand.spread[task.own][known]
    taken = np.zeros(len(at))
    taken[np.searchsorted(at, task.taken_at)] = task.taken_bytes
    problem = _problem(inputs, task, boxes, at, own + taken, spread, [each[0] for each in held])
    placed = place(problem, knobs)
    drop_box, drop_asset = _dropped(problem, placed, [each[1] for each in held])
    return SitePlan(
        site=task.site,
        boxes=tuple(box.id for box in boxes),
        at=at,
        own=own,
        taken=taken,
        unmet=placed.unmet_share(own + taken, knobs.away_share),
        placed=placed,
        pinless=_pinless(problem, placed),
        drop_box=drop_box,
        drop_asset=drop_asset,
        oracle_bytes=oracle_bytes(problem, own, knobs),
        points=tuple(points(problem.size, own, POINTS)),
    )


def _room_bytes(inputs: Inputs, box: Appliance) -> int:
    """Usable bytes of the disks that are in use."""
    return int(usable_bytes(box, inputs.knobs) * live_share(inputs.disks.get(box.id, ())))


def _held(inputs: Inputs, box: str) -> tuple[Ints, Ints]:
    """What a box holds: places of what may be planned, and ids of what may not (any more)."""
    ids = inputs.held.get(box)
    if ids is None or not len(ids):
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    place_, known = inputs.assets.at(ids)
    return place_[known], ids[~known]


def _named(inputs: Inputs, site: Site) -> Ints:
    if inputs.ruling is None:
        return np.zeros(0, np.int32)
    at, known = inputs.assets.at(np.array(sorted(inputs.ruling.named(site)), np.int32))
    return at[known]


def _problem(
    inputs: Inputs,
    task: Task,
    boxes: tuple[Box, ...],
    at: Ints,
    demand: Floats,
    spread: Floats,
    held: list[Ints],
) -> SiteProblem:
    assets, shape = inputs.assets, (len(at), len(boxes))
    stored, pinned = np.zeros(shape, bool), np.zeros(shape, bool)
    for column, places in enumerate(held):
        stored[np.searchsorted(at, places), column] = True
    may, floor = np.ones(shape, bool), np.zeros(len(at), np.int64)
    for column, box in enumerate(boxes):
        may[:, column] = stored[:, column] | storable(assets.ids[at], inputs.disks.get(box.id, ()))
    if inputs.ruling is not None:
        rules = inputs.ruling.at(task.site, {box.id for box in boxes}, assets.ids[at])
        may &= rules.may[:, None]
        floor = rules.floor
        for column, box in enumerate(boxes):
            if box.id in rules.pinned:
                pinned[rules.pinned[box.id], column] = True
    return SiteProblem(
        boxes=boxes,
        assets=assets.ids[at],
        size=assets.size[at],
        demand=demand,
        spread=spread,
        family=assets.family[at],
        floor=floor,
        held=stored,
        may=may,
        pinned=pinned,
    )


def _dropped(problem: SiteProblem, placed: Placed, unknown: list[Ints]) -> tuple[Ints, Ints]:
    gone = problem.held.copy()
    gone[placed.row, placed.box] = False
    row, box = np.nonzero(gone)
    more = [np.full(len(ids), column, np.int32) for column, ids in enumerate(unknown)]
    none = np.zeros(0, np.int32)
    return (
        np.concatenate([box.astype(np.int32), *more, none]),
        np.concatenate([problem.assets[row], *unknown, none]).astype(np.int32),
    )


def _pinless(problem: SiteProblem, placed: Placed) -> tuple[tuple[str, int], ...]:
    """Pins that found no room: box and asset."""
    missing: Flags = problem.pinned.copy()
    missing[placed.row, placed.box] = False
    row, box = np.nonzero(missing)
    return tuple(
        (problem.boxes[b].id, int(problem.assets[r]))
        for r, b in zip(row.tolist(), box.tolist(), strict=True)
    )
