"""Which boxes of one site hold which assets: the most demand for disk, transfer and links. Pure.

The first copy of an asset is worth the demand that a link can carry of it; further copies carry
the rest, and those after them are worth the share of time that a box is away. Copies already stored
cost nothing; others go to boxes in rendezvous order, the hottest to those with the most link for
their disk, and spill when one is full. `fill.greedy` does the placing; here is what it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from fill.arrays import Flags, Floats, Ints, Longs
from fill.config import DAY_S, PlanKnobs
from fill.greedy import MUST, Batch, Greedy, Limit, Offers, Rows
from fill.rendezvous import distances

UNLIKE = 1.5  # boxes differ when one has so many times another's link for each byte of disk
HOT_SHARES = (0.25, 0.5, 1.0)  # of the disks with the most link: what may be moved there
BETTER = 1.0005  # another order of boxes must gain so much, or days differ for nothing


class Refusal(Enum):
    """Why a box does not hold an asset."""

    DISK = "its disk is full of what is asked for more"
    FILL = "tonight's transfer is spent on what is asked for more"
    PRICE = "so little is asked of it that fetching it does not pay"
    SIZE = "it is larger than the box's usable disk"
    BAN = "the rules keep it out of here"
    LINK = "the copies there are carry what is asked for, or no link has room for it"


@dataclass(frozen=True, slots=True)
class Box:
    """One appliance that may hold things: usable disk and tonight's transfer in bytes."""

    id: str
    disk_bytes: int
    fill_bytes: int
    link_bps: int


@dataclass(frozen=True, slots=True)
class SiteProblem:
    """What one site is asked, `n` assets by `b` boxes; rows in rising order of asset.

    `demand` and `spread` (its standard deviation) in bytes a day, `size` in bytes. Assets of one
    `family` (a title's ladder, known by its first id) ask boxes in the same order: a player gets a
    film from one box. `floor` is a number of copies that must be there (launches), `pinned` names
    the box; `may` is false where rules forbid.
    """

    boxes: tuple[Box, ...]
    assets: Ints
    size: Longs
    demand: Floats
    spread: Floats
    family: Longs
    floor: Longs
    held: Flags
    may: Flags
    pinned: Flags


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer. Copies, sorted by (row, number): `row` of the problem, `box`, the `number`-th of
    its asset (from 1), at `density` (bytes a day that it is worth, for each byte stored), `held`
    already, and the bytes a day it should carry. By row: copies, bytes a day `served`, density of
    the best copy that was `refused` (-1: none). By box: thresholds `tau`, `mu`."""

    row: Rows
    box: Rows
    number: Longs
    density: Floats
    held: Flags
    carried: Floats
    copies: Longs
    served: Floats
    refused: Floats
    tau: Floats
    mu: Floats
    value: float

    def unmet_share(self, demand: Floats, away_share: float) -> Floats:
        """Share of each row's demand that goes on to farther sites, absences included."""
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.where(demand > 0, 1.0 - self.served / demand, 0.0)
        away: Floats = away_share ** self.copies.astype(float)
        return np.asarray(np.maximum(np.clip(left, 0.0, 1.0), away), np.float64)


def place(problem: SiteProblem, knobs: PlanKnobs) -> Placed:
    """Place assets on the boxes of one site; the same input gives the same answer."""
    if not problem.boxes or not len(problem.assets):
        return _nothing(problem)
    far = _order_of_asking(problem)
    offers = _offers(problem, knobs, _ordered(problem, far))
    best = _run(problem, offers)
    for order in _other_orders(problem, offers, best, far):
        other = _run(problem, replace(offers, order=order))
        if _worth(other) > BETTER * _worth(best):
            best = other
    return _placed(best)


def _nothing(problem: SiteProblem) -> Placed:
    n, b = problem.held.shape
    none, empty = np.zeros(0, np.intp), np.zeros(0)
    return Placed(
        row=none,
        box=none,
        number=none.astype(np.int64),
        density=empty,
        held=none > 0,
        carried=empty,
        copies=np.zeros(n, np.int64),
        served=np.zeros(n),
        refused=np.full(n, -1.0),
        tau=np.zeros(b),
        mu=np.full(b, 0.0),
        value=0.0,
    )


def serve_bytes(link_bps: int, knobs: PlanKnobs) -> float:
    """Bytes a day that a link carries when its busiest minutes fill it."""
    return link_bps / 8 * DAY_S / knobs.peak_factor


def oracle_bytes(problem: SiteProblem, demand: Floats, knobs: PlanKnobs) -> float:
    """Bytes a day of `demand` (by row) that the site could serve at best: all its disks as one, all
    its links as one, no transfer to pay. The fractional knapsack, so an upper bound."""
    sums, sizes = _coverage(problem.size, demand)
    disk = float(sum(box.disk_bytes for box in problem.boxes))
    links = sum(serve_bytes(box.link_bps, knobs) for box in problem.boxes)
    return min(float(np.interp(disk, sizes, sums)), links)


def points(size: Longs, demand: Floats, shares: Sequence[float]) -> list[float]:
    """Bytes of disk that one copy of what is asked for most takes, to cover each of `shares` of the
    demand: what a further point of offload costs."""
    sums, sizes = _coverage(size, demand)
    return [float(np.interp(share * sums[-1], sums, sizes)) for share in shares]


def _coverage(size: Longs, demand: Floats) -> tuple[Floats, Floats]:
    """Demand and bytes of the first 0, 1, 2 … assets in falling order of density."""
    asked = np.flatnonzero(demand > 0)
    order = asked[np.argsort(-demand[asked] / size[asked], kind="stable")]
    sums = np.concatenate(([0.0], np.cumsum(demand[order])))
    return sums, np.concatenate(([0.0], np.cumsum(size[order].astype(float))))


def _order_of_asking(problem: SiteProblem) -> Rows:
    """Rendezvous ranks (n, b): 0 for the box that is asked first. Weights are disks."""
    weights = np.array([float(box.disk_bytes) for box in problem.boxes])
    far = distances(problem.family, [box.id for box in problem.boxes], weights)
    return np.asarray(far.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable"))


def _ordered(problem: SiteProblem, ranks: Rows, tier: Longs | None = None) -> Rows:
    """Boxes in the order of asking: by `tier` (n, b), holders first, by rendezvous."""
    many = len(problem.boxes) + 1
    key = ranks + np.where(problem.held, 0, many)
    if tier is not None:
        key = key + tier * 2 * many
    return np.asarray(key.argsort(axis=1, kind="stable"))


def _offers(problem: SiteProblem, knobs: PlanKnobs, order: Rows) -> Offers:
    boxes = problem.boxes
    serve = np.array([serve_bytes(box.link_bps, knobs) for box in boxes], float)
    fits = problem.size[:, None] <= np.array([box.disk_bytes for box in boxes], np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        doubt = np.where(problem.demand > 0, problem.spread / problem.demand, 0.0)
    copy = serve * knobs.copy_link_share
    price = 1.0 / knobs.repay_days
    return Offers(
        size=problem.size,
        demand=problem.demand,
        number=_copies_offered(problem, copy, price, knobs.away_share),
        must=problem.floor,
        caution=np.minimum(1.0, knobs.caution * doubt),
        held=problem.held,
        may=problem.may & fits,
        order=order,
        disk=np.array([box.disk_bytes for box in boxes], np.int64),
        fill=np.array([box.fill_bytes for box in boxes], np.int64),
        serve=serve,
        copy=copy,
        price=price,
        away=knobs.away_share,
    )


def _copies_offered(problem: SiteProblem, copy: Floats, price: float, away: float) -> Longs:
    """As many copies as could pay: what links lack, and spares while boxes are away."""
    boxes, demand = len(problem.boxes), problem.demand
    least = max(float(copy.min(initial=np.inf)), 1.0)
    carrying = np.ceil(np.minimum(demand / least, boxes))
    most = np.minimum(demand, float(copy.max(initial=0.0)))
    spare = np.zeros(len(demand))
    if 0.0 < away < 1.0:
        with np.errstate(divide="ignore"):
            ratio = np.log(np.minimum(1.0, price * problem.size / np.maximum(most, 1e-300)))
        spare = np.floor(np.minimum(ratio / np.log(away), boxes))
    elif away >= 1.0:
        spare = np.full(len(demand), boxes)
    paying = np.where(demand > 0, carrying + spare, 0)
    number = np.maximum(np.maximum(paying, problem.floor), problem.held.sum(axis=1))
    return np.asarray(np.minimum(number, boxes), np.int64)


def _run(problem: SiteProblem, offers: Offers) -> Greedy:
    run = Greedy(offers)
    asset, box = np.nonzero(problem.pinned & offers.may)
    run.pin(asset, box)
    return run.run()


def _other_orders(problem: SiteProblem, offers: Offers, best: Greedy, far: Rows) -> list[Rows]:
    """Other orders worth a try: where links ran dry, the hot to those with the most link for their
    disk; where some disks are much fuller than others, fetches to the emptier ones."""
    orders = []
    rich = offers.serve / np.maximum(offers.disk, 1)
    dry = best.left[Limit.LINK] < 0.01 * offers.serve
    if dry.any() and rich.max() > UNLIKE * rich.min():
        kinds = -np.round(np.log(np.maximum(rich, 1e-12)) / np.log(UNLIKE))
        like = np.unique(kinds, return_inverse=True)[1]
        for share in HOT_SHARES:
            hot = _hottest(problem, share * float(offers.disk[rich >= rich.max() / UNLIKE].sum()))
            tier = np.where(hot[:, None], like[None, :], -like[None, :] + len(like))
            moved = np.where(hot[:, None] | ~problem.held, tier, 0)
            orders.append(_ordered(problem, far, moved.astype(np.int64)))
    full = best.tau >= 0.5 * best.tau.max(initial=0.0)
    if best.tau.max(initial=0.0) > 0 and not full.all():
        tier = np.where(problem.held, 0, np.where(full[None, :], 2, 1))
        orders.append(_ordered(problem, far, tier))
    return orders


def _hottest(problem: SiteProblem, disk_bytes: float) -> Flags:
    """The assets asked for most for their size, up to so many bytes."""
    order = np.argsort(-problem.demand / problem.size, kind="stable")
    hot = np.zeros(len(order), bool)
    hot[order[np.cumsum(problem.size[order]) <= disk_bytes]] = True
    return hot


def _worth(run: Greedy) -> float:
    """Bytes a day that a run is worth, transfers paid; what must be there counts as asked for."""
    o, total = run.offers, 0.0
    for batch in run.done:
        fetched = ~o.held[batch.asset, batch.box]
        total += float(batch.value.sum() - o.price * o.size[batch.asset[fetched]].sum())
        total += float(batch.forced.sum()) * MUST
    return total


def _placed(run: Greedy) -> Placed:
    o = run.offers
    done = _joined(run.done)
    order = np.argsort(done.asset, kind="stable")
    done = done.where(order)
    starts = np.searchsorted(done.asset, done.asset)
    density = done.value / o.size[done.asset]
    return Placed(
        row=done.asset,
        box=done.box,
        number=np.arange(len(done)) - starts + 1,
        density=density,
        held=o.held[done.asset, done.box],
        carried=done.carried,
        copies=run.copies.astype(np.int64),
        served=np.bincount(done.asset, done.carried, len(o.size)).astype(np.float64),
        refused=run.refused,
        tau=np.maximum(run.tau, 0.0),
        mu=np.maximum(o.price, run.fill_bar - np.maximum(run.tau, 0.0)),
        value=float(done.value.sum()),
    )


def _joined(batches: Sequence[Batch]) -> Batch:
    if not batches:
        none = np.zeros(0, np.intp)
        zero = np.zeros(0)
        return Batch(none, none, zero, zero, zero, none > 0)
    names = ("asset", "box", "carried", "value", "worth", "forced")
    return Batch(*(np.concatenate([getattr(each, name) for each in batches]) for name in names))
