"""When a dropped asset may go: nothing vanishes from under an answer of steering. Pure.

It has left the inventory; every replica that may offer it has confirmed that; then the longest TTL
of an answer passes, and nobody asks for it any more, which no token outlives.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Leaving:
    """`inventory_seq` is the first inventory without the asset; `confirmed_s` is when every
    replica had it (None: not yet). Monotonic seconds."""

    inventory_seq: int
    confirmed_s: float | None = None


def due_s(confirmed_s: float, asked_s: float, ttl_s: float, idle_s: float, bound_s: float) -> float:
    """When it may be taken off the shelf; `asked_s` is when it last moved bytes.

    `bound_s` is the life of a token: nobody can ask for longer than that after the TTL.
    """
    earliest_s = confirmed_s + ttl_s
    return min(max(earliest_s, asked_s + idle_s), earliest_s + bound_s)
