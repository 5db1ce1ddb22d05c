"""Backtest: learn before a date, forecast after it, and say how wrong each way was. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec
import numpy as np
from numpy.typing import NDArray

from fill.forecasting.decay import DecayCurves, forecast, smooth
from fill.forecasting.metrics import Floats, covered, wape
from fill.forecasting.model import STRATUM_AGES, TAUS, Forecast, Model
from fill.forecasting.pairs import GROUPS, Launches, Pairs, read_pairs
from fill.forecasting.top10 import Row
from wire.errors import WireError

SMOOTHING = 0.5
SMOOTHINGS = (0.3, 0.5, 0.7)
TRAINING_PAIRS_MIN = 200
TRAINING_LAUNCHES_MIN = 100
DIGITS = 4


class Span(msgspec.Struct, frozen=True):
    """What was used: weeks by their last day, pairs (title in the list in both weeks), launches."""

    first_week: str
    last_week: str
    pairs: int
    launches: int


class Errors(msgspec.Struct, frozen=True):
    """WAPE of each way to forecast the second week of a pair: error hours per hour watched.

    `age_decay` is persistence × a ratio by group and age; `exponential_smoothing` at SMOOTHING.
    """

    pairs: int
    persistence: float
    exponential_smoothing: float
    age_decay: float
    model: float


class LaunchErrors(msgspec.Struct, frozen=True):
    """WAPE of a title's first week in the list, forecast from names, runtime and calendar alone.

    `group_median` is the median of the group's 40 latest launches; `last_season` the first week of
    the show's latest other season, else that median. Weekly hours, so weekday of release counts.
    """

    launches: int
    group_median: float
    last_season: float
    model: float
    interval_covered: float


class Interval(msgspec.Struct, frozen=True):
    """How often the actual hours lay between the forecast's quantiles, and should have."""

    low: float
    high: float
    nominal: float
    covered: float


class Report(msgspec.Struct, frozen=True):
    """What `fill backtest` prints."""

    train_before: str
    trained: Span
    tested: Span
    wape: Errors
    interval: Interval
    launch_week: LaunchErrors
    by_weeks_since_release: Mapping[str, Errors]
    by_category: Mapping[str, Errors]
    by_half_year: Mapping[str, Errors]
    exponential_smoothing_by_alpha: Mapping[str, float]


class Trained(msgspec.Struct, frozen=True):
    """Everything learned before the date; forecasting adds nothing to it."""

    model: Model
    curves: DecayCurves


def train(pairs: Pairs, launches: Launches) -> Trained:
    """Learn from all that is given: cut off the future before."""
    sure = pairs.where(~pairs.censored)
    curves = DecayCurves.fit(sure.latest, sure.actual, sure.age, sure.group)
    return Trained(Model.fit(pairs, launches), curves)


def backtest(rows: Sequence[Row], train_before: date, until: date | None, what: str) -> Report:
    """Learn from weeks that end before `train_before`, forecast those on or after it (to `until`).

    Raises WireError when the table `what` has too little on either side of the date.
    """
    cut = train_before.toordinal()
    end = until.toordinal() if until else date.max.toordinal()
    pairs, launches = read_pairs([row for row in rows if row.week < end])
    before, after = pairs.where(pairs.week < cut), pairs.where(pairs.week >= cut)
    past, coming = launches.where(launches.week < cut), launches.where(launches.week >= cut)
    _enough(before, past, after, train_before, what)
    trained = train(before, past)
    found = trained.model.follow(after)
    errors = _Compared(after, trained, found)
    return Report(
        train_before=train_before.isoformat(),
        trained=_span(before, past),
        tested=_span(after, coming),
        wape=errors.of(np.ones(len(after), dtype=np.bool_)),
        interval=_interval(found, after.actual),
        launch_week=_launch_errors(coming, trained.model.launch(coming)),
        by_weeks_since_release={
            f"{age}{'+' if age == STRATUM_AGES else ''}": errors.of(
                np.clip(after.age, 1, STRATUM_AGES) == age
            )
            for age in range(1, STRATUM_AGES + 1)
        },
        by_category={str(group): errors.of(after.group == at) for at, group in enumerate(GROUPS)},
        by_half_year=_by_half_year(errors),
        exponential_smoothing_by_alpha={str(a): errors.smoothed(a) for a in SMOOTHINGS},
    )


def _enough(before: Pairs, past: Launches, after: Pairs, cut: date, what: str) -> None:
    where = f"weeks before {cut}"
    if len(before) < TRAINING_PAIRS_MIN or len(past) < TRAINING_LAUNCHES_MIN:
        needs = f"{TRAINING_PAIRS_MIN} pairs of weeks and {TRAINING_LAUNCHES_MIN} launches"
        has = f"only {len(before)} and {len(past)}"
        raise WireError(what, where, f"{has}, but a model needs {needs}", hint="a later date?")
    if not len(after):
        raise WireError(
            what, f"weeks from {cut} on", "no title is in the list in two weeks running"
        )


class _Compared(msgspec.Struct, frozen=True):
    """Every way of forecasting the same pairs."""

    pairs: Pairs
    trained: Trained
    found: Forecast

    def of(self, chosen: NDArray[np.bool_]) -> Errors:
        """WAPEs over the chosen pairs."""
        part = self.pairs.where(chosen)
        decayed = forecast(part.history, part.age, part.group, self.trained.curves)
        return Errors(
            pairs=len(part),
            persistence=_wape(part.latest, part.actual),
            exponential_smoothing=self.smoothed(SMOOTHING, chosen),
            age_decay=_wape(decayed, part.actual),
            model=_wape(self.found.middle[chosen], part.actual),
        )

    def smoothed(self, alpha: float, chosen: NDArray[np.bool_] | None = None) -> float:
        """WAPE of exponential smoothing over each title's unbroken weeks in the list."""
        part = self.pairs if chosen is None else self.pairs.where(chosen)
        return _wape(smooth(part.history, alpha), part.actual)


def _by_half_year(errors: _Compared) -> dict[str, Errors]:
    days = [date.fromordinal(int(week)) for week in errors.pairs.week]
    names = np.array([f"{day.year}H{1 if day.month <= 6 else 2}" for day in days])
    return {str(name): errors.of(names == name) for name in np.unique(names)}


def _launch_errors(coming: Launches, found: Forecast) -> LaunchErrors:
    last = np.where(np.isnan(coming.last), coming.usual, coming.last)
    return LaunchErrors(
        launches=len(coming),
        group_median=_wape(coming.usual, coming.actual),
        last_season=_wape(last, coming.actual),
        model=_wape(found.middle, coming.actual),
        interval_covered=round(covered(found.low, found.high, coming.actual), DIGITS),
    )


def _interval(found: Forecast, actual: Floats) -> Interval:
    low, high = TAUS
    share = round(covered(found.low, found.high, actual), DIGITS)
    return Interval(low, high, round(high - low, DIGITS), share)


def _span(pairs: Pairs, launches: Launches) -> Span:
    first, last = int(pairs.week.min()), int(pairs.week.max())
    return Span(
        date.fromordinal(first).isoformat(),
        date.fromordinal(last).isoformat(),
        len(pairs),
        len(launches),
    )


def _wape(found: Floats, actual: Floats) -> float:
    return round(wape(found, actual), DIGITS)
