"""A real trace, and the counts that libCacheSim has for it (FACTS.md): ours are the same."""

from __future__ import annotations

import os
import random
from functools import cache
from pathlib import Path

import pytest

from oca.cache.registry import DEFAULT, make
from oca.cache.replay import Replay
from oca.cache.trace import Request, oracle_rows

REPO = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("OCA_SHARED", REPO.parent / "shared"))
TRACE = SHARED / "data" / "cloudPhysicsIO.oracleGeneral.bin"
real = pytest.mark.skipif(not TRACE.is_file(), reason=f"needs {TRACE} (set OCA_SHARED)")
MIB = 1 << 20
SIZES = (128 * MIB, 512 * MIB, 1024 * MIB)
BOUND_BYTE_MISS_RATIO = 0.4647
"""PFOO-L at 1024 MiB."""


@cache
def rows() -> list[Request]:
    return list(oracle_rows([TRACE.read_bytes()], TRACE.name))


@cache
def replayed(name: str, size_bytes: int) -> Replay:
    replay = Replay(name, make(name, size_bytes))
    replay.feed(rows())
    return replay


@real
@pytest.mark.parametrize(
    ("name", "misses"),
    [
        ("lru", (93374, 81722, 71704)),
        ("fifo", (93403, 84025, 72140)),
        ("sieve", (91699, 76707, 64376)),
    ],
)
def test_miss_counts_are_those_of_libcachesim(name: str, misses: tuple[int, ...]) -> None:
    """Exactly, at all three sizes."""
    assert tuple(replayed(name, size).missed for size in SIZES) == misses


@real
@pytest.mark.parametrize("size", SIZES)
def test_default_misses_no_more_than_sieve(size: int) -> None:
    """Neither requests nor bytes."""
    ours, sieve = replayed(DEFAULT, size), replayed("sieve", size)
    assert ours.missed <= sieve.missed
    assert ours.missed_bytes <= sieve.missed_bytes


@real
def test_default_closes_most_of_the_gap_to_the_bound() -> None:
    """At 1 GiB, of the bytes that LRU misses and the bound does not, at least 60 % are saved."""
    lru = replayed("lru", SIZES[2]).outcome().byte_miss_ratio
    ours = replayed(DEFAULT, SIZES[2]).outcome().byte_miss_ratio
    assert (lru - ours) / (lru - BOUND_BYTE_MISS_RATIO) >= 0.6


@pytest.mark.parametrize(("ours", "theirs"), [("lru", "LRU"), ("fifo", "FIFO"), ("sieve", "Sieve")])
def test_libcachesim_agrees_request_for_request(ours: str, theirs: str) -> None:
    """Sizes that change between requests, objects larger than the cache: every hit is the same."""
    oracle = pytest.importorskip("libcachesim", reason="pip install '.[bench]' has the oracle")
    chance = random.Random(4)
    policy, peer = make(ours, 1000), getattr(oracle, theirs)(cache_size=1000)
    for _ in range(5000):
        key, size = int(chance.paretovariate(0.5)) % 60 + 1, chance.randint(1, 300)
        size = 1200 if chance.random() < 0.01 else size
        request = oracle.Request()
        request.obj_id, request.obj_size = key, size
        assert policy.request(key, size) == peer.get(request)
        assert policy.held_bytes == peer.get_occupied_byte()
