"""A forecast with honest quantiles: boosters that each left out some titles. Pure.

Cross-fitting as in CV+ (Barber, Candès, Ramdas & Tibshirani 2021): of FOLDS boosters each is
grown without one fold of the titles. Their mean is the forecast; what each said of the titles it
never saw gives the residuals whose quantiles, by stratum, spread the forecast. Trees' own
quantiles were tried: 80 % intervals held 67 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fill.forecasting.boost import Bins, Shape, Trees, grow
from fill.forecasting.metrics import Floats, Ints, weighted_quantile

FOLDS = 8
SEED = 20_240_701
POOLED_ROWS = 40.0  # all strata's quantile weighs as much as so many rows of one stratum
MEDIAN = 0.5


@dataclass(frozen=True, slots=True)
class CrossFit:
    """Boosters over the same bins, and `spread[stratum, quantile]`, residuals at `taus`."""

    bins: Bins
    boosters: tuple[Trees, ...]
    taus: tuple[float, ...]
    spread: Floats

    @classmethod
    def fit(cls, table: Floats, target: Floats, weights: Floats, blocks: Ints, strata: Ints,
            taus: tuple[float, ...], shape: Shape) -> CrossFit:  # fmt: skip
        """Fit the median of `target` given `table` (rows × features, NaN = missing).

        Rows of one block (a title) are left out together; residuals are kept by stratum.
        """
        bins = Bins.of(table, shape.bins)
        codes = bins.codes(table)
        share = weights / weights.mean()
        fold = blocks % FOLDS
        residual = np.zeros(len(target))
        boosters = []
        for at in range(FOLDS):
            seen, unseen = fold != at, fold == at
            rng = np.random.default_rng((SEED, at))
            grown = grow(codes[seen], target[seen], share[seen], MEDIAN, shape, rng)
            residual[unseen] = target[unseen] - grown.predict(codes[unseen])
            boosters.append(grown)
        return cls(bins, tuple(boosters), taus, _spread(residual, strata, taus))

    def predict(self, table: Floats, strata: Ints) -> tuple[Floats, Floats]:
        """The median of every row, and rows × taus of quantiles around it, ascending."""
        codes = self.bins.codes(table)
        middle = np.mean([trees.predict(codes) for trees in self.boosters], axis=0)
        return middle, middle[:, None] + self.spread[strata]


def _spread(residual: Floats, strata: Ints, taus: tuple[float, ...]) -> Floats:
    """Residuals' quantiles by stratum, those of few rows pulled toward all rows'."""
    ones = np.ones(len(residual))
    whole = np.array([weighted_quantile(residual, ones, tau) for tau in taus])
    spread = np.empty((int(strata.max()) + 1, len(taus)))
    for stratum in range(len(spread)):
        own = strata == stratum
        rows = int(own.sum())
        quantiles = [weighted_quantile(residual[own], ones[own], tau) for tau in taus]
        spread[stratum] = (rows * np.array(quantiles) + POOLED_ROWS * whole) / (rows + POOLED_ROWS)
    return spread
