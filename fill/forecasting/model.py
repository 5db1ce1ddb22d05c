"""The forecast of titles: next week's hours, a launch's first week, and how sure it is. Pure.

Both learn the logarithm of a ratio: to the title's latest week, or to what its group's launches
usually bring. Medians survive the logarithm, and the median is what WAPE asks for. Pairs weigh by
hours^WEIGHT_POWER: hours alone (power 1) is what WAPE counts, but then a dozen hits are all that
is learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fill.forecasting.boost import Shape
from fill.forecasting.crossfit import CrossFit
from fill.forecasting.metrics import Floats, Ints
from fill.forecasting.pairs import GROUPS, Launches, Pairs

TAUS = (0.1, 0.9)
WEIGHT_POWER = 0.4
STRATUM_AGES = 4  # older titles are equally sure
SECOND_HALVES_POOLED = 2.0  # there are few
SECOND_HALF_HIGH = 1.5


@dataclass(frozen=True, slots=True)
class Forecast:
    """Hours by quantile: the first of TAUS, the median, the last of TAUS; arrays of one length."""

    low: Floats
    middle: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Model:
    """What was learned from the past: how titles go on, and how they start."""

    following: CrossFit
    launching: CrossFit
    second_half: float

    @classmethod
    def fit(cls, pairs: Pairs, launches: Launches, shape: Shape | None = None) -> Model:
        """Learn from pairs (those of unknown age left out) and launches.

        The same data give the same model, to the bit.
        """
        sure = pairs.where(~pairs.censored)
        return cls(
            _fit(sure, sure.latest, _strata(sure), shape or Shape()),
            _fit(launches, launches.usual, launches.group, shape or Shape()),
            _second_half(sure),
        )

    def follow(self, pairs: Pairs) -> Forecast:
        """Next week's hours of every pair; reads features and latest hours, never `actual`."""
        found = _scaled(self.following.predict(pairs.features, _strata(pairs)), pairs.latest)
        due = ~np.isnan(pairs.second_half)
        back = pairs.second_half * self.second_half
        middle = np.where(due, np.maximum(back, found.middle), found.middle)
        high = np.where(due, np.maximum(back * SECOND_HALF_HIGH, found.high), found.high)
        return Forecast(found.low, middle, high)

    def launch(self, launches: Launches) -> Forecast:
        """First-week hours of every launch; reads features and `usual`, never `actual`."""
        return _scaled(self.launching.predict(launches.features, launches.group), launches.usual)


def _second_half(pairs: Pairs) -> float:
    """Hours of a season's second part ÷ those of its first, in their first weeks: a median in logs,
    pulled toward 1 as by SECOND_HALVES_POOLED seasons more."""
    due = pairs.where(~np.isnan(pairs.second_half))
    logs = np.log(due.actual / due.second_half)
    middle = float(np.median(logs)) if len(logs) else 0.0
    return float(np.exp(middle * len(logs) / (len(logs) + SECOND_HALVES_POOLED)))


def _fit(sample: Pairs | Launches, scale: Floats, strata: Ints, shape: Shape) -> CrossFit:
    target = np.log(sample.actual / scale)
    weights = scale**WEIGHT_POWER
    return CrossFit.fit(sample.features, target, weights, sample.block, strata, TAUS, shape)


def _strata(pairs: Pairs) -> Ints:
    age = np.clip(pairs.age, 1, STRATUM_AGES) - 1
    return np.asarray(age * len(GROUPS) + pairs.group, dtype=np.int64)


def _scaled(found: tuple[Floats, Floats], scale: Floats) -> Forecast:
    middle, around = found
    low, high = (np.exp(around) * scale[:, None]).T
    return Forecast(low, np.exp(middle) * scale, high)
