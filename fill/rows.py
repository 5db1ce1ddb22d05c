"""A plan of the whole fleet as columns: which box keeps, fetches, drops what, from whom. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from fill.arrays import Flags, Floats, Ints, Longs
from fill.planner import Night
from fill.sitework import SitePlan
from fill.sourcing import Sourced
from wire.fleet import Wanted
from wire.ids import ORIGIN_ID


class Action(IntEnum):
    """What a box does about an asset; the names are those in plan.parquet."""

    KEEP = 0
    FETCH = 1
    DROP = 2


ACTIONS = tuple(action.name.lower() for action in Action)


@dataclass(frozen=True, slots=True)
class Rows:
    """One row per box and asset; rows of a box stand together, its wanted assets in falling order
    of value (`rank` from 0), then what it drops. `box` indexes `boxes` (ids); `value`: bytes asked
    for a day for each byte stored; `number` says the how-manieth copy in the site it is (0 for a
    drop); sources of row i are `source[start[i]:start[i + 1]]` (indexes of `boxes`), best first;
    `outside`: this box fetches the asset from outside its site."""

    boxes: tuple[str, ...]
    box: Ints
    asset: Ints
    action: Ints
    bytes: Longs
    value: Floats
    rank: Ints
    number: Ints
    start: Longs
    source: Ints
    outside: Flags

    def __len__(self) -> int:
        return len(self.box)

    def where(self, mask: Flags) -> Rows:
        """Some of the rows, in their order."""
        row = np.flatnonzero(mask)
        start, source = gathered(self.start, self.source, row)
        return Rows(
            self.boxes,
            self.box[row],
            self.asset[row],
            self.action[row],
            self.bytes[row],
            self.value[row],
            self.rank[row],
            self.number[row],
            start,
            source,
            self.outside[row],
        )

    def on(self, boxes: tuple[str, ...], moved: Ints) -> Rows:
        """The same rows over other `boxes`; `moved` says where each old one is there."""
        return replace(self, boxes=boxes, box=moved[self.box], source=moved[self.source])

    def ranges(self) -> Mapping[str, slice]:
        """Where the rows of each box are; boxes without rows are absent."""
        if not len(self):
            return {}
        first = np.flatnonzero(np.diff(self.box, prepend=-1))
        last = np.append(first[1:], len(self))
        return {
            self.boxes[int(self.box[a])]: slice(int(a), int(b))
            for a, b in zip(first, last, strict=True)
        }

    def callers(self) -> Iterator[tuple[str, str]]:
        """(source, box) for every box that has the other as a source."""
        asker = np.repeat(self.box, np.diff(self.start)).astype(np.int64)
        for key in np.unique(self.source.astype(np.int64) * len(self.boxes) + asker).tolist():
            yield self.boxes[key // len(self.boxes)], self.boxes[key % len(self.boxes)]


def gathered(start: Longs, flat: Ints, row: Longs) -> tuple[Longs, Ints]:
    """The lists of some rows, in the order of `row`."""
    counts = start[row + 1] - start[row]
    ends = np.concatenate(([0], np.cumsum(counts)))
    index = np.arange(int(ends[-1])) - np.repeat(ends[:-1] - start[row], counts)
    return ends.astype(np.int64), flat[index]


def joined(parts: list[Rows], boxes: tuple[str, ...]) -> Rows:
    """Rows of different boxes, one part after the other; all index the same `boxes`."""
    counts = [np.diff(part.start) for part in parts] or [np.zeros(0, np.int64)]
    none = np.zeros(0, np.int32)

    def column(name: str) -> Ints:
        return np.concatenate([getattr(part, name) for part in parts]) if parts else none

    return Rows(
        boxes,
        column("box"),
        column("asset"),
        column("action"),
        column("bytes").astype(np.int64),
        column("value").astype(np.float64),
        column("rank"),
        column("number"),
        np.concatenate(([0], np.cumsum(np.concatenate(counts)))).astype(np.int64),
        column("source"),
        column("outside").astype(bool),
    )


def rows_of(night: Night) -> Rows:
    """The rows of a night: sites in the order of planning, drained boxes at the end."""
    boxes = tuple(box.id for box in night.inputs.fleet.appliances)
    parts = [
        _site_rows(night, plan, night.sourced[name], boxes) for name, plan in night.plans.items()
    ]
    for index, box in enumerate(night.inputs.fleet.appliances):
        if box.state is not Wanted.IN_SERVICE and box.id != ORIGIN_ID:
            parts.append(_drained(night, index, boxes))
    return joined([part for part in parts if len(part)], boxes)


def _site_rows(night: Night, plan: SitePlan, sourced: Sourced, boxes: tuple[str, ...]) -> Rows:
    placed, assets = plan.placed, night.inputs.assets
    numbers = np.array([night.places.box[name] for name in plan.boxes], np.int32)
    order = np.lexsort((plan.at[placed.row], -placed.density, placed.box))
    row, box = placed.row[order], placed.box[order]
    start, source = gathered(sourced.start, sourced.source, order)
    rank = np.arange(len(row)) - np.searchsorted(box, box)
    wanted = Rows(
        boxes,
        numbers[box] if len(numbers) else box.astype(np.int32),
        assets.ids[plan.at[row]],
        np.where(placed.held[order], Action.KEEP, Action.FETCH).astype(np.int32),
        assets.size[plan.at[row]],
        placed.density[order],
        rank.astype(np.int32),
        placed.number[order].astype(np.int32),
        start,
        source,
        sourced.outside[order],
    )
    return _with_drops(night, plan, wanted, numbers) if len(plan.drop_box) else wanted


def _with_drops(night: Night, plan: SitePlan, wanted: Rows, numbers: Ints) -> Rows:
    many, assets = len(plan.drop_box), night.inputs.assets
    at, known = assets.at(plan.drop_asset)
    size = np.where(known, assets.size[at], 0) if len(assets.ids) else np.zeros(many, np.int64)
    value = np.zeros(many)
    if len(plan.at):
        place = np.minimum(np.searchsorted(plan.at, at), len(plan.at) - 1)
        here = known & (plan.at[place] == at)
        value[here] = (plan.own + plan.taken)[place[here]] / size[here]
    zeros = np.zeros(many, np.int32)
    drops = Rows(
        wanted.boxes,
        numbers[plan.drop_box],
        plan.drop_asset,
        np.full(many, Action.DROP, np.int32),
        size.astype(np.int64),
        value,
        zeros,
        zeros,
        np.zeros(many + 1, np.int64),
        zeros[:0],
        zeros > 0,
    )
    both = joined([wanted, drops], wanted.boxes)
    column = np.full(len(wanted.boxes), -1, np.int64)
    column[numbers] = np.arange(len(numbers))
    order = np.lexsort((both.asset, -both.value, both.action == Action.DROP, column[both.box]))
    return _renumbered(both, order)


def _renumbered(rows: Rows, order: Longs) -> Rows:
    start, source = gathered(rows.start, rows.source, order)
    box = rows.box[order]
    first = np.flatnonzero(np.diff(box, prepend=-1))
    rank = np.arange(len(box)) - np.repeat(first, np.diff(np.append(first, len(box))))
    return Rows(
        rows.boxes,
        box,
        rows.asset[order],
        rows.action[order],
        rows.bytes[order],
        rows.value[order],
        rank.astype(np.int32),
        rows.number[order],
        start,
        source,
        rows.outside[order],
    )


def _drained(night: Night, index: int, boxes: tuple[str, ...]) -> Rows:
    """A drained box keeps what it has, and fetches none."""
    inputs = night.inputs
    ids = inputs.held.get(boxes[index], np.zeros(0, np.int32))
    at, known = inputs.assets.at(ids)
    at, many = at[known], int(known.sum())
    zeros = np.zeros(many, np.int32)
    origin = night.places.box.get(ORIGIN_ID)
    source = zeros[:0] if origin is None else np.full(many, origin, np.int32)
    return Rows(
        boxes,
        np.full(many, index, np.int32),
        inputs.assets.ids[at],
        zeros + np.int32(Action.KEEP),
        inputs.assets.size[at],
        np.zeros(many),
        np.arange(many, dtype=np.int32),
        zeros + np.int32(1),
        np.arange(many + 1, dtype=np.int64) * (0 if origin is None else 1),
        source,
        zeros > 0,
    )
