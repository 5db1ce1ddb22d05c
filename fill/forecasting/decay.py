"""Age-dependent decay: what follows a title's latest period, by group and age. Pure.

The plain model: next = latest amount × ratio(group, age) × calendar factor. It needs no features
beyond age, so it forecasts weeks of titles here and days of (site, asset) pairs alike: a group is
whatever decays alike, small groups shrink toward the whole (partial pooling, Gelman & Hill 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fill.forecasting.metrics import Floats, Ints, weighted_quantile

AGES_MAX = 8  # older titles share one ratio: there the curves are flat
POOLED_PAIRS = 10.0  # the whole's curve weighs as much as so many pairs of a group


@dataclass(frozen=True, slots=True)
class DecayCurves:
    """`log_ratios[group, age - 1]`: the log of next ÷ latest amount, ages capped at AGES_MAX."""

    log_ratios: Floats

    @classmethod
    def fit(cls, latest: Floats, following: Floats, ages: Ints, groups: Ints) -> DecayCurves:
        """Fit from pairs of successive periods (all arrays of one length, amounts > 0).

        Each ratio is the median weighted by the latest amount: that is the constant with the
        least sum of |following - latest × ratio|.
        """
        count = int(groups.max()) + 1 if len(groups) else 1
        logs = np.log(following / latest)
        age = np.clip(ages, 1, AGES_MAX)
        curves = np.zeros((count, AGES_MAX))
        for step in range(AGES_MAX):
            here = age == step + 1
            whole = weighted_quantile(logs[here], latest[here], 0.5)
            for group in range(count):
                own = here & (groups == group)
                pairs = int(own.sum())
                median = weighted_quantile(logs[own], latest[own], 0.5)
                curves[group, step] = (pairs * median + POOLED_PAIRS * whole) / (
                    pairs + POOLED_PAIRS
                )
        return cls(curves)


def forecast(
    history: Floats,
    ages: Ints,
    groups: Ints,
    curves: DecayCurves,
    calendar: float | Floats = 1.0,
    smoothing: float = 1.0,
) -> Floats:
    """The next period's amount of every series, in the unit of `history`.

    `history` is series × periods, the latest last, NaN where a series did not exist yet; `ages`
    counts periods since release (1 = the latest was the first); `calendar` is the next period's
    factor over the latest (day of week, say); `smoothing` 1 takes the latest amount as the level.
    """
    level = smooth(history, smoothing)
    ratio = np.exp(curves.log_ratios[groups, np.clip(ages, 1, AGES_MAX) - 1])
    return np.asarray(level * ratio * calendar, dtype=np.float64)


def smooth(history: Floats, alpha: float) -> Floats:
    """Exponentially smoothed level of every series (Brown 1956); alpha 1 is persistence."""
    level = np.full(len(history), np.nan)
    for column in history.T:
        blended = alpha * column + (1.0 - alpha) * level
        level = np.where(np.isnan(level), column, np.where(np.isnan(column), level, blended))
    return level


def runs(amounts: Sequence[Sequence[float]]) -> Floats:
    """Ragged histories (oldest first) as one table: series × periods, NaN before their start."""
    width = max((len(series) for series in amounts), default=0)
    table = np.full((len(amounts), width), np.nan)
    for at, series in enumerate(amounts):
        if series:
            table[at, -len(series) :] = series
    return table
