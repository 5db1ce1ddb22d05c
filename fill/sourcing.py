"""From whom a box pulls an asset, best first: peers, then other sites, the origin last. Pure.

Of the boxes of a site that will hold a new asset, one fetches it from outside: the one that has the
least to fetch so far for its disk. Each later one lists those before it, so that nobody waits in a
circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fill.arrays import Flags, Floats, Ints, Longs
from fill.rendezvous import distances
from fill.sitework import Inputs, SitePlan
from wire.ids import ORIGIN_ID, SiteKind

FAR, ORIGIN = 1_000, 1_000_000  # after all peers; after all other sites


@dataclass(frozen=True, slots=True)
class Lenders:
    """For each place in the asset arrays, boxes elsewhere that keep the asset, best first: indexes
    of appliances in the fleet file, -1 where there are no more; one box a site."""

    box: Ints
    site: Ints


@dataclass(frozen=True, slots=True)
class Sourced:
    """Sources of one site's copies, by their rows: those of row i are `source[start[i]:start[i+1]]`
    (indexes of appliances in the fleet file). `outside`: the row is the one that fetches its
    asset from outside the site."""

    start: Longs
    source: Ints
    outside: Flags


@dataclass(frozen=True, slots=True)
class Places:
    """Where appliances and sites stand in the fleet file."""

    box: dict[str, int]
    site: dict[str, int]
    weight: Floats

    @classmethod
    def of(cls, inputs: Inputs) -> Places:
        """From the fleet file."""
        return cls(
            {box.id: index for index, box in enumerate(inputs.fleet.appliances)},
            {site.id: index for index, site in enumerate(inputs.fleet.sites)},
            np.array([float(max(1, box.disk_bytes)) for box in inputs.fleet.appliances]),
        )


@dataclass(frozen=True, slots=True)
class Market:
    """What sourcing of any site looks at."""

    inputs: Inputs
    places: Places
    lenders: Lenders


def lenders_of(inputs: Inputs, plans: Sequence[SitePlan], places: Places) -> Lenders:
    """Who can lend what it holds and keeps. An ISP's box fills others only where that is agreed,
    and comes after all others: it serves that ISP first."""
    knobs, many = inputs.knobs, len(inputs.assets.ids)
    width = knobs.sites_as_sources_max + 1  # one of them may be the asker's own site
    at: list[Ints] = [np.zeros(0, np.int32)]
    box: list[Ints] = [np.zeros(0, np.int32)]
    far: list[Floats] = [np.zeros(0)]
    for plan in plans:
        kind = plan.site.kind
        if kind is SiteKind.EMBEDDED and not knobs.fill_from_embedded:
            continue
        kept = plan.placed.held
        numbers = np.array([places.box[name] for name in plan.boxes], np.int32)
        weights = places.weight[numbers]
        mine = plan.at[plan.placed.row[kept]]
        column = plan.placed.box[kept]
        near = distances(inputs.assets.ids[plan.at], plan.boxes, weights)
        at.append(mine)
        box.append(numbers[column])
        last = 1e6 if kind is SiteKind.EMBEDDED else 0.0
        rank = last + 1e3 * kind.preference
        close = near[plan.placed.row[kept], column] * float(weights.sum())
        far.append(rank + close / (1.0 + close))
    return _best(np.concatenate(at), np.concatenate(box), np.concatenate(far), many, width, inputs)


def _best(at: Ints, box: Ints, far: Floats, many: int, width: int, inputs: Inputs) -> Lenders:
    names = {site.id: index for index, site in enumerate(inputs.fleet.sites)}
    site_of = np.array([names[each.site] for each in inputs.fleet.appliances], np.int32)
    order = np.lexsort((box, far, at))
    at, box = at[order], box[order]
    key = at.astype(np.int64) * max(1, len(names)) + site_of[box]
    first = np.zeros(len(key), bool)
    first[np.unique(key, return_index=True)[1]] = True
    at, box = at[first], box[first]
    rank = np.arange(len(at)) - np.searchsorted(at, at)
    keep = rank < width
    table = np.full((many, width), -1, np.int32)
    table[at[keep], rank[keep]] = box[keep]
    sites = np.where(table >= 0, site_of[table], -1).astype(np.int32)
    return Lenders(table, sites)


def source_site(market: Market, plan: SitePlan) -> Sourced:
    """The ranked sources of every copy that a site should hold, by the placement's rows."""
    placed, places = plan.placed, market.places
    numbers = np.array([places.box[name] for name in plan.boxes], np.int32)
    near = distances(market.inputs.assets.ids[plan.at], plan.boxes, places.weight[numbers])
    outside = _fetchers(market, plan, places.weight[numbers])
    key = np.where(placed.held, 0, np.where(outside, 1, 2))
    order = np.lexsort((near[placed.row, placed.box], key, placed.row))
    row, box, held = placed.row[order], placed.box[order], placed.held[order]
    pieces = _peers(row, numbers[box], held)
    pieces += _elsewhere(market, plan, row, places.site[plan.site.id])
    asker = np.concatenate([piece[0] for piece in pieces])
    rank = np.concatenate([piece[1] for piece in pieces])
    source = np.concatenate([piece[2] for piece in pieces])
    asker = order[asker]
    sort = np.lexsort((rank, asker))
    counts = np.bincount(asker, minlength=len(row))
    start = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return Sourced(start, source[sort].astype(np.int32), outside)


Piece = tuple[Longs, Longs, Ints]
"""Rows that ask, rank of the source for each, and the source."""


def _peers(row: Longs, box: Ints, held: Flags) -> list[Piece]:
    """Who of the site comes first for each row, of rows sorted by asset and turn: all before it,
    and whoever holds it already."""
    found: list[Piece] = []
    most = int(np.bincount(row).max(initial=0)) if len(row) else 0
    at = np.arange(len(row))
    for step in range(1, most):
        same = np.flatnonzero(row[step:] == row[:-step]) + step
        turn = at - np.searchsorted(row, row)
        found.append((same, turn[same - step], box[same - step]))
        later = same[held[same]]  # a source that holds it, after one that holds it too
        found.append((later - step, turn[later], box[later]))
    return found


def _elsewhere(market: Market, plan: SitePlan, row: Longs, site: int) -> list[Piece]:
    lenders, at = market.lenders, plan.at[row]
    names, asker = market.inputs.fleet.appliances, np.arange(len(row))
    found: list[Piece] = []
    used = np.zeros(len(row), np.int64)
    for column in range(lenders.box.shape[1]):
        box = lenders.box[at, column]
        good = (box >= 0) & (lenders.site[at, column] != site)
        good &= used < market.inputs.knobs.sites_as_sources_max
        used += good
        who = asker[good]
        found.append((who, np.full(len(who), FAR + column), box[good]))
    origin = market.places.box.get(ORIGIN_ID)
    if origin is not None and len(names):
        last = np.full(len(row), ORIGIN)
        found.append((asker, last, np.full(len(row), origin, np.int32)))
    return found


def _fetchers(market: Market, plan: SitePlan, weight: Floats) -> Flags:
    """Which copies are fetched from outside: of each asset that no box of the site keeps, one, so
    that boxes have to fetch in proportion to their disks."""
    placed = plan.placed
    size = market.inputs.assets.size[plan.at]
    kept = np.zeros(len(plan.at), bool)
    kept[placed.row[placed.held]] = True
    new = np.flatnonzero(~kept[placed.row])
    outside = np.zeros(len(placed.row), bool)
    alone = placed.copies[placed.row[new]] == 1
    outside[new[alone]] = True
    singles = new[alone]
    load = np.bincount(placed.box[singles], size[placed.row[singles]], len(plan.boxes)) / weight
    several = new[~alone]
    starts = np.flatnonzero(np.diff(placed.row[several], prepend=-1))
    ends = np.append(starts[1:], len(several))
    big = np.argsort(-size[placed.row[several[starts]]], kind="stable")
    boxes, loads = placed.box.tolist(), load.tolist()
    for index in big.tolist():
        rows = several[starts[index] : ends[index]].tolist()
        cost = int(size[placed.row[rows[0]]])
        chosen = min(rows, key=lambda r: (loads[boxes[r]] + cost / weight[boxes[r]], boxes[r]))
        loads[boxes[chosen]] += cost / weight[boxes[chosen]]
        outside[chosen] = True
    return outside
