"""Tomorrow by site and asset: decay, weekdays, small sites, launches, ladders, and its doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fill.forecasting.clock import WEEKLY, learn_clock
from fill.forecasting.tomorrow import OLD, Assets, Learner, SiteForecast, SiteRows, forecast_site

FIRST = 20_003  # a Monday
DAYS = 28
SIZE = 1_000.0


def assets(titles: int, launch: dict[int, int] | None = None, slots: int = 1) -> Assets:
    """`titles` titles of `slots` assets each, old ones unless a launch day is given."""
    title = np.repeat(np.arange(titles), slots)
    days = np.array([(launch or {}).get(int(t), OLD) for t in title])
    return Assets(
        np.arange(titles * slots, dtype=np.int32),
        np.full(titles * slots, SIZE),
        title.astype(np.int32),
        np.tile(np.arange(slots), titles).astype(np.int32),
        days.astype(np.int32),
        np.full(titles * slots, -1, np.int32),
    )


def rows(plays: np.ndarray, first: int = FIRST) -> SiteRows:
    """Plays (days × assets) as one site's rows."""
    day, at = np.nonzero(plays)
    return SiteRows(
        (first + day).astype(np.int32), at.astype(np.int32), plays[day, at].astype(float) * SIZE
    )


def plays_of(found: SiteForecast, count: int) -> np.ndarray:
    """The forecast in plays, by asset."""
    table = np.zeros(count)
    table[found.at] = found.bytes_a_day / SIZE
    return table


def foresee(made: Assets, *sites: SiteRows, days: int = DAYS) -> list[np.ndarray]:
    """Plays by asset that are expected of each site, all in one region."""
    learner = Learner(made, FIRST, FIRST + days - 1)
    for site in sites:
        learner.add(0, site)
    learned = learner.learn()
    return [plays_of(forecast_site(learned, 0, site), len(made.id)) for site in sites]


def test_what_is_asked_evenly_is_expected_again() -> None:
    """No age, no weekday, one site: tomorrow is as today."""
    (found,) = foresee(assets(3), rows(np.tile([100, 50, 10], (DAYS, 1))))
    assert found == pytest.approx([100, 50, 10], rel=0.02)


def test_a_small_site_leans_on_the_others() -> None:
    """Ten plays a day over a hundred titles say little: the world's order is nearer the truth."""
    rng = np.random.default_rng(5)
    truth = 2_000 / (np.arange(100) + 1.0)
    big = [rows(rng.poisson(truth, (DAYS, 100))) for _ in range(3)]
    share = truth / truth.sum() * 10
    few = rng.poisson(share, (DAYS, 100))
    found = foresee(assets(100), *big, rows(few))[-1]
    alone = few.mean(axis=0)
    assert np.abs(found - share).sum() < 0.3 * np.abs(alone - share).sum()


def test_a_large_site_keeps_its_own_taste() -> None:
    """A thousand plays a day of what nobody else wants are no accident."""
    usual = np.tile(np.full(20, 100), (DAYS, 1))
    odd = usual.copy()
    odd[:, 7] = 1_000
    found = foresee(assets(20), rows(usual), rows(usual), rows(odd))
    assert found[2][7] == pytest.approx(1_000, rel=0.1)
    assert found[0][7] == pytest.approx(100, rel=0.25)


def test_a_young_title_falls_with_its_age_and_the_weekend_rises() -> None:
    """Four launches that halved in a week; one weekday has half as much again."""
    launch = {t: FIRST + 2 * t for t in range(4)}
    day = np.arange(DAYS)
    weekend = np.where((FIRST + day) % 7 == (FIRST + DAYS) % 7, 1.5, 1.0)
    plays = np.full((DAYS + 1, 8), 1_000.0)
    for t in range(4):
        age = np.arange(DAYS + 1) - 2 * t
        plays[:, t] = np.where(age >= 0, 4_000 * 0.5 ** (age / 7), 0)
    plays[:-1] *= weekend[:, None]
    plays[-1] *= 1.5
    (found,) = foresee(assets(8, launch), rows(np.rint(plays[:-1])))
    assert found == pytest.approx(plays[-1], rel=0.3)


def test_the_age_curve_is_the_top_10s_until_there_are_launches() -> None:
    """Without a title of known age the weekly ratios of the Top-10 stand."""
    clock = learn_clock(np.full((5, DAYS), 10.0), np.full(5, OLD, np.int32), FIRST)
    assert clock.age_curve[7] == pytest.approx(WEEKLY[0])
    assert clock.age_curve[70] == pytest.approx(np.prod(WEEKLY))
    assert clock.factor == pytest.approx(np.ones((5, DAYS)))


def test_a_launch_is_expected_before_anybody_asked() -> None:
    """Tomorrow's title brings what launches brought; one like the great one brings more."""
    launch = {0: FIRST + 5, 1: FIRST + 9, 2: FIRST + 12, 3: FIRST + DAYS, 4: FIRST + DAYS}
    made = assets(9, launch)
    made = replace(made, like=np.array([-1, -1, -1, -1, 0, -1, -1, -1, -1], np.int32))
    plays = np.tile(np.full(9, 50.0), (DAYS, 1))
    for t, brought in enumerate((3_000, 500, 100)):
        age = np.arange(DAYS) - (launch[t] - FIRST)
        plays[:, t] = np.where(age >= 0, brought * 0.92 ** np.maximum(age, 0), 0)
    plays[:, 3:5] = 0
    site = rows(np.rint(plays))
    (found,) = foresee(made, site)
    assert found[3] == pytest.approx(1_200, rel=0.05)
    assert found[4] > 1.5 * found[3]
    learner = Learner(made, FIRST, FIRST + DAYS - 1)
    learner.add(0, site)
    sure = forecast_site(learner.learn(), 0, site)
    spread = dict(zip(sure.at.tolist(), (sure.spread / sure.bytes_a_day).tolist(), strict=True))
    assert spread[3] > 0.5 > spread[7]


def test_a_title_splits_as_the_sites_clients_play() -> None:
    """One ISP plays the second language; a new title there is expected in it, before it came."""
    made = assets(30, {29: FIRST + DAYS, 28: FIRST + 3}, slots=2)
    plays = np.full((DAYS, 60), 100)
    plays[:3, 56:58] = 0
    plays[:, 58:] = 0
    other = plays.copy()
    other[:, 0::2], other[:, 1::2] = plays[:, 0::2] // 4, plays[:, 1::2] * 2
    here, there = foresee(made, rows(plays), rows(other))
    assert here[58] / here[59] == pytest.approx(1.0, rel=0.1)
    assert there[59] / there[58] == pytest.approx(8.0, rel=0.15)


def test_the_spread_holds_what_was_foreseen() -> None:
    """Over many titles, days fall within one spread as often as a normal one would: 68 %."""
    rng = np.random.default_rng(8)
    truth = rng.gamma(0.5, 40.0, 400)
    history = rng.poisson(truth, (DAYS, 400))
    learner = Learner(assets(400), FIRST, FIRST + DAYS - 1)
    learner.add(0, rows(history))
    found = forecast_site(learner.learn(), 0, rows(history))
    actual = rng.poisson(truth)[found.at] * SIZE
    many = found.bytes_a_day > 5 * SIZE
    inside = np.abs(actual - found.bytes_a_day) <= found.spread
    assert 0.58 < inside[many].mean() < 0.78


def test_days_before_a_site_was_there_do_not_make_it_small() -> None:
    """Three days of counts beside four weeks of the others': expected as those three days were."""
    plays = np.tile([100, 40], (DAYS, 1))
    late = plays.copy()
    late[:-3] = 0
    _, found = foresee(assets(2), rows(plays), rows(late))
    assert found == pytest.approx([100, 40], rel=0.05)


def test_the_order_of_rows_and_sites_changes_nothing() -> None:
    """Equal counts, equal forecast, whoever sent them first."""
    rng = np.random.default_rng(3)
    one, two = (rows(rng.poisson(5, (DAYS, 40))) for _ in range(2))
    order = rng.permutation(len(one.day))
    mixed = SiteRows(one.day[order], one.at[order], one.bytes[order])
    straight, crossed = foresee(assets(40), one, two), foresee(assets(40), two, mixed)
    assert straight[0] == pytest.approx(crossed[1], rel=1e-9)


def test_one_day_says_nothing_of_how_days_differ() -> None:
    """Two sites, one day of a hundred plays each title: large counts are not taken for chance."""
    first = np.full((1, 20), 400)
    other = first.copy()
    other[0, :10] = 100
    here, there = foresee(assets(20), rows(first), rows(other), days=1)
    assert here == pytest.approx(np.full(20, 400), rel=0.05)
    assert there == pytest.approx(other[0], rel=0.05)
