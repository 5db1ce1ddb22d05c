"""What age and weekday do to a title: tomorrow's level as a multiple of every past day's. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

WEEK = 7
AGES_DAYS = 70  # older titles keep their level: there the curves are flat
WEEKLY = (0.57, 0.475, 0.61, 0.68, 0.70, 0.78, 0.77, 0.83, 0.9, 0.95)
"""What a week of age leaves of demand: Netflix's weekly Top-10, all groups, 2021-2025; the first
is of a whole first week (listed first weeks have four days on average)."""
CURVE_TITLES = 3.0  # titles seen at an age weigh as much as the Top-10 from so many on
WEEKDAY_WEEKS = 0.5  # weeks of history that weigh as much as "every day is alike"
assert len(WEEKLY) * WEEK == AGES_DAYS


@dataclass(frozen=True, slots=True)
class Clock:
    """`factor[title, day]`: the level on that day beside tomorrow's 1; 0 before its launch.

    `age_curve[n]` is the demand of a title n days old beside that of its first day; `weekday` has
    the factor of each day since 1970 modulo 7 (mean 1).
    """

    first_day: int
    factor: Floats
    age_curve: Floats
    weekday: Floats

    def exposure(self, weights: Floats) -> Floats:
        """Weighted days of tomorrow's level that each title's history amounts to."""
        return self.factor @ weights


def learn_clock(world: Floats, launch: Ints, first_day: int) -> Clock:
    """From the world's bytes (titles × days) and launch days (-1: older than the history)."""
    days = world.shape[1]
    old = launch < 0  # launches come and go: what is old shows the weekday
    weekday = _weekdays(world[old].sum(axis=0) if old.any() else world.sum(axis=0), first_day)
    today = first_day + np.arange(days + 1)
    level = weekday[today % WEEK]
    age = np.where(old[:, None], AGES_DAYS + 1, today[None, :] - launch[:, None])
    curve = _curve(world / level[:-1], age[:, :-1])
    shape = np.where(age >= 0, curve[np.clip(age, 0, AGES_DAYS)], 0.0) * level
    tomorrow = np.where(shape[:, -1:] > 0, shape[:, -1:], 1.0)
    return Clock(first_day, shape[:, :-1] / tomorrow, curve, weekday)


def _weekdays(total: Floats, first_day: int) -> Floats:
    """Each weekday beside the mean of its week, shrunk toward 1 by the weeks there are."""
    factor = np.ones(WEEK)
    if len(total) < 2 * WEEK or not total.all():
        return factor
    mean = np.convolve(total, np.ones(WEEK) / WEEK, mode="valid")
    middle = total[WEEK // 2 : WEEK // 2 + len(mean)] / mean
    day = (first_day + WEEK // 2 + np.arange(len(mean))) % WEEK
    sums = np.bincount(day, middle, WEEK)
    count = np.bincount(day, minlength=WEEK)
    factor = (WEEKDAY_WEEKS + sums) / (WEEKDAY_WEEKS + count)
    return np.asarray(factor / factor.mean(), dtype=np.float64)


def _curve(level: Floats, age: NDArray[np.int64]) -> Floats:
    """Demand by age: ratios of successive days, of all titles seen at both, on the Top-10's."""
    prior = np.repeat(np.array(WEEKLY) ** (1.0 / WEEK), WEEK)
    before, after, old = level[:, :-1], level[:, 1:], age[:, 1:]
    young = (old >= 1) & (old <= AGES_DAYS) & (before > 0)
    step = old[young] - 1
    from_bytes = np.bincount(step, before[young], AGES_DAYS)
    to_bytes = np.bincount(step, after[young], AGES_DAYS)
    count = np.bincount(step, minlength=AGES_DAYS)
    typical = np.divide(from_bytes, count, out=np.ones(AGES_DAYS), where=count > 0)
    ratio = (to_bytes + CURVE_TITLES * typical * prior) / (from_bytes + CURVE_TITLES * typical)
    return np.concatenate(([1.0], np.cumprod(np.clip(ratio, 0.1, 3.0))))
