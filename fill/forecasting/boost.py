"""Gradient-boosted quantile trees in numpy: small, seeded, deterministic. Pure.

Follows Friedman 2001 (boosting absolute loss: a leaf holds the quantile of its residuals) and
2002 (each tree sees a random part of the rows), with cut points drawn at random as in Extremely
Randomized Trees (Geurts, Ernst & Wehenkel 2006) and one cut per level ("oblivious" trees), which
regularises strongly and makes prediction one table look-up. Chance comes in as a Generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fill.forecasting.metrics import Floats, Ints, weighted_quantile

MISSING = 0  # the bin of NaN, below all others
GAIN_MIN = 1e-9  # of weights whose mean is 1: rounding, not a gain
Codes = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Shape:
    """How trees are grown. Chosen on weeks before 2024-07 by nested validation, once."""

    trees: int = 200
    depth: int = 5
    rate: float = 0.05
    row_share: float = 0.7
    column_share: float = 0.6
    cuts_per_column: int = 2
    leaf_rows_min: int = 20
    bins: int = 32


@dataclass(frozen=True, slots=True)
class Bins:
    """Per column the inner edges of its quantile bins; codes are 1-based, MISSING is NaN."""

    edges: tuple[Floats, ...]

    @classmethod
    def of(cls, table: Floats, bins: int) -> Bins:
        """Edges from the columns of `table` (rows × columns), without its NaNs."""
        inner = np.linspace(0.0, 1.0, bins + 1)[1:-1]
        return cls(tuple(_edges(column[~np.isnan(column)], inner) for column in table.T))

    def codes(self, table: Floats) -> Codes:
        """The bin of every value; values beyond the known range fall into the outermost bins."""
        columns = [
            np.where(np.isnan(column), MISSING, 1 + np.searchsorted(edges, column))
            for column, edges in zip(table.T, self.edges, strict=True)
        ]
        return np.column_stack(columns).astype(np.int16)


def _edges(known: Floats, inner: Floats) -> Floats:
    return np.unique(np.quantile(known, inner)) if len(known) else np.zeros(1)


@dataclass(frozen=True, slots=True)
class Trees:
    """A fitted booster: `columns` and `cuts` are trees × depth, `leaves` trees × 2^depth."""

    start: float
    columns: Ints
    cuts: Ints
    leaves: Floats

    def predict(self, codes: Codes) -> Floats:
        """One value a row of `codes`."""
        value = np.full(len(codes), self.start)
        for columns, cuts, leaves in zip(self.columns, self.cuts, self.leaves, strict=True):
            value += leaves[_leaf_of(codes, columns, cuts)]
        return value


def _leaf_of(codes: Codes, columns: Ints, cuts: Ints) -> Ints:
    leaf = np.zeros(len(codes), dtype=np.int64)
    for column, cut in zip(columns, cuts, strict=True):
        leaf = leaf * 2 + (codes[:, column] > cut)
    return leaf


def grow(
    codes: Codes,
    target: Floats,
    weights: Floats,
    tau: float,
    shape: Shape,
    rng: np.random.Generator,
) -> Trees:
    """Fit the `tau`-quantile of `target` given `codes` (rows × columns), rows weighing `weights`.

    Refuses nothing: with too few rows for a cut, trees are stumps of one leaf.
    """
    start = weighted_quantile(target, weights, tau)
    value = np.full(len(target), start)
    columns = np.zeros((shape.trees, shape.depth), dtype=np.int64)
    cuts = np.full((shape.trees, shape.depth), np.iinfo(np.int16).max, dtype=np.int64)
    leaves = np.zeros((shape.trees, 1 << shape.depth))
    for tree in range(shape.trees):
        rows = np.flatnonzero(rng.random(len(target)) < shape.row_share)
        slope = weights[rows] * (tau - (target[rows] <= value[rows]))
        _cut(codes[rows], slope, weights[rows], shape, rng, columns[tree], cuts[tree])
        leaf = _leaf_of(codes, columns[tree], cuts[tree])
        residual = target[rows] - value[rows]
        leaves[tree] = shape.rate * _leaf_quantiles(
            leaf[rows], 1 << shape.depth, residual, weights[rows], tau
        )
        value += leaves[tree][leaf]
    return Trees(start, columns, cuts, leaves)


def _cut(
    codes: Codes,
    slope: Floats,
    weights: Floats,
    shape: Shape,
    rng: np.random.Generator,
    columns: Ints,
    cuts: Ints,
) -> None:
    """Choose, level by level, the drawn cut with the greatest gain, into `columns` and `cuts`."""
    drawn = rng.permutation(codes.shape[1])
    drawn = np.repeat(
        drawn[: max(1, round(shape.column_share * len(drawn)))], shape.cuts_per_column
    )
    values = codes[:, drawn]
    if not len(values):
        return
    low, high = values.min(axis=0), values.max(axis=0)
    leaf = np.zeros(len(codes), dtype=np.int64)
    for level in range(shape.depth):
        cut = rng.integers(low, np.maximum(high, low + 1))
        gain = _gains(leaf, values <= cut, slope, weights, 1 << level, shape.leaf_rows_min)
        best = int(gain.argmax())
        if gain[best] > GAIN_MIN:
            columns[level], cuts[level] = drawn[best], cut[best]
        leaf = leaf * 2 + (codes[:, columns[level]] > cuts[level])


def _gains(
    leaf: Ints, left: NDArray[np.bool_], slope: Floats, weights: Floats, leaves: int, least: int
) -> Floats:
    """Per candidate (column of `left`) the slopes' weighted variance it explains, over the leaves
    it may cut: those that keep `least` rows on either side."""
    candidates = left.shape[1]
    side = (leaf * 2)[:, None] + left + np.arange(candidates) * 2 * leaves
    flat, shape = side.ravel(), (candidates, leaves, 2)
    size = candidates * leaves * 2
    count = np.bincount(flat, minlength=size).reshape(shape)
    sums = np.bincount(flat, np.repeat(slope, candidates), size).reshape(shape)
    mass = np.bincount(flat, np.repeat(weights, candidates), size).reshape(shape)
    mass = np.maximum(mass, GAIN_MIN)
    gain = (sums**2 / mass).sum(axis=2) - sums.sum(axis=2) ** 2 / mass.sum(axis=2)
    return np.asarray(np.where(count.min(axis=2) >= least, gain, 0.0).sum(axis=1))


def _leaf_quantiles(
    leaf: Ints, leaves: int, residual: Floats, weights: Floats, tau: float
) -> Floats:
    order = np.argsort(leaf, kind="stable")
    ends = np.searchsorted(leaf[order], np.arange(leaves + 1))
    return np.array(
        [
            weighted_quantile(residual[order[lo:hi]], weights[order[lo:hi]], tau)
            for lo, hi in pairwise(ends)
        ]
    )
