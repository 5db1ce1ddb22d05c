"""PFOO-L: what no policy can beat, known only to who has seen the whole trace. Pure.

Follows Berger, Beckmann, Harchol-Balter, "Practical bounds on optimal caching with variable object
sizes" (SIGMETRICS 2018): keeping an object from one request to its next costs size × distance of
cache space × time; the whole run offers capacity × requests. Taking the cheapest hits first until
that is used up, without asking whether they ever fit at the same time, is a lower bound of misses.
"""

from __future__ import annotations

from collections.abc import Sequence

from oca.cache.trace import Request


def byte_miss_bound(rows: Sequence[Request], capacity_bytes: int) -> float:
    """The least byte miss ratio: per byte hit an interval costs its length, so shortest first."""
    last_seen: dict[int, int] = {}
    intervals: list[tuple[int, int]] = []
    requested_bytes = 0
    for index, (_, key, size_bytes) in enumerate(rows):
        requested_bytes += size_bytes
        if key in last_seen:
            intervals.append((index - last_seen[key], size_bytes))
        last_seen[key] = index
    intervals.sort()
    room = float(capacity_bytes) * len(rows)
    hit_bytes = 0.0
    for length, size_bytes in intervals:
        cost = length * size_bytes
        if cost > room:
            hit_bytes += size_bytes * room / cost
            break
        room -= cost
        hit_bytes += size_bytes
    return 1 - hit_bytes / requested_bytes
