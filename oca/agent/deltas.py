"""From cumulative counters to what was delivered since, nothing twice and nothing lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wire.events import Delivered

CounterKey = tuple[str, int, str]
"""(table, asset, home site): one row of one counter table, for ever."""
Key = tuple[int, str]
"""(asset, home site)."""


@dataclass(frozen=True, slots=True)
class Delta:
    """`rows` to report; `seen` are the counters that moved, with their values now; `carry` is
    what is owed still, where bytes were taken back that had been reported already."""

    rows: tuple[Delivered, ...]
    seen: dict[CounterKey, int]
    carry: dict[Key, int]


def delta(
    counters: Iterable[tuple[CounterKey, int]],
    seen: Mapping[CounterKey, int],
    carry: Mapping[Key, int],
    minute: int,
) -> Delta:
    """What the counters gained over `seen`, as rows of this `minute` (Unix minutes).

    Bytes that a player never acknowledged are taken back by the workers, so a counter may fall; a
    negative sum is carried until later bytes of the same asset and home site outweigh it.
    """
    moved = {key: value for key, value in counters if value != seen.get(key, 0)}
    sums = dict(carry)
    for key, value in moved.items():
        where = key[1:]
        sums[where] = sums.get(where, 0) + value - seen.get(key, 0)
    rows = tuple(
        Delivered(asset=asset, home=home, minute=minute, bytes=total)
        for (asset, home), total in sums.items()
        if total > 0
    )
    return Delta(rows, moved, {key: total for key, total in sums.items() if total < 0})
