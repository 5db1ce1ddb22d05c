"""Copies offered to the boxes of a site in falling order of worth, whole runs at once. Pure.

With value per byte as density, the linear optimum of one box is two thresholds: keep what is ≥ τ,
fetch what is ≥ τ + μ (Dantzig 1957 for the knapsack; τ and μ are the prices of disk and transfer in
the dual). Taking offers in falling order of worth finds both. All offers up to the one that some
box cannot take are taken together by sums over arrays; so the work is a few passes for each time a
disk, a night's transfer or a link is used up, and not a step for each copy. What a box then has
left is offered once more to what is small enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fill.arrays import Flags, Floats, Longs

Rows = NDArray[np.intp]
BARS_MAX = 64  # single refusals before a box is shut to all: small sites are placed exactly
ROOM_SHARE = 0.01  # with less room left than this a box is shut, and its hole filled at the end
HOLE_ROUNDS = 12
MUST = 1e12  # what must be there comes before all that is asked for


class Limit(IntEnum):
    """What ran out."""

    DISK = 0
    FILL = 1
    LINK = 2


@dataclass(frozen=True, slots=True)
class Offers:
    """What is placed: `n` assets by `b` boxes. `order` (n, b) is in which order boxes are asked;
    `number` (n) is how many copies are offered; `must` (n) of them are placed whatever they are
    worth; demand in bytes a day, sizes in bytes; `caution` lowers the worth of a fetch."""

    size: Longs
    demand: Floats
    number: Longs
    must: Longs
    caution: Floats
    held: Flags
    may: Flags
    order: Rows
    disk: Longs
    fill: Longs
    serve: Floats
    copy: Floats
    price: float
    away: float


@dataclass(slots=True)
class Batch:
    """Offers that are waiting, the copies of an asset side by side. `box` is the next to be asked,
    -1 where none is left; `carried` and `value` in bytes a day."""

    asset: Rows
    box: Rows
    carried: Floats
    value: Floats
    worth: Floats
    forced: Flags

    def __len__(self) -> int:
        return len(self.asset)

    def where(self, mask: Flags | Rows) -> Batch:
        """Some of them."""
        return Batch(
            self.asset[mask],
            self.box[mask],
            self.carried[mask],
            self.value[mask],
            self.worth[mask],
            self.forced[mask],
        )


@dataclass(slots=True)
class Greedy:
    """One run over a site; the fields that grow are its answer."""

    offers: Offers
    left: tuple[Floats, Floats, Floats] = field(init=False)
    taken: Flags = field(init=False)
    rest: Floats = field(init=False)
    copies: Rows = field(init=False)
    spare: Rows = field(init=False)
    refused: Floats = field(init=False)
    tau: Floats = field(init=False)
    fill_bar: Floats = field(init=False)
    done: list[Batch] = field(default_factory=list)
    _shut: Flags = field(init=False)
    _barred: Flags = field(init=False)
    _dry: Flags = field(init=False)
    _bars: int = 0

    def __post_init__(self) -> None:
        o = self.offers
        shape = o.held.shape
        self.left = (o.disk.astype(float), o.fill.astype(float), o.serve.astype(float))
        self.taken = np.zeros(shape, bool)
        self.rest = o.demand.copy()
        self.copies = np.zeros(shape[0], np.intp)
        self.spare = np.zeros(shape[0], np.intp)
        self.refused = np.full(shape[0], -1.0)
        self.tau, self.fill_bar = np.zeros(shape[1]), np.zeros(shape[1])
        self._shut = np.zeros((3, shape[1]), bool)
        self._barred = np.zeros(shape, bool)
        self._dry = np.zeros(shape, bool)

    def run(self) -> Greedy:
        """Place all; returns itself."""
        waiting = self._offer(np.repeat(np.arange(len(self.offers.size)), self.offers.number))
        benched = self._exhaust(waiting)
        for _ in range(HOLE_ROUNDS):
            before = len(self.done)
            benched = self._exhaust(self._reopen(benched))
            if len(self.done) == before:
                break
        return self

    def pin(self, asset: Rows, box: Rows) -> Flags:
        """Place these copies first of all; which of them found room on their box."""
        o, found = self.offers, np.zeros(len(asset), bool)
        for index, (row, name) in enumerate(zip(asset.tolist(), box.tolist(), strict=True)):
            size, fetched = float(o.size[row]), 0.0 if o.held[row, name] else float(o.size[row])
            if size <= self.left[0][name] and fetched <= self.left[1][name]:
                rest = min(self.rest[row], o.copy[name], self.left[2][name])
                self._take(_one(row, name, float(rest), float(o.demand[row])))
                found[index] = True
        return found

    def _offer(self, asset: Rows) -> Batch:
        count = len(asset)
        empty = np.zeros(count)
        forced = _ranks(asset) + self.copies[asset] < self.offers.must[asset]
        batch = Batch(asset, np.full(count, -1), empty, empty.copy(), empty.copy(), forced)
        self._ask(batch, np.ones(count, bool))
        return batch

    def _reopen(self, benched: Rows) -> Batch:
        """Holes are offered to what fits into them."""
        o = self.offers
        self._shut[:] = False
        small = o.size[:, None] <= self.left[0]
        small &= o.held | (o.size[:, None] <= self.left[1])
        self._barred = ~small
        self._dry |= self.rest[:, None] > self.left[2]
        fits: Flags = np.asarray((small & o.may & ~self.taken).any(axis=1))
        return self._offer(benched[fits[benched]])

    def _exhaust(self, waiting: Batch) -> Rows:
        """Take what can be taken; the assets of those copies that only room was wanting for."""
        benched: list[Rows] = []
        while True:
            pays = self._pays(waiting)
            asked = waiting.box >= 0
            out = waiting.where(~(pays & asked))
            np.maximum.at(self.refused, out.asset, out.value / self.offers.size[out.asset])
            benched.append(waiting.asset[pays & ~asked])
            waiting = waiting.where(pays & asked)
            if not len(waiting):
                return np.sort(np.concatenate(benched))
            waiting = self._step(waiting)

    def _pays(self, batch: Batch) -> Flags:
        held = self.offers.held[batch.asset, batch.box] | (batch.box < 0)
        return batch.forced | held | (batch.worth > 0)

    def _step(self, waiting: Batch) -> Batch:
        """Take the run up to the first offer that meets a limit, and raise that limit's price."""
        order = np.argsort(-waiting.worth, kind="stable")
        end, limit = self._first_refusal(waiting, order)
        run = order[:end]
        if end:
            self._take(waiting.where(np.sort(run)))
        keep = np.ones(len(waiting), bool)
        keep[run] = False
        if limit is not None:
            affected = self._refuse(waiting, int(order[end]), limit)
            waiting, again = waiting.where(keep), affected[keep]
            self._ask(waiting, again)
            return waiting
        return waiting.where(keep)

    def _first_refusal(self, waiting: Batch, order: Rows) -> tuple[int, Limit | None]:
        """How many offers of `order` can be taken, and the limit that the next one meets."""
        o, box = self.offers, waiting.box[order]
        asset = waiting.asset[order]
        size = o.size[asset].astype(float)
        fetched = np.where(o.held[asset, box], 0.0, size)
        best, met = len(order), None
        for number in range(o.held.shape[1]):
            mine = np.flatnonzero(box == number)
            for limit, use in zip(Limit, (size, fetched, waiting.carried[order]), strict=True):
                sums = np.cumsum(use[mine])
                at = int(np.searchsorted(sums, self.left[limit][number] + 1e-6, side="right"))
                if at < len(mine) and mine[at] < best:
                    best, met = int(mine[at]), limit
        return best, met

    def _take(self, run: Batch) -> None:
        o, size = self.offers, self.offers.size[run.asset].astype(float)
        boxes = o.held.shape[1]
        fetched = np.where(o.held[run.asset, run.box], 0.0, size)
        for limit, use in zip(Limit, (size, fetched, run.carried), strict=True):
            self.left[limit][:] -= np.bincount(run.box, use, boxes)
        self.taken[run.asset, run.box] = True
        np.add.at(self.rest, run.asset, -run.carried)
        np.add.at(self.copies, run.asset, 1)
        np.add.at(self.spare, run.asset, run.carried <= 0)
        self.done.append(run)

    def _refuse(self, waiting: Batch, offer: int, limit: Limit) -> Flags:
        """Refuse one offer, or shut the box; which offers have to be made anew."""
        o, asset, box = self.offers, int(waiting.asset[offer]), int(waiting.box[offer])
        if not waiting.forced[offer]:
            density = float(waiting.value[offer] / o.size[asset])
            if limit is Limit.DISK:
                self.tau[box] = max(self.tau[box], float(waiting.worth[offer]))
            elif limit is Limit.FILL:
                self.fill_bar[box] = max(self.fill_bar[box], density)
        whole = (o.disk, o.fill, o.serve)[limit][box]
        if self._bars < BARS_MAX and self.left[limit][box] > ROOM_SHARE * whole:
            self._bars += 1
            (self._dry if limit is Limit.LINK else self._barred)[asset, box] = True
            return np.asarray(waiting.asset == asset)
        self._shut[limit, box] = True
        hit = waiting.box == box
        if limit is Limit.FILL:
            hit &= ~o.held[waiting.asset, box]
        elif limit is Limit.LINK:
            hit &= waiting.carried > 0
        moved = np.zeros(len(o.size), bool)
        moved[waiting.asset[hit]] = True
        return moved[waiting.asset]

    def _ask(self, batch: Batch, which: Flags) -> None:
        """Find the next box for each offer of `which` (whole assets), and its worth there."""
        o = self.offers
        offer = np.flatnonzero(which)
        asset = batch.asset[offer]
        rows, local = np.unique(asset, return_inverse=True)
        open_, wet = self._open(rows)
        rest, copies, spare = self.rest[rows].copy(), self.copies[rows], self.spare[rows]
        rest[rest <= 1e-9 * o.demand[rows]] = 0.0
        rank = _ranks(asset)
        for number in range(int(rank.max(initial=-1)) + 1):
            pick = np.flatnonzero(rank == number)
            here, row = offer[pick], local[pick]
            needs = rest[row] > 0
            room = open_[row]
            link = room & (wet[row] | ~needs[:, None])
            wets: Flags = np.asarray(link.any(axis=1))
            room = np.where(wets[:, None], link, room)
            place = room.argmax(axis=1)
            any_: Flags = np.asarray(room.any(axis=1))
            box = np.where(any_, o.order[rows[row], place], -1)
            copy = np.where(any_, o.copy[box], o.copy.max())
            most = np.minimum(o.demand[rows[row]], copy)
            would = np.where(needs, np.minimum(rest[row], copy), 0.0)
            carried = np.where(any_ & wets, would, 0.0)
            extra = np.where(
                (copies[row] > 0) & (wets | ~needs | ~any_),
                o.away ** np.maximum(1, spare[row] + (carried <= 0)) * most,
                0.0,
            )
            value = np.maximum(np.where(any_, carried, would), extra)
            batch.box[here], batch.carried[here], batch.value[here] = box, carried, value
            batch.worth[here] = self._worth(rows[row], box, value, batch.forced[here])
            open_[row[any_], place[any_]] = False
            rest[row] -= carried
            copies[row] += 1
            spare[row] += carried <= 0

    def _worth(self, asset: Rows, box: Rows, value: Floats, forced: Flags) -> Floats:
        o = self.offers
        fetch = ~o.held[asset, box]
        sure = np.where(fetch, value * (1.0 - o.caution[asset]), value)
        return np.asarray(sure / o.size[asset] - np.where(fetch, o.price, 0.0) + forced * MUST)

    def _open(self, rows: Rows) -> tuple[Flags, Flags]:
        """Which boxes may take a copy of these assets, and which have link to spare, both in the
        order of asking."""
        o, order = self.offers, self.offers.order[rows]
        held = o.held[rows]
        open_ = o.may[rows] & ~self.taken[rows] & ~self._barred[rows] & ~self._shut[Limit.DISK]
        open_ &= held | ~self._shut[Limit.FILL]
        wet = ~self._dry[rows] & ~self._shut[Limit.LINK]
        along = np.arange(len(rows))[:, None]
        return open_[along, order], wet[along, order]


def _ranks(asset: Rows) -> Rows:
    """The how-manieth of its asset each offer is, from 0; equal assets stand side by side."""
    at = np.arange(len(asset))
    starts = np.concatenate(([True], asset[1:] != asset[:-1])) if len(asset) else at[:0] > 0
    return at - np.maximum.accumulate(np.where(starts, at, 0))


def _one(asset: int, box: int, carried: float, demand: float) -> Batch:
    value = max(carried, 0.0)
    return Batch(
        np.array([asset]),
        np.array([box]),
        np.array([value]),
        np.array([value if value else demand]),
        np.array([MUST]),
        np.array([True]),
    )
