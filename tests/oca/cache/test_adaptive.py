"""The default policy finds out what the workload wants, and changes its mind when that pays."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.traces import KINDS, synthetic
from oca.cache.adaptive import ARMS, MINIATURE_KEYS_MAX, SAMPLE_FIRST, Adaptive
from oca.cache.registry import make
from oca.cache.replay import Replay
from oca.cache.workfunction import WorkFunction
from tests.oca.cache.models import S3Model

DISTANCES = [[0.0, 2.0, 5.0], [2.0, 0.0, 4.0], [5.0, 4.0, 0.0]]
costs = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=6)


def cheapest(steps: list[tuple[int, ...]], end: int) -> float:
    """What a clairvoyant pays at least to end in `end`: every schedule tried."""
    return min(
        sum(
            DISTANCES[before][after] + step[after]
            for before, after, step in zip((schedule[0], *schedule), schedule, steps, strict=False)
        )
        + DISTANCES[schedule[-1]][end]
        for schedule in product(range(3), repeat=len(steps))
    )


@given(steps=costs)
@settings(max_examples=60, deadline=None)
def test_work_function_is_what_a_clairvoyant_would_have_paid(steps: list[tuple[int, ...]]) -> None:
    """Differences between states are those of the best schedules in hindsight."""
    choice = WorkFunction(DISTANCES, 1)
    for step in steps:
        choice.step(step)
    best = [cheapest(steps, end) for end in range(3)]
    assert choice._work == pytest.approx([value - min(best) for value in best])


@given(steps=st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=300))
@settings(max_examples=60, deadline=None)
def test_choice_is_never_worse_than_five_times_the_best_in_hindsight(
    steps: list[tuple[int, ...]],
) -> None:
    """Borodin, Linial, Saks: (2n - 1) times the optimum, plus a constant; here n = 3."""
    choice = WorkFunction(DISTANCES, 0)
    paid, state = 0.0, 0
    optimum = [0.0, 0.0, 0.0]
    for step in steps:
        after = choice.step(step)
        paid += DISTANCES[state][after] + step[after]
        state = after
        spent = [value + cost for value, cost in zip(optimum, step, strict=True)]
        optimum = [min(spent[b] + DISTANCES[b][e] for b in range(3)) for e in range(3)]
    assert paid <= 5 * min(optimum) + 5 * 5


def test_a_short_lead_does_not_pay_for_a_change() -> None:
    """The other state must have been better by the price of going there."""
    choice = WorkFunction([[0, 10], [10, 0]], 0)
    assert [choice.step([3, 0]) for _ in range(4)] == [0, 0, 0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_s3_fifo_under_the_setting_in_force(seed: int) -> None:
    """Hit for hit the plain model, whose shares are changed when the choice changes."""
    rng = Random(seed)
    capacity = 3_000
    policy, model = Adaptive(capacity), S3Model(capacity, promote=1, fill=True)
    for _ in range(20_000):
        key = int(rng.paretovariate(0.6)) % 700 if seed % 2 else int(rng.gauss(0, 40)) % 300
        size = 1 + key % 31
        hit = policy.request(key, size)
        model.small_max = int(capacity * policy.arm.small_share)
        model.ghost_max = int(capacity * policy.arm.ghost_share)
        assert hit == model.request(key, size)


def settled(kind: str, capacity_bytes: int, count: int = 60_000) -> float:
    """The share of the small queue after a trace of this kind."""
    policy = Adaptive(capacity_bytes)
    for _, key, size in synthetic(kind, count):
        policy.request(key, size)
    return policy.arm.small_share


def test_it_turns_to_recency_where_nothing_lasts() -> None:
    """Bursts of requests, then never again: half of the cache or more is the young queue."""
    assert settled("bursts", 32 << 20) >= 0.3


def test_it_holds_on_to_what_lasts_where_loops_and_scans_pass() -> None:
    """Rows longer than the cache, read over and over: the young queue is as small as it gets."""
    assert settled("loops", 64 << 20) == min(arm.small_share for arm in ARMS)


def test_miniatures_stay_miniature() -> None:
    """A cache of 200,000 objects is watched through a few hundred: the sample shrinks with it."""
    policy = Adaptive(200_000 * 64)
    for key in range(250_000):
        policy.request(key * 7, 64)
        policy.victims.clear()
    assert policy._sample_below < (1 << 31) // (SAMPLE_FIRST * 8)
    for mini in policy._miniatures:
        assert len(mini) <= MINIATURE_KEYS_MAX + SAMPLE_FIRST * 8
        assert mini.held_bytes <= 2 * mini.capacity_bytes


def bytes_missed(kind: str, policy: str) -> float:
    """Byte miss ratio at a tenth of the objects' bytes."""
    rows = synthetic(kind, 40_000, seed=7)
    capacity_bytes = sum({key: size for _, key, size in rows}.values()) // 10
    replay = Replay(policy, make(policy, capacity_bytes))
    replay.feed(rows)
    return replay.outcome().byte_miss_ratio


@pytest.mark.parametrize("kind", KINDS)
def test_default_is_never_much_worse_than_lru_or_sieve(kind: str) -> None:
    """On short traces of every nature, learning included: at most an eighth more bytes missed."""
    best = min(bytes_missed(kind, "lru"), bytes_missed(kind, "sieve"))
    assert bytes_missed(kind, "adaptive") <= best * 1.125
