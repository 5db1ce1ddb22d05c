"""Medians, percentiles and bootstrap intervals of paired ratios. Pure: chance is an argument."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

RESAMPLES = 4000
"""Enough that the ends of a 95 % interval of nine pairs move by less than a display digit."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with the bootstrap interval around it, and how many pairs it rests on."""

    median: float
    low: float
    high: float
    pairs: int


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0–1) of `values` lie, nearest rank; raises ValueError if
    there are none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def bootstrap_median(values: Sequence[float], rng: Random) -> Estimate:
    """The median of `values` with a percentile-bootstrap interval (Efron 1979); raises ValueError
    if there are none."""
    if not values:
        raise ValueError("no values")
    count = len(values)
    medians = sorted(statistics.median(rng.choices(values, k=count)) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    return Estimate(
        statistics.median(values), percentile(medians, tail), percentile(medians, 1 - tail), count
    )


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], rng: Random) -> Estimate | None:
    """Ours ÷ theirs, round by round, as far as both have readings; None without any pair.

    Pairs, because both members of one saw the same minute of the same machine.
    """
    ratios = [a / b for a, b in zip(ours, theirs, strict=False) if b > 0]
    return bootstrap_median(ratios, rng) if ratios else None
