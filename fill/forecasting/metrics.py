"""How wrong a forecast was. Pure.

WAPE, the weighted absolute percentage error, is sum|forecast - actual| / sum(actual): hours of
error per hour watched (Kolassa & Schütz 2007). Its best constant is a weighted median, no mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def wape(forecast: Floats, actual: Floats) -> float:
    """Summed absolute error ÷ summed actual amount (same unit, same length); NaN of nothing."""
    total = float(actual.sum())
    return float(np.abs(forecast - actual).sum()) / total if total > 0 else float("nan")


def covered(low: Floats, high: Floats, actual: Floats) -> float:
    """The share of actual amounts within [low, high]; NaN of nothing."""
    return float(np.mean((low <= actual) & (actual <= high))) if len(actual) else float("nan")


def weighted_quantile(values: Floats, weights: Floats, tau: float) -> float:
    """The least value that at least `tau` of the weight does not exceed; 0 of no values."""
    if not len(values):
        return 0.0
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[order])
    at = int(np.searchsorted(upto, upto[-1] * tau))
    return float(values[order[min(at, len(values) - 1)]])
