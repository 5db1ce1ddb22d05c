"""Days of demand replayed: each night foreseen and planned as `fill plan` does, then judged. Pure.

What a day shows, per site, as shares of the bytes that came to it: what its own clients asked for,
and what nearer sites could not hold (`Place.nearer`), as plans expect it and as it was:

- `planned`: what the plan expected to serve; `realised`: what its disks then served;
- `oracle`: what the best disk would have, chosen by whoever knew the day's bytes, without a limit
  on transfer (the fractional knapsack, so an upper bound);
- `foreseen`: the same choice by the forecast. So oracle − foreseen is the forecast's regret (what
  nobody can foresee included) and foreseen − realised the planner's gap, churn limit included;
- `lru`: what a cache of the same size served that fills itself by misses alone, behind caches.

Every box is in service, links are wide enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fill.config import PlanKnobs
from fill.forecasting.metrics import wape
from fill.forecasting.tomorrow import (
    OLD,
    Assets,
    Learned,
    Learner,
    SiteForecast,
    SiteRows,
    forecast_site,
)
from fill.outward import Flow, Misses
from fill.place import Box, Placed, SiteProblem, place
from fill.pullthrough import Lru, plays_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Sequencer = Callable[[int, int, SiteRows], tuple[Sequence[int], Floats]]
"""(day, site, that day's rows) → plays in order, and the bytes of each."""


@dataclass(frozen=True, slots=True)
class Place:
    """One site that is replayed: its boxes, the index of its region, all its rows, by day, and the
    indexes of the places before it whose demand comes to it where they lack it."""

    id: str
    region: int
    boxes: tuple[Box, ...]
    rows: SiteRows
    nearer: tuple[int, ...] = ()

    @property
    def disk_bytes(self) -> int:
        """All its disks together."""
        return sum(box.disk_bytes for box in self.boxes)


@dataclass(frozen=True, slots=True)
class Span:
    """Which days: `first` to `last` (since 1970) are judged, at most `history_days` before each
    teach the forecast; the caches are warm from all days before `first`."""

    first: int
    last: int
    history_days: int = 28


@dataclass(frozen=True, slots=True)
class SiteDay:
    """One site on one day: bytes that came to it, shares served (see the module), bytes `fetched`
    in the night before, that beside the disks (`churn`) and beside what the window carries
    (`window_use`), and the forecast's WAPE; of the bytes those `taken` over from nearer sites; and
    of its `own` clients' those that no site served, with plans and with caches."""

    site: str
    day: int
    bytes: float
    planned: float
    realised: float
    foreseen: float
    oracle: float
    lru: float
    fetched_bytes: float
    churn: float
    window_use: float
    wape: float
    taken_bytes: float = 0.0
    own_bytes: float = 0.0
    own_left_bytes: float = 0.0
    own_left_lru_bytes: float = 0.0


@dataclass(slots=True)
class _Day:
    """What the sites of one day leave to farther ones: expected bytes, real ones, missed plays."""

    expected: Flow = field(default_factory=Flow)
    actual: Flow = field(default_factory=Flow)
    misses: Misses = field(default_factory=Misses)


@dataclass(slots=True)
class _State:
    """What a site holds (assets × boxes), and the cache beside it."""

    held: Flags
    lru: Lru
    turned_up: bool = False


@dataclass(slots=True)
class Replay:
    """A fleet and its days; `days()` yields what each site did on each. `sequence` tells the order
    of plays; without it, it is drawn from `seed`. `announced` (by asset; absent: all) says whose
    launch day was in the calendar: others are unheard of before it. Without `cache`, no LRU."""

    assets: Assets
    places: Sequence[Place]
    regions: int
    knobs: PlanKnobs
    span: Span
    sequence: Sequencer | None = None
    announced: Flags | None = None
    cache: bool = True
    seed: int = 0
    _states: dict[str, _State] = field(default_factory=dict)

    def days(self) -> Iterator[SiteDay]:
        """Every judged day, site by site. The first night fills boxes without limit."""
        size = np.maximum(self.assets.size_bytes, 1.0)
        for site in self.places:
            self._states[site.id] = _State(
                np.zeros((len(size), len(site.boxes)), bool), Lru(site.disk_bytes, size.tolist())
            )
        for day in range(self.span.first - self.span.history_days, self.span.first):
            misses = Misses()
            for index, site in enumerate(self.places):
                self._lru_share(index, day, _on(site.rows, day), misses)
        for day in range(self.span.first, self.span.last + 1):
            learned, histories = self._learn(day)
            flows, found = _Day(), []
            for index, site in enumerate(self.places):
                expected = _nothing(site.rows)
                if len(site.rows.at):
                    expected = forecast_site(learned, site.region, histories[index])
                found.append(self._judge(index, day, expected, flows))
            yield from self._told(found, flows)

    def _told(self, found: list[SiteDay], flows: _Day) -> Iterator[SiteDay]:
        """With what was left of each site's own demand in the end."""
        for index, each in enumerate(found):
            yield replace(
                each,
                own_left_bytes=float(flows.actual.left[index].sum()),
                own_left_lru_bytes=flows.misses.bytes_of(index) if self.cache else 0.0,
            )

    def _learn(self, day: int) -> tuple[Learned, list[SiteRows]]:
        first = day - self.span.history_days
        launch = self.assets.launch_day
        if self.announced is not None:
            launch = np.where(~self.announced & (launch >= day), OLD, launch).astype(np.int32)
        assets = replace(self.assets, launch_day=launch)
        learner = Learner(assets, first, day - 1, self.regions)
        histories = [_between(site.rows, first, day - 1) for site in self.places]
        for site, rows in zip(self.places, histories, strict=True):
            if len(site.rows.at):
                learner.add(site.region, rows)
        return learner.learn(), histories

    def _judge(self, index: int, day: int, found: SiteForecast, flows: _Day) -> SiteDay:
        site, state, size = self.places[index], self._states[self.places[index].id], self._size()
        count = len(size)
        own_expected, own = np.zeros(count), np.zeros(count)
        own_expected[found.at] = found.bytes_a_day
        today = _on(site.rows, day)
        own[today.at] = today.bytes
        expected = own_expected + flows.expected.taken(site.nearer, count)
        taken = flows.actual.taken(site.nearer, count)
        actual = own + taken
        problem = self._problem(site, state, expected, found)
        placed = place(problem, self.knobs)
        held = np.zeros_like(state.held)
        held[placed.row, placed.box] = True
        fetched = float((size[:, None] * (held & ~state.held)).sum())
        first, state.turned_up, state.held = not state.turned_up, True, held
        there = held.any(axis=1)
        passed: Floats = np.asarray(placed.unmet_share(expected, self.knobs.away_share))
        flows.expected.settle(index, site.nearer, own_expected, passed)
        flows.actual.settle(index, site.nearer, own, np.where(there, 0.0, 1.0))
        total = max(float(actual.sum()), 1.0)
        budget = sum(box.fill_bytes for box in site.boxes)
        return SiteDay(
            site=site.id,
            day=day,
            bytes=float(actual.sum()),
            planned=_share(placed, expected),
            realised=float(actual[there].sum()) / total,
            foreseen=_best(expected, actual, size, site.disk_bytes) / total,
            oracle=_best(actual, actual, size, site.disk_bytes) / total,
            lru=self._lru_share(index, day, today, flows.misses),
            fetched_bytes=0.0 if first else fetched,
            churn=0.0 if first else fetched / max(site.disk_bytes, 1),
            window_use=0.0 if first else fetched / max(budget, 1),
            wape=wape(expected, actual) if actual.any() else 0.0,
            taken_bytes=float(taken.sum()),
            own_bytes=float(own.sum()),
        )

    def _problem(
        self, site: Place, state: _State, expected: Floats, found: SiteForecast
    ) -> SiteProblem:
        spread = np.zeros(len(expected))
        spread[found.at] = found.spread
        boxes, count = site.boxes, len(expected)
        if not state.turned_up:
            boxes = tuple(replace(box, fill_bytes=box.disk_bytes) for box in boxes)
        first = np.zeros(self.assets.titles, np.int64)
        first[self.assets.title[::-1]] = self.assets.id[::-1]
        return SiteProblem(
            boxes=boxes,
            assets=self.assets.id,
            size=self._size().astype(np.int64),
            demand=expected,
            spread=spread,
            family=first[self.assets.title],
            floor=np.zeros(count, np.int64),
            held=state.held,
            may=np.ones((count, len(boxes)), bool),
            pinned=np.zeros((count, len(boxes)), bool),
        )

    def _size(self) -> Floats:
        return np.maximum(self.assets.size_bytes, 1.0)

    def _lru_share(self, index: int, day: int, rows: SiteRows, misses: Misses) -> float:
        """Play a day to the cache; the share of its bytes that were there."""
        if not self.cache:
            return 0.0
        site = self.places[index]
        plays, each = np.zeros(0, np.int64), np.zeros(0)
        if len(rows.at) and self.sequence is not None:
            order, each = self.sequence(day, index, rows)
            plays = np.asarray(order, np.int64)
        elif len(rows.at):
            rng = np.random.default_rng((self.seed, day, index))
            order, each = plays_of(rows.at, rows.bytes, self._size(), rng)
            plays = np.asarray(order, np.int64)
        mixed = np.random.default_rng((self.seed, day, index, 1))
        cache = self._states[site.id].lru
        return misses.play(cache, index, site.nearer, (plays, each), mixed)


def _nothing(rows: SiteRows) -> SiteForecast:
    """What is foreseen of a site whose clients never asked for anything."""
    return SiteForecast(rows.at[:0], np.zeros(0), np.zeros(0))


def _on(rows: SiteRows, day: int) -> SiteRows:
    return _between(rows, day, day)


def _between(rows: SiteRows, first: int, last: int) -> SiteRows:
    """The rows of some days; rows are sorted by day."""
    start, end = np.searchsorted(rows.day, (first, last + 1))
    return SiteRows(rows.day[start:end], rows.at[start:end], rows.bytes[start:end])


def _share(placed: Placed, expected: Floats) -> float:
    return float(placed.served.sum()) / max(float(expected.sum()), 1.0)


def _best(chosen_by: Floats, served: Floats, size: Floats, disk_bytes: float) -> float:
    """Bytes served by the disk that holds what is greatest by `chosen_by` ÷ size, one item cut."""
    order = np.flatnonzero(chosen_by > 0)
    order = order[np.argsort(-chosen_by[order] / size[order], kind="stable")]
    room = np.clip(disk_bytes - (np.cumsum(size[order]) - size[order]), 0.0, size[order])
    return float((served[order] * room / size[order]).sum())


def totals(days: Sequence[SiteDay], by: Callable[[SiteDay], object]) -> Mapping[object, SiteDay]:
    """Days added up by a key, shares weighted by bytes; `site` and `day` are those of the first."""
    groups: dict[object, list[SiteDay]] = {}
    for each in days:
        groups.setdefault(by(each), []).append(each)
    return {key: _mean(group) for key, group in groups.items()}


def _mean(group: Sequence[SiteDay]) -> SiteDay:
    weight = sum(each.bytes for each in group) or 1.0
    names = ("planned", "realised", "foreseen", "oracle", "lru", "wape")
    shares = {
        name: sum(getattr(each, name) * each.bytes for each in group) / weight for name in names
    }
    return replace(
        group[0],
        bytes=weight,
        taken_bytes=sum(each.taken_bytes for each in group),
        own_bytes=sum(each.own_bytes for each in group),
        own_left_bytes=sum(each.own_left_bytes for each in group),
        own_left_lru_bytes=sum(each.own_left_lru_bytes for each in group),
        fetched_bytes=sum(each.fetched_bytes for each in group),
        churn=max(each.churn for each in group),
        window_use=max(each.window_use for each in group),
        **shares,
    )
