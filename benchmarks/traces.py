"""Synthetic cache traces of different nature, each from a seed; small enough to run in seconds.

The real trace in `shared/` is one workload of one kind (a virtual disk). A policy that is good
there and nowhere else would be tuned to it, so the benchmark demands robustness on these too.
The default's few constants are round values, chosen with both in view and not by search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random

Request = tuple[float, int, int]
"""Time in seconds, object id, bytes: what `oca.cache.trace` yields."""

KIB = 1024


def _zipf(rng: Random, objects: int, count: int, skew: float) -> list[int]:
    """`count` ranks drawn from a Zipf law with this skew; rank 0 is the most popular."""
    weights = list(accumulate((rank + 1) ** -skew for rank in range(objects)))
    return rng.choices(range(objects), cum_weights=weights, k=count)


def _sizes(rng: Random, count: int, median_bytes: int, sigma: float) -> list[int]:
    """Log-normal sizes, the shape that web objects have."""
    return [max(64, int(median_bytes * rng.lognormvariate(0.0, sigma))) for _ in range(count)]


def zipf(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Independent draws, popularity that never changes, sizes of web objects."""
    sizes = _sizes(rng, 40_000, 16 * KIB, 1.0)
    for rank in _zipf(rng, 40_000, count, 0.9):
        yield rank, sizes[rank]


def churn(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Zipf over the newest 20,000 of an endless row of objects: news ages and is replaced."""
    sizes: dict[int, int] = {}
    for index, rank in enumerate(_zipf(rng, 20_000, count, 0.8)):
        key = index // 3 + 20_000 - rank
        yield key, sizes.setdefault(key, max(64, int(32 * KIB * rng.lognormvariate(0.0, 0.7))))


def one_hit_wonders(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Half of the requests are for what nobody will want again: the tail that a CDN sees."""
    ranks = _zipf(rng, 30_000, count, 0.8)
    for index, rank in enumerate(ranks):
        yield (1_000_000 + index if rng.random() < 0.5 else rank), 64 * KIB


def scans(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Zipf, and every now and then somebody reads 5,000 objects once, one after the other."""
    ranks = iter(_zipf(rng, 10_000, count, 0.8))
    fresh = 1_000_000
    left = 0
    for rank in ranks:
        if left == 0 and rng.random() < 1 / 15_000:
            left = 5_000
        if left and rng.random() < 0.8:
            left -= 1
            fresh += 1
            yield fresh, 64 * KIB
        else:
            yield rank, 64 * KIB


def loops(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Nightly jobs: rows of different length read over and over, beside a Zipf background."""
    lengths = (2_000, 6_000, 15_000)
    ranks = _zipf(rng, 5_000, count, 0.9)
    starts = (1_000_000, 2_000_000, 3_000_000)
    places = [0, 0, 0]
    for rank in ranks:
        which = rng.randrange(4)
        if which == 3:
            yield rank, 64 * KIB
        else:
            places[which] = (places[which] + 1) % lengths[which]
            yield starts[which] + places[which], 64 * KIB


def bursts(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Every object is wanted a few times within a short while, then never again: LRU thrives."""
    live: list[list[int]] = []
    fresh = 0
    while count > 0:
        while len(live) < 2_000:
            fresh += 1
            live.append([fresh, rng.randint(2, 8), int(48 * KIB * rng.uniform(0.2, 2.0))])
        at = rng.randrange(len(live))
        key, left, size = live[at]
        if left == 1:
            live[at] = live[-1]
            live.pop()
        else:
            live[at][1] = left - 1
        count -= 1
        yield key, size


def pairs(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Each object is read twice at a distance of 500 to 6,000 requests: no frequency to learn."""
    due: dict[int, list[int]] = {}
    fresh = 0
    for index in range(count):
        again = due.get(index)
        if again:
            key = again.pop()
            if again:
                due.setdefault(index + 1, []).extend(again)
            yield key, 64 * KIB
        else:
            fresh += 1
            due.setdefault(index + rng.randint(500, 6_000), []).append(fresh)
            yield fresh, 64 * KIB


def phases(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """A Zipf whose whole population is replaced six times: old frequencies are worth nothing."""
    sizes = _sizes(rng, 12_000, 32 * KIB, 0.8)
    length = count // 6
    for index, rank in enumerate(_zipf(rng, 12_000, count, 0.9)):
        yield index // length * 100_000 + rank, sizes[rank]


def stack(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Log-normal reuse distances, the recency of file systems: half within about 800 objects."""
    past: list[int] = []
    fresh = 0
    for _ in range(count):
        back = int(800 * rng.lognormvariate(0.0, 1.8))
        if rng.random() < 0.1 or back >= len(past):
            fresh += 1
            key = fresh
        else:
            key = past[-1 - back]
        past.append(key)
        yield key, 16 * KIB * (1 + key % 7)


def size_skewed(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Pareto sizes from 4 KiB to 64 MiB, independent of popularity: few objects hold the bytes."""
    sizes = [int(min(64 * KIB * KIB, 4 * KIB * rng.paretovariate(0.8))) for _ in range(30_000)]
    for rank in _zipf(rng, 30_000, count, 0.9):
        yield rank, sizes[rank]


def video(rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Viewers of 3,000 films (Zipf, some new every hour), chunk after chunk, many stop early."""
    watching: list[list[int]] = []
    ranks = iter(_zipf(rng, 3_000, count, 0.8))
    for index in range(count):
        while len(watching) < 300:
            film = index // 500 + 3_000 - next(ranks)
            chunks = 1 + min(119, int(rng.expovariate(1 / 25)))
            watching.append([film * 1_000, chunks])
        at = rng.randrange(len(watching))
        viewer = watching[at]
        yield viewer[0], 1024 * KIB
        viewer[0] += 1
        viewer[1] -= 1
        if viewer[1] == 0:
            watching[at] = watching[-1]
            watching.pop()


KINDS: dict[str, Callable[[Random, int], Iterator[tuple[int, int]]]] = {
    "zipf": zipf,
    "churn": churn,
    "one-hit-wonders": one_hit_wonders,
    "scans": scans,
    "loops": loops,
    "bursts": bursts,
    "pairs": pairs,
    "phases": phases,
    "stack": stack,
    "size-skewed": size_skewed,
    "video": video,
}


def synthetic(kind: str, count: int, seed: int = 1) -> list[Request]:
    """`count` requests of this kind (a key of `KINDS`), a millisecond apart."""
    rows = KINDS[kind](Random(seed), count)
    return [(index / 1000, key, size) for index, (key, size) in enumerate(rows)]
