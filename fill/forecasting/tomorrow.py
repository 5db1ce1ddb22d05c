"""Tomorrow's bytes per asset at one site: world, region, site, each shrunk toward the wider. Pure.

A title's level is what was asked of it, divided by what its age and the weekday would have made of
one unit (`clock`): history × age decay × day of week, in one ratio. Each narrower place starts from
the wider one's level times its own size, and moves away from it as far as its own counts are more
than chance: gamma-Poisson shrinkage whose strength is estimated from all titles at once (empirical
Bayes: Robbins 1956; Clayton & Kaldor 1987; discounted counts as in West & Harrison 1997, §10.8).
A title's bytes then split over its assets as the world plays that title, tilted toward the bitrates
and languages that the site's own clients play (one step of iterative proportional fitting).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fill.forecasting.clock import Clock, learn_clock
from fill.forecasting.launch import Debut, learn_debut
from fill.forecasting.shrink import Level, shrink

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

OLD = -1  # launch day of what was there before anybody counted
SLOW = 0.97  # a day's weight beside the next one's, where tastes are compared: they change slowly
FAST = 0.6  # the same for the world's level of a title: there is no noise to average away
LADDER_PLAYS = 30.0  # a title's own split over assets weighs as much as the usual one after these
FEW_PLAYS = 50.0  # of an asset in two days: beyond, their difference is change rather than chance
PLAY_MIN, PLAY_MAX = 0.02, 4.0  # bytes of a play beside the asset's size, as chance shows them
MIX_PLAYS = 100.0  # likewise a site's taste for a bitrate or a language


@dataclass(frozen=True, slots=True)
class Assets:
    """What is known of every asset before anybody asks for it; arrays of one length.

    `id` rises; `title` and `slot` are indexes from 0 (a slot is what assets of different titles
    have in common: kind, bitrate, language); `launch_day` (days since 1970) or OLD; `like` is the
    index of a title that this one is expected to follow, or -1.
    """

    id: Ints
    size_bytes: Floats
    title: Ints
    slot: Ints
    launch_day: Ints
    like: Ints

    @property
    def titles(self) -> int:
        """How many titles there are."""
        return int(self.title.max()) + 1 if len(self.title) else 0

    @property
    def slots(self) -> int:
        """How many slots there are."""
        return int(self.slot.max()) + 1 if len(self.slot) else 0


@dataclass(frozen=True, slots=True)
class SiteRows:
    """What one site's clients asked for: day (since 1970), index into Assets, bytes; unordered."""

    day: Ints
    at: Ints
    bytes: Floats


@dataclass(frozen=True, slots=True)
class SiteForecast:
    """Tomorrow at one site: indexes into Assets (rising), bytes, and their standard deviation."""

    at: Ints
    bytes_a_day: Floats
    spread: Floats


@dataclass(frozen=True, slots=True)
class Learned:
    """What all sites share. Per title: `exposure` (weighted days of tomorrow's level), tomorrow's
    bytes in each region, `debut` where it has no history; per asset its share of its title; what
    one play delivers, per title and asset; bytes of each region and day; `slow` weighs the days."""

    assets: Assets
    clock: Clock
    slow: Floats
    exposure: Floats
    regions: Floats
    region_days: Floats
    share: Floats
    title_unit: Floats
    asset_unit: Floats
    debut: Debut


class Learner:
    """Adds sites up, one after the other, and learns from the sums what all of them share."""

    def __init__(self, assets: Assets, first_day: int, last_day: int, regions: int = 1) -> None:
        """History of `first_day` to `last_day` (since 1970), both included; tomorrow follows."""
        self.assets, self.first_day, self.last_day = assets, first_day, last_day
        days = last_day - first_day + 1
        self._slow = _weights(SLOW, days)
        self._world = np.zeros((assets.titles, days))
        self._assets = np.zeros(len(assets.id))
        self._regions = np.zeros((regions, assets.titles))
        self._region_days = np.zeros((regions, days))
        self._jumps, self._chance = 0.0, 0.0

    def add(self, region: int, rows: SiteRows) -> None:
        """Add one site of the region of that index."""
        days, titles = self._world.shape[1], self._world.shape[0]
        day = rows.day - self.first_day
        title = self.assets.title[rows.at]
        cell = title.astype(np.int64) * days + day
        table = np.bincount(cell, rows.bytes, titles * days).reshape(titles, days)
        self._world += table
        weighted = rows.bytes * self._slow[day]
        self._assets += np.bincount(rows.at, weighted, len(self.assets.id))
        self._regions[region] += table @ self._slow
        self._region_days[region] += table.sum(axis=0)
        self._look_at_noise(rows)

    def learn(self) -> Learned:
        """What the sums so far teach."""
        assets = self.assets
        share = _shares(assets, self._assets)
        unit = self._unit()
        title_unit = np.maximum(_by_title(assets, share * unit), 1.0)
        launch = _launch_by_title(assets)
        clock = learn_clock(self._world, launch, self.first_day)
        debut = learn_debut(self._world, launch, _like_by_title(assets), clock)
        counted = self._world.sum(axis=0) > 0  # days before the fleet was there say nothing
        exposure = clock.exposure(self._slow * counted)
        regions = self._levels(clock, counted, title_unit, debut)
        return Learned(
            assets, clock, self._slow, exposure, regions, self._region_days, share, title_unit,
            unit, debut,
        )  # fmt: skip

    def _levels(
        self, clock: Clock, counted: NDArray[np.bool_], unit: Floats, debut: Debut
    ) -> Floats:
        """Tomorrow's bytes of every title in every region: regions × titles."""
        exposure = clock.exposure(self._slow * counted)
        slow = Level.of(self._world @ self._slow, exposure)
        fast_weights = _weights(FAST, len(self._slow)) * counted
        fast = shrink(slow, self._world @ fast_weights, clock.exposure(fast_weights), unit)
        world = np.where(debut.unseen, debut.bytes_a_day, fast.level.mean)
        total = max(float(self._regions.sum()), 1.0)
        levels = np.empty_like(self._regions)
        for at, seen in enumerate(self._regions):
            size = float(seen.sum()) / total
            found = shrink(Level(world * size, np.zeros_like(world)), seen, exposure, unit)
            levels[at] = np.where(debut.unseen, world * size, found.level.mean)
        return levels

    def _look_at_noise(self, rows: SiteRows) -> None:
        """How the last two days of an asset differ, beside what its size would make of chance."""
        count = len(self.assets.id)
        last, before = (
            np.bincount(rows.at[rows.day == day], rows.bytes[rows.day == day], count)
            for day in (self.last_day, self.last_day - 1)
        )
        if not (last.any() and before.any()):
            return  # one day says nothing of how days differ
        size, both = np.maximum(self.assets.size_bytes, 1.0), last + before
        few = (both > 0) & (both < FEW_PLAYS * size)
        weight = 1.0 / (both[few] + size[few])
        self._jumps += float((weight * (last[few] - before[few]) ** 2).sum())
        self._chance += float((weight * size[few] * both[few]).sum())

    def _unit(self) -> Floats:
        """Bytes that count as one play of an asset: less than its size when plays stop early."""
        part = self._jumps / self._chance if self._chance > 0 else 1.0
        return np.maximum(self.assets.size_bytes * min(max(part, PLAY_MIN), PLAY_MAX), 1.0)


def forecast_site(learned: Learned, region: int, rows: SiteRows) -> SiteForecast:
    """Tomorrow's demand of one site, from what all share and its own rows."""
    assets = learned.assets
    day = rows.day - learned.clock.first_day
    seen = _summed(rows.at, rows.bytes * learned.slow[day], len(assets.id))
    titles = _by_title(assets, seen)
    wide, exposure = _place_in_region(learned, region, rows)
    found = shrink(Level(wide, np.zeros_like(wide)), titles, exposure, learned.title_unit)
    unseen = learned.debut.unseen
    mean = np.where(unseen, wide, found.level.mean)
    error = np.where(unseen, wide * learned.debut.relative_spread, found.level.error)
    share = _tilted(learned, seen, titles)
    expected = shrink(
        Level(titles[assets.title] * share, np.zeros_like(share)),
        seen,
        np.ones_like(share),
        learned.asset_unit,
    )
    own = _normalised(assets, np.where(titles[assets.title] > 0, expected.level.mean, share))
    bytes_a_day = mean[assets.title] * own
    variance = bytes_a_day * learned.asset_unit + (error[assets.title] * own) ** 2
    at = np.flatnonzero(bytes_a_day > 0).astype(np.int32)
    return SiteForecast(at, bytes_a_day[at], np.sqrt(variance[at]))


def _place_in_region(learned: Learned, region: int, rows: SiteRows) -> tuple[Floats, Floats]:
    """The region's levels at the site's size, and the exposure, over the days the site counted."""
    days = len(learned.slow)
    own = _summed(rows.day - learned.clock.first_day, rows.bytes, days)
    weights = learned.slow * (own > 0)
    around = max(float(learned.region_days[region] @ weights), 1.0)
    wide = learned.regions[region] * (float(own @ weights) / around)
    whole = np.array_equal(own > 0, learned.region_days.sum(axis=0) > 0)
    return wide, learned.exposure if whole else learned.clock.exposure(weights)


def _weights(forgetting: float, days: int) -> Floats:
    """The weight of every day, oldest first; the last one weighs 1."""
    return np.power(forgetting, np.arange(days - 1, -1, -1, dtype=np.float64))


def _summed(at: NDArray[np.integer], amounts: Floats, count: int) -> Floats:
    return np.bincount(at, amounts, count).astype(np.float64, copy=False)


def _by_title(assets: Assets, amounts: Floats) -> Floats:
    return _summed(assets.title, amounts, assets.titles)


def _normalised(assets: Assets, weights: Floats) -> Floats:
    """Weights per asset, as shares of the title."""
    whole = _by_title(assets, weights)[assets.title]
    count = np.bincount(assets.title, minlength=assets.titles)[assets.title]
    share = weights / np.where(whole > 0, whole, 1.0)
    return np.where(whole > 0, share, 1.0 / np.maximum(count, 1))


def _shares(assets: Assets, seen: Floats) -> Floats:
    """How every title's bytes split over its assets: as seen, and as usual where little was."""
    titles = _by_title(assets, seen)
    had = _summed(assets.slot, seen, assets.slots)
    could = _summed(assets.slot, titles[assets.title], assets.slots)
    usual = np.where(could > 0, had / np.where(could > 0, could, 1.0), 0.0)
    fresh = could <= 0
    usual[fresh] = float(usual[~fresh].mean()) if (~fresh).any() else 1.0
    expected = _normalised(assets, usual[assets.slot])
    unit = np.maximum(_by_title(assets, expected * assets.size_bytes), 1.0)[assets.title]
    return _normalised(assets, LADDER_PLAYS * expected + seen / unit)


def _tilted(learned: Learned, seen: Floats, titles: Floats) -> Floats:
    """The world's split of each title, tilted toward the slots that this site's clients play."""
    assets = learned.assets
    expected = titles[assets.title] * learned.share
    plays = _summed(assets.slot, seen / learned.asset_unit, assets.slots)
    usual = _summed(assets.slot, expected / learned.asset_unit, assets.slots)
    tilt = (MIX_PLAYS + plays) / (MIX_PLAYS + usual)
    return _normalised(assets, learned.share * tilt[assets.slot])


def _launch_by_title(assets: Assets) -> Ints:
    launch = np.full(assets.titles, OLD, np.int32)
    np.maximum.at(launch, assets.title, assets.launch_day)
    return launch


def _like_by_title(assets: Assets) -> Ints:
    like = np.full(assets.titles, -1, np.int32)
    np.maximum.at(like, assets.title, assets.like)
    return like
