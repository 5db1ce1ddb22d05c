"""When the night's transfers happen: slot by slot, one copy into each site, then peers. Pure.

The first copy of an asset comes from another site or the origin; whoever is to have one as well
gets it from a neighbour that has it whole, a slot later at the soonest. What the window does not
hold is told with what it costs: this is a forecast of the agents' work, which they do by rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fill.arrays import Flags, Floats, Ints, Longs
from fill.config import PlanKnobs
from fill.flow import shares
from fill.hours import Hours, SlotHours, Spans
from fill.neighbours import Neighbours, Pieces, Shared, pass_on
from fill.planner import Spread, serially
from fill.rows import Action, Rows
from fill.sitework import fill_rate_bps
from wire.fleet import Fleet
from wire.ids import ORIGIN_ID

SLOTS = 50  # a slot is so small a part of the night's least length: what rounding may cost
WINDOW_SLOTS = 48
SLOT_S_MIN = 1.0
DAY_SLOTS = 480  # at most, where windows open at different hours: three minutes


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes a second that each box (as the rows number them) may pull and push while it fills, the
    number of its site, and the number of the origin's box (-1: none). `hours`: when boxes may pull;
    nobody is kept from giving."""

    take: Floats
    send: Floats
    site: Ints
    origin: int
    hours: Hours


@dataclass(frozen=True, slots=True)
class Schedule:
    """Pieces of transfers: `bytes` of row `row` come from box `source` in slot `slot`. `left`: what
    the window does not hold of late rows (`late`). `bound_s`: no night could be shorter."""

    rows: Rows
    slot_s: float
    window_s: int
    row: Ints
    source: Ints
    slot: Ints
    bytes: Longs
    late: Ints
    left: Longs
    bound_s: float
    upstream_bytes: int
    upstream_bound_bytes: int

    @property
    def makespan_s(self) -> float:
        """Seconds from the window's opening to the end of the last transfer's slot."""
        return float((int(self.slot.max()) + 1) * self.slot_s) if len(self.slot) else 0.0


def schedule(
    fleet: Fleet,
    knobs: PlanKnobs,
    rows: Rows,
    spread: Spread = serially,
    windows: Mapping[str, Spans] | None = None,
) -> Schedule:
    """Time every fetch of a plan. `windows`: when the boxes of a site may pull (seconds from now);
    those of others may for `knobs.window_s` from now on."""
    rates = _rates(fleet, knobs, rows, windows or {})
    horizon_s = rates.hours.horizon_s or knobs.window_s
    fetch = np.flatnonzero(rows.action == Action.FETCH).astype(np.int32)
    first = fetch[rows.outside[fetch]]
    bound_s = _bound_s(rows, rates, fetch, first)
    slot_s = min(max(bound_s / SLOTS, SLOT_S_MIN), knobs.window_s / WINDOW_SLOTS)
    if windows:
        slot_s = max(slot_s, horizon_s / DAY_SLOTS)
    slots = max(1, int(horizon_s / slot_s))
    open_ = rates.hours.slots(slot_s, slots)
    outer = _from_outside(rows, rates, first, slot_s, open_)
    inner = _among_neighbours(rows, rates, fetch, outer, slot_s, open_, spread)
    pieces = [outer, *inner]
    row = np.concatenate([each.row for each in pieces])
    moved = np.concatenate([each.bytes for each in pieces])
    missing = rows.bytes[fetch] - np.bincount(row, moved, len(rows))[fetch].astype(np.int64)
    late = missing > 0
    return Schedule(
        rows=rows,
        slot_s=slot_s,
        window_s=horizon_s,
        row=row,
        source=np.concatenate([each.source for each in pieces]),
        slot=np.concatenate([each.slot for each in pieces]),
        bytes=moved,
        late=fetch[late],
        left=missing[late],
        bound_s=bound_s,
        upstream_bytes=int(outer.bytes.sum()),
        upstream_bound_bytes=_unique_new(rows, rates, fetch),
    )


def _rates(fleet: Fleet, knobs: PlanKnobs, rows: Rows, windows: Mapping[str, Spans]) -> Rates:
    sites = {site.id: index for index, site in enumerate(fleet.sites)}
    boxes = {box.id: box for box in fleet.appliances}
    known = [boxes[name] for name in rows.boxes]
    return Rates(
        np.array([fill_rate_bps(box, knobs) / 8 for box in known], float),
        np.array([box.link_bps * knobs.fill_link_share / 8 for box in known], float),
        np.array([sites[box.site] for box in known], np.int32),
        rows.boxes.index(ORIGIN_ID) if ORIGIN_ID in rows.boxes else -1,
        Hours.of([windows.get(box.site, ((0, knobs.window_s),)) for box in known]),
    )


def _bound_s(rows: Rows, rates: Rates, fetch: Ints, first: Ints) -> float:
    """No box is done before its bytes at its rate, and what only the origin has cannot leave it
    faster than its link."""
    boxes = len(rates.take)
    own = np.bincount(rows.box[fetch], rows.bytes[fetch], boxes) / np.maximum(rates.take, 1.0)
    bound = rates.hours.done_s(own)
    if rates.origin >= 0:
        sourced = first[rows.start[first + 1] > rows.start[first]]
        only = sourced[rows.source[rows.start[sourced]] == rates.origin]
        bound = max(bound, float(rows.bytes[only].sum() / max(rates.send[rates.origin], 1.0)))
    return bound


def _unique_new(rows: Rows, rates: Rates, fetch: Ints) -> int:
    """Bytes of the assets that are new to their site: they have to come from outside once."""
    keep = rows.action == Action.KEEP
    most = int(rows.asset.max(initial=0)) + 1
    site = rates.site[rows.box].astype(np.int64) * most + rows.asset
    new, at = np.unique(site[fetch], return_index=True)
    fresh = ~np.isin(new, site[keep])
    return int(rows.bytes[fetch[at[fresh]]].sum())


def _from_outside(rows: Rows, rates: Rates, first: Ints, slot_s: float, open_: SlotHours) -> Pieces:
    """First copies, by min-cost flow slot by slot over (box, source) pairs."""
    sourced = first[rows.start[first + 1] > rows.start[first]]
    if not len(sourced):
        return Pieces.none()
    source = rows.source[rows.start[sourced]]
    order = np.lexsort((rows.rank[sourced], source, rows.box[sourced]))
    queue, source = sourced[order], source[order]
    key = rows.box[queue].astype(np.int64) * len(rates.take) + source
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    pair_box, pair_source = rows.box[queue[starts]], source[starts]
    left = np.add.reduceat(rows.bytes[queue], starts)
    whole = left.copy()
    take, send = (rates.take * slot_s).astype(np.int64), (rates.send * slot_s).astype(np.int64)
    given: list[tuple[int, Longs, Longs]] = []
    for slot in range(open_.count):
        may = open_.at(slot)
        some = np.flatnonzero((left > 0) & (may[pair_box] > 0))
        if not len(some):
            if not left.any():
                break
            continue
        togo = np.bincount(pair_box[some], left[some], len(take)) / np.maximum(take, 1)
        got, other = shares(
            pair_box[some],
            pair_source[some],
            left[some],
            (take * may).astype(np.int64),
            send,
            rates.origin,
            togo / max(togo.max(), 1e-9),
        )
        if not (got.any() or other.any()):
            if len(some) == np.count_nonzero(left) and (may[pair_box[some]] >= 1.0).all():
                break  # all may pull, and nobody can give
            continue
        both = np.zeros((2, len(left)), np.int64)
        both[0, some], both[1, some] = got, other
        left = left - both[0] - both[1]
        given.append((slot, both[0], both[1]))
    return _cut(rows, queue, starts, whole, pair_source, rates.origin, given)


def _cut(
    rows: Rows,
    queue: Ints,
    starts: Longs,
    whole: Longs,
    pair_source: Ints,
    origin: int,
    given: list[tuple[int, Longs, Longs]],
) -> Pieces:
    """The pairs' bytes by slot, cut into pieces of transfers in the order of the queue."""
    pairs = len(starts)
    offset = np.cumsum(whole) - whole
    row_end = np.cumsum(rows.bytes[queue])
    pair, slot, origins, amount = [], [], [], []
    for number, own, other in given:
        for kind, part in enumerate((own, other)):
            some = np.flatnonzero(part)
            pair.append(some)
            slot.append(np.full(len(some), number))
            origins.append(np.full(len(some), bool(kind)))
            amount.append(part[some])
    if not given:
        return Pieces.none()
    pair_, slot_ = np.concatenate(pair), np.concatenate(slot)
    origin_, amount_ = np.concatenate(origins), np.concatenate(amount)
    order = np.argsort(pair_, kind="stable")
    pair_, slot_, origin_, amount_ = pair_[order], slot_[order], origin_[order], amount_[order]
    got = np.bincount(pair_, amount_, pairs).astype(np.int64)
    before = np.cumsum(amount_) - amount_
    base = before[np.minimum(np.searchsorted(pair_, np.arange(pairs)), len(pair_) - 1)]
    begin = offset[pair_] + before - base[pair_]
    end = begin + amount_
    edges = np.unique(np.concatenate([begin, end, row_end - rows.bytes[queue], row_end]))
    a, b = edges[:-1], edges[1:]
    at = np.searchsorted(row_end, a, side="right")
    segment = np.minimum(np.searchsorted(end, a, side="right"), len(end) - 1)
    real = (begin[segment] <= a) & (b <= end[segment]) & (got[pair_[segment]] > 0)
    at, segment, size = at[real], segment[real], (b - a)[real]
    source = np.where(origin_[segment], origin, pair_source[pair_[segment]])
    return Pieces(queue[at], source.astype(np.int32), slot_[segment].astype(np.int32), size)


def _among_neighbours(
    rows: Rows,
    rates: Rates,
    fetch: Ints,
    outer: Pieces,
    slot_s: float,
    open_: SlotHours,
    spread: Spread,
) -> list[Pieces]:
    """Further copies, site by site, on what the boxes' rates leave."""
    waiting = fetch[~rows.outside[fetch]]
    if not len(waiting):
        return []
    used = int(outer.slot.max(initial=-1)) + 1
    boxes = len(rates.take)
    spent = np.zeros((2, boxes, used))
    np.add.at(spent[0], (rows.box[outer.row], outer.slot), outer.bytes)
    np.add.at(spent[1], (outer.source, outer.slot), outer.bytes)
    ready = _ready(rows, outer)
    shared = Shared(rows, rates.take * slot_s, rates.send * slot_s, spent[0], spent[1], open_)
    order = np.argsort(rates.site[rows.box[waiting]], kind="stable")
    waiting = waiting[order]
    sites = rates.site[rows.box[waiting]]
    starts = np.flatnonzero(np.diff(sites, prepend=-1))
    ends = np.append(starts[1:], len(waiting))
    site_of_row = rates.site[rows.box]
    by_site = np.argsort(site_of_row, kind="stable")
    sorted_site = site_of_row[by_site]
    tasks = []
    for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
        site = int(sites[a])
        mine = by_site[slice(*np.searchsorted(sorted_site, (site, site + 1)).tolist())]
        mine = mine[_first_or_kept(rows, ready, mine)]
        wanted = np.isin(rows.asset[mine], rows.asset[waiting[a:b]])
        mine = mine[wanted]
        tasks.append(Neighbours(waiting[a:b], mine, ready[mine]))
    return list(spread(pass_on, shared, tasks, "schedule"))


def _ready(rows: Rows, outer: Pieces) -> Ints:
    """The slot from which each row's box can give its asset to others: 0 for what is kept, -1 for
    what never comes from outside."""
    ready = np.full(len(rows), -1, np.int32)
    ready[rows.action == Action.KEEP] = 0
    got = np.bincount(outer.row, outer.bytes, len(rows)).astype(np.int64)
    last = np.full(len(rows), -1, np.int32)
    np.maximum.at(last, outer.row, outer.slot)
    whole = (got >= rows.bytes) & (last >= 0)
    ready[whole] = last[whole] + 1
    return ready


def _first_or_kept(rows: Rows, ready: Ints, mine: Longs) -> Flags:
    return np.asarray((ready[mine] >= 0) & (rows.action[mine] != Action.DROP))
