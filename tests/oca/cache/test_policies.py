"""Every policy does what its paper says, within its capacity, and tells the caller what left."""

from __future__ import annotations

from collections.abc import Callable, Sized

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oca.cache.adaptive import Adaptive
from oca.cache.admission import SecondRequest
from oca.cache.arc import Arc
from oca.cache.lirs import Lirs
from oca.cache.policy import Policy
from oca.cache.queues import Fifo, Lru
from oca.cache.ranked import Gdsf, LfuDa
from oca.cache.registry import POLICIES, make
from oca.cache.s3fifo import S3Fifo
from oca.cache.sieve import Sieve
from tests.oca.cache.models import (
    ArcModel,
    FifoModel,
    LirsModel,
    LruModel,
    Model,
    RankModel,
    S3Model,
    SecondModel,
    SieveModel,
    SizeRankModel,
    held_by,
)

KEYS = range(24)
CAPACITY_BYTES = 1000
FORGET = 0
"""A size of 0 stands for `forget` in the lists of steps."""

steps = st.lists(
    st.tuples(
        st.integers(0, KEYS[-1]),
        st.one_of(st.integers(1, 99), st.sampled_from([FORGET, 100, 101, 400, 1000, 1001])),
    ),
    max_size=300,
)

PAIRS: dict[str, tuple[Callable[[int], Policy], Callable[[int], Model]]] = {
    "fifo": (Fifo, FifoModel),
    "lru": (Lru, LruModel),
    "sieve": (Sieve, SieveModel),
    "s3-fifo": (S3Fifo, S3Model),
    "s3-fifo, as a miniature": (
        lambda size: S3Fifo(size, small_share=0.3, ghost_share=2.5, promote_at=1, fill_main=True),
        lambda size: S3Model(size, 0.3, 2.5, 1, fill=True),
    ),
    "lfu-da": (LfuDa, RankModel),
    "gdsf": (Gdsf, SizeRankModel),
    "arc": (Arc, ArcModel),
    "lirs": (Lirs, LirsModel),
    "lru, second request": (lambda size: SecondRequest(Lru(size)), SecondModel),
}
ALL: dict[str, Callable[[int], Policy]] = {
    **{name: policy for name, (policy, _) in PAIRS.items()},
    "adaptive": Adaptive,
}
BUSY = [(key % 24, 90 - key % 7) for key in range(0, 1500, 5)]


@pytest.mark.parametrize("name", PAIRS)
@given(steps=steps)
@example(steps=BUSY)
@settings(max_examples=150, deadline=None)
def test_policy_does_what_its_plain_model_does(name: str, steps: list[tuple[int, int]]) -> None:
    """Hit for hit and key for key, whatever is asked for, purged, or too large."""
    policy, model = (make_it(CAPACITY_BYTES) for make_it in PAIRS[name])
    for key, size in steps:
        if size == FORGET:
            policy.forget(key)
            model.forget(key)
        else:
            assert policy.request(key, size) == model.request(key, size)
        assert held_by(policy, KEYS) == set(model.sizes)
        assert policy.held_bytes == model.used
        assert len(policy) == len(model.sizes)


@pytest.mark.parametrize("name", ALL)
@given(steps=steps)
@example(steps=BUSY)
@settings(max_examples=100, deadline=None)
def test_victims_are_exactly_what_left_and_capacity_is_never_exceeded(
    name: str, steps: list[tuple[int, int]]
) -> None:
    """A caller that stores what is held, and deletes the victims, has on disk what is held."""
    policy = ALL[name](CAPACITY_BYTES)
    disk: dict[int, int] = {}
    for key, size in steps:
        if size == FORGET:
            policy.forget(key)
            disk.pop(key, None)
        else:
            assert policy.request(key, size) == (key in disk)
            if key in policy:
                disk.setdefault(key, size)
        for victim in policy.take_victims():
            del disk[victim]  # type: ignore[arg-type]  # our keys are integers
        assert set(disk) == held_by(policy, KEYS)
        assert sum(disk.values()) == policy.held_bytes <= CAPACITY_BYTES


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("second_request", [False, True])
def test_an_object_larger_than_the_cache_displaces_nothing(name: str, second_request: bool) -> None:
    """It is fetched every time, and what was held stays held."""
    policy = make(name, CAPACITY_BYTES, second_request=second_request)
    for _ in range(3):
        policy.request("small", 50)
    assert "small" in policy
    for _ in range(5):
        assert not policy.request("giant", CAPACITY_BYTES + 1)
    assert "giant" not in policy
    assert "small" in policy
    assert policy.take_victims() == []


@pytest.mark.parametrize("name", POLICIES)
def test_an_object_as_large_as_the_cache_can_be_held(name: str) -> None:
    """At the latest when it is asked for a second time."""
    policy = make(name, CAPACITY_BYTES)
    policy.request("whole", CAPACITY_BYTES)
    policy.request("whole", CAPACITY_BYTES)
    assert policy.request("whole", CAPACITY_BYTES)
    assert policy.held_bytes == CAPACITY_BYTES


@pytest.mark.parametrize("name", POLICIES)
def test_everything_hits_once_what_is_asked_for_fits(name: str) -> None:
    """Twenty chunks in a cache for twenty: after the first round there are no misses."""
    policy = make(name, 20 * 50)
    for chunk in range(20):
        policy.request(("film", chunk), 50)
    assert all(policy.request(("film", chunk), 50) for chunk in range(20) for _ in range(3))
    assert policy.take_victims() == []


def remembered(policy: Policy) -> int:
    """The length of the longest thing that a policy, or a policy within it, remembers."""
    slots = [slot for kind in type(policy).__mro__ for slot in getattr(kind, "__slots__", ())]
    parts = [getattr(policy, slot) for slot in slots]
    parts += [inner for part in parts if isinstance(part, list) for inner in part]
    return max(
        remembered(part) if isinstance(part, Policy) else len(part)
        for part in parts
        if isinstance(part, Sized)
    )


@pytest.mark.parametrize("name", POLICIES)
def test_keys_that_come_and_go_leave_no_memory_behind(name: str) -> None:
    """Purging what was just stored, 20,000 times, does not fill the queues with the dead."""
    policy = make(name, CAPACITY_BYTES)
    for key in range(20_000):
        policy.request(key, 10)
        policy.forget(key)
    assert len(policy) == 0
    assert policy.held_bytes == 0
    policy.take_victims()
    assert remembered(policy) < 1000


@pytest.mark.parametrize("name", POLICIES)
def test_ghosts_are_bounded(name: str) -> None:
    """A hundred thousand objects seen once are not all remembered."""
    policy = make(name, CAPACITY_BYTES)
    for key in range(100_000):
        policy.request(key, 10 if key % 2 else 500)
        policy.victims.clear()
    assert remembered(policy) < 4000


def test_what_is_asked_for_once_is_not_stored_behind_second_request_admission() -> None:
    """A scan of any length leaves the cache as it was, and writes nothing."""
    policy = make("lru", CAPACITY_BYTES, second_request=True)
    for _ in range(2):
        policy.request("film", 600)
    for key in range(10_000):
        policy.request(key, 10)
    assert policy.request("film", 600)
    assert len(policy) == 1


def test_a_cache_of_nothing_is_refused() -> None:
    """Zero bytes is a mistake in a configuration, not a cache."""
    with pytest.raises(ValueError, match="holds nothing"):
        make("lru", 0)
