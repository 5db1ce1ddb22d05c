"""Days replayed: planned, realised, oracle and LRU stand in the order they must."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.offload import assets_of, rows_of
from benchmarks.offload_world import SLOTS, Spec, make_world
from fill.config import PlanKnobs
from fill.forecasting.tomorrow import OLD, Assets, SiteRows
from fill.place import Box
from fill.pullthrough import Lru, plays_of
from fill.replay import Place, Replay, SiteDay, Span, totals

SPEC = Spec(titles_old=300, plays_a_day=6_000.0, warm_days=14, days=3, sites_per_region=1)
FIRST = 20_006 + SPEC.warm_days


@pytest.fixture(scope="module")
def lifelike() -> list[SiteDay]:
    """Three days of the benchmark's audience, small, on half the catalogue, 5 % of churn."""
    world = make_world(SPEC)
    played = [world.day(day) for day in range(SPEC.all_days)]
    disk = int(world.size_bytes[np.repeat(world.launch < SPEC.warm_days, SLOTS)].sum() / 2)
    box = Box("b", disk, disk // 20, 10**12)
    places = [Place(f"s{at}", at, (box,), rows) for at, rows in enumerate(rows_of(world, played))]
    knobs = PlanKnobs(reserve_share=0.0, away_share=0.0)
    span = Span(FIRST, FIRST + 2, SPEC.warm_days)
    return list(Replay(assets_of(world), places, SPEC.regions, knobs, span).days())


def test_the_oracle_is_never_beaten_and_plans_come_near_it(lifelike: Sequence[SiteDay]) -> None:
    """Nothing beats the oracle; what was realised is about what was planned."""
    for each in lifelike:
        assert each.oracle >= max(each.realised, each.lru, each.foreseen)
        assert each.realised == pytest.approx(each.planned, abs=0.02)
        assert each.realised == pytest.approx(each.foreseen, abs=0.01)


def test_plans_serve_more_than_a_cache_of_the_same_size(lifelike: Sequence[SiteDay]) -> None:
    """Over all sites and days, with a twentieth of the disk to fetch a night at most."""
    whole = totals(lifelike, lambda _: "all")["all"]
    assert whole.realised > whole.lru + 0.01
    assert max(each.churn for each in lifelike) <= 0.05
    assert max(each.churn for each in lifelike[len(lifelike) // 3 :]) > 0.0


def flat(days: dict[int, list[float]]) -> SiteRows:
    """Rows of one site from day → bytes by asset."""
    at = [np.flatnonzero(amounts) for amounts in days.values()]
    return SiteRows(
        np.repeat(list(days), [len(each) for each in at]).astype(np.int32),
        np.concatenate(at).astype(np.int32),
        np.concatenate([np.array(v, float)[a] for v, a in zip(days.values(), at, strict=True)]),
    )


def replay_of(days: dict[int, list[float]], assets: Assets, announced: bool) -> list[SiteDay]:
    """The last day replayed, on a disk for two assets of three."""
    box = Box("b", 200, 200, 10**12)
    last = max(days)
    knobs = PlanKnobs(reserve_share=0.0)
    return list(
        Replay(
            assets, [Place("s", 0, (box,), flat(days))], 1, knobs, Span(last, last, 10),
            announced=np.full(3, announced),
        ).days()
    )  # fmt: skip


@pytest.mark.parametrize(("announced", "served"), [(True, 1.0), (False, 0.0)])
def test_only_announced_launches_are_known_before_their_day(announced: bool, served: float) -> None:
    """A title of the calendar is there on its first day; another is not, whatever comes later."""
    launch = np.array([OLD, OLD, 110], np.int32)
    index = np.arange(3, dtype=np.int32)
    none = np.full(3, -1, np.int32)
    assets = Assets(index, np.full(3, 100.0), index, np.zeros(3, np.int32), launch, none)
    days = {day: [1000.0, 100.0, 0.0] for day in range(100, 110)} | {110: [0.0, 0.0, 5000.0]}
    (found,) = replay_of(days, assets, announced)
    assert found.realised == served


def test_lru_drops_what_was_played_longest_ago() -> None:
    """Room for two: the third play of a stays a hit, b had to go for c."""
    cache = Lru(200, [100, 100, 100, 500])
    assert cache.play([0, 1, 0, 2, 0, 1]) == [False, False, True, False, True, False]
    assert cache.play([3, 0]) == [False, True]


def test_plays_deliver_the_days_bytes_whatever_their_order() -> None:
    """Bytes ÷ size plays, at least one; what they deliver adds up."""
    size = np.array([100.0, 100.0])
    at = np.array([0, 1], np.int32)
    plays, each = plays_of(at, np.array([1_000.0, 30.0]), size, np.random.default_rng(0))
    assert sorted(plays) == [0] * 10 + [1]
    assert each.sum() == pytest.approx(1_030)
