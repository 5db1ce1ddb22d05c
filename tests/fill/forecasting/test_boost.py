"""Boosted trees and decay curves find what was put into the data, and survive what is not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fill.forecasting.boost import Bins, Shape, grow
from fill.forecasting.crossfit import CrossFit
from fill.forecasting.decay import AGES_MAX, DecayCurves, forecast, runs, smooth
from fill.forecasting.metrics import covered, wape, weighted_quantile

SMALL = Shape(trees=120, depth=3)


def steps(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A step in column 0, a missing value that matters in column 1, noise in column 2."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(rows, 3))
    table[rng.random(rows) < 0.3, 1] = np.nan
    truth = np.where(table[:, 0] > 0, 2.0, -1.0) + np.where(np.isnan(table[:, 1]), 1.0, 0.0)
    return table, truth + rng.laplace(scale=0.3, size=rows)


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_trees_find_the_quantile_they_are_asked_for(tau: float) -> None:
    """Of data they have not seen, about tau lies below."""
    table, target = steps(2_000, 1)
    bins = Bins.of(table, 32)
    grown = grow(
        bins.codes(table), target, np.ones(len(target)), tau, SMALL, np.random.default_rng(1)
    )
    fresh, actual = steps(2_000, 2)
    below = float(np.mean(actual <= grown.predict(bins.codes(fresh))))
    assert below == pytest.approx(tau, abs=0.06)


def test_intervals_hold_what_they_promise_on_fresh_data() -> None:
    """80 % intervals of a cross-fitted forecast cover 80 %, and its median beats a constant."""
    table, target = steps(1_500, 3)
    blocks = np.arange(len(target)) // 3
    strata = (table[:, 0] > 0).astype(np.int64)
    fit = CrossFit.fit(table, target, np.ones(len(target)), blocks, strata, (0.1, 0.9), SMALL)
    fresh, actual = steps(3_000, 4)
    middle, around = fit.predict(fresh, (fresh[:, 0] > 0).astype(np.int64))
    assert covered(around[:, 0], around[:, 1], actual) == pytest.approx(0.8, abs=0.05)
    assert np.abs(actual - middle).mean() < 0.3 * np.abs(actual - np.median(target)).mean()


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_too_few_rows_give_a_constant_not_a_crash(rows: int) -> None:
    """No leaf may hold fewer than its least rows, so nothing is cut."""
    table, target = steps(rows, 5)
    codes = Bins.of(table, 32).codes(table)
    grown = grow(codes, target, np.ones(rows), 0.5, SMALL, np.random.default_rng(1))
    assert len(set(grown.predict(codes))) == 1


def test_values_never_seen_and_columns_always_missing_are_forecast() -> None:
    """Infinities fall into the outermost bins; a column of NaN says nothing."""
    table, target = steps(200, 6)
    table[:, 2] = np.nan
    bins = Bins.of(table, 32)
    grown = grow(bins.codes(table), target, np.ones(200), 0.5, SMALL, np.random.default_rng(1))
    strange = np.array([[np.inf, -np.inf, 5.0], [np.nan, np.nan, np.nan]])
    assert np.isfinite(grown.predict(bins.codes(strange))).all()


amounts = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0.01, 1e3)), min_size=1, max_size=40)


@given(amounts)
def test_the_weighted_median_has_the_least_weighted_error(pairs: list[tuple[float, float]]) -> None:
    """No other value of the sample does better: that is why ratios are fitted with it."""
    values, weights = np.array(pairs).T
    best = weighted_quantile(values, weights, 0.5)
    error = [float((weights * np.abs(values - value)).sum()) for value in (best, *values)]
    assert error[0] <= min(error) * (1 + 1e-9) + 1e-6


def test_errors_of_nothing_are_no_number() -> None:
    """Nothing was watched: there is no share of it."""
    nothing = np.zeros(0)
    assert np.isnan(wape(nothing, nothing))
    assert np.isnan(covered(nothing, nothing, nothing))


def test_decay_curves_find_each_groups_ratio_and_forecast_with_it() -> None:
    """Two groups, two ages, exact ratios; calendar factors multiply."""
    rng = np.random.default_rng(1)
    ages, groups = rng.integers(1, 3, 4_000), rng.integers(0, 2, 4_000)
    latest = rng.lognormal(10, 1, 4_000)
    ratio = np.array([[0.9, 0.5], [0.7, 0.3]])[groups, ages - 1]
    curves = DecayCurves.fit(latest, latest * ratio, ages, groups)
    history = runs([[50.0, 100.0], [100.0]])
    found = forecast(history, np.array([2, 1]), np.array([0, 1]), curves, calendar=2.0)
    assert found == pytest.approx([100.0, 140.0], rel=0.01)


def test_a_group_without_pairs_decays_like_all_others() -> None:
    """Cold groups and high ages shrink to the whole, instead of failing."""
    ages, groups = np.full(50, AGES_MAX + 3), np.zeros(50, dtype=np.int64)
    groups[-1] = 1
    latest = np.full(50, 100.0)
    following = np.where(groups == 1, 1.0, 60.0)
    curves = DecayCurves.fit(latest, following, ages, groups)
    own, thin = np.exp(curves.log_ratios[:, -1])
    assert own == pytest.approx(0.6)
    assert 0.3 < thin < 0.6
    assert np.exp(curves.log_ratios[0, 0]) == 1.0


def test_smoothing_starts_with_the_first_known_amount() -> None:
    """Weeks before a title existed are no zeros."""
    table = runs([[80.0, 40.0], [10.0, 20.0, 30.0]])
    assert smooth(table, 1.0) == pytest.approx([40.0, 30.0])
    assert smooth(table, 0.5) == pytest.approx([60.0, 22.5])
