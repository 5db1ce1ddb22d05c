"""One step of shrinkage: what a place was expected to ask, moved toward what it did ask. Pure.

Counts are Poisson around level × exposure; levels are gamma around the expected ones. The gamma's
shape (`precision`: expected plays that weigh as much as the expectation itself) comes from all
titles together by the method of moments (Clayton & Kaldor 1987).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRECISION_MIN = 0.05  # a place quite unlike the wider one goes its own way after the first play
PRECISION_MAX = 1e6  # one that is just like it keeps the wider one's level


@dataclass(frozen=True, slots=True)
class Level:
    """Bytes a day of each title, and the standard error of that (0: as good as known)."""

    mean: Floats
    error: Floats

    @classmethod
    def of(cls, seen: Floats, exposure: Floats) -> Level:
        """What was seen per unit of exposure; 0 where there was none."""
        rate = np.divide(seen, exposure, out=np.zeros_like(seen), where=exposure > 0)
        return cls(rate, np.zeros_like(rate))


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The levels found, and the strength of the pull toward those expected, in plays."""

    level: Level
    precision: float


def shrink(wide: Level, seen: Floats, exposure: Floats, unit: Floats) -> Shrunk:
    """Levels between `wide` and what was `seen` (bytes, weighted) over `exposure` (weighted days).

    `unit` is what one play delivers, in bytes (> 0). What the wider place does not expect at all is
    taken as seen. All arrays are of one length.
    """
    expected = wide.mean * exposure / unit
    plays = seen / unit
    precision = _precision(expected, plays)
    known = expected > 0
    bottom = precision + expected
    ratio = np.where(known, (precision + plays) / bottom, 0.0)
    alone = np.divide(seen, exposure, out=np.zeros_like(seen), where=exposure > 0)
    mean = np.where(known, wide.mean * ratio, alone)
    error = np.where(known, wide.mean * np.sqrt(precision + plays) / bottom, alone)
    return Shrunk(Level(mean, error), precision)


def _precision(expected: Floats, plays: Floats) -> float:
    """The gamma's shape by moments: chance explains `expected`, the rest is expected² ÷ shape.

    Each title counts by 1 ÷ (1 + expected)², so that the few great ones do not speak for all.
    """
    weight = 1.0 / (1.0 + expected) ** 2
    beyond = float((weight * ((plays - expected) ** 2 - expected)).sum())
    square = float((weight * expected**2).sum())
    if beyond <= square / PRECISION_MAX or square <= 0:
        return PRECISION_MAX
    return max(square / beyond, PRECISION_MIN)
