"""Cold start: what a title's first day brings, from titles that were launched before it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fill.forecasting.clock import AGES_DAYS, Clock

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

USUAL_LAUNCHES = 1.0  # what all launches say weighs as much as one title that this one is like
NO_LAUNCH_QUANTILE = 0.95  # with no launch ever seen: as much as the twentieth best of a hundred
SPREAD_MIN, SPREAD_UNKNOWN = 0.5, 1.5


@dataclass(frozen=True, slots=True)
class Debut:
    """Titles to come tomorrow, or come and not yet asked for: `unseen`, bytes in the world on that
    day, and the standard deviation of a launch beside its expectation."""

    unseen: NDArray[np.bool_]
    bytes_a_day: Floats
    relative_spread: float


def learn_debut(world: Floats, launch: Ints, like: Ints, clock: Clock) -> Debut:
    """From the world's bytes (titles × days), launch days, and whom a title is like (-1: nobody).

    A title is unseen if its launch is due by tomorrow and no day of its own has been counted.
    """
    days = world.shape[1]
    tomorrow = clock.first_day + days
    at = launch - clock.first_day
    weekday = clock.weekday[(clock.first_day + np.arange(days + 1)) % len(clock.weekday)]
    unseen = (launch >= 0) & (launch <= tomorrow) & (world.sum(axis=1) <= 0) & (at >= days - 1)
    known = np.flatnonzero((at >= 0) & (at < days) & (world.sum(axis=1) > 0))
    first = np.zeros(len(world))
    first[known] = world[known, at[known]] / weekday[at[known]]
    usual, spread = _usual(first[known], world, days)
    expected = np.where(unseen, usual, 0.0)
    follows = np.flatnonzero(unseen & (like >= 0))
    model = first[like[follows]]
    logs = (np.log(np.maximum(model, 1.0)) + USUAL_LAUNCHES * np.log(max(usual, 1.0))) / (
        1.0 + USUAL_LAUNCHES
    )
    expected[follows] = np.where(model > 0, np.exp(logs), usual)
    age = np.clip(tomorrow - launch, 0, AGES_DAYS)
    return Debut(unseen, expected * clock.age_curve[age] * weekday[-1], spread)


def _usual(first: Floats, world: Floats, days: int) -> tuple[float, float]:
    """The mean launch (bytes on its first day), and its relative standard deviation."""
    if len(first) >= 2 and first.mean() > 0:
        return float(first.mean()), max(SPREAD_MIN, float(first.std() / first.mean()))
    if len(first) == 1:
        return float(first[0]), SPREAD_UNKNOWN
    level = world.sum(axis=1) / max(days, 1)
    asked = level[level > 0]
    usual = float(np.quantile(asked, NO_LAUNCH_QUANTILE)) if len(asked) else 0.0
    return usual, SPREAD_UNKNOWN
