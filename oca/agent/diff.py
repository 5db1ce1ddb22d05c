"""What a plan means for this box: what to fetch, in order of value, and what to drop. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from oca.held import Held
from wire.plan import Desired


@dataclass(frozen=True, slots=True)
class Work:
    """`fetch` in order of value; `drop` of what is held; `skipped`: wanted, but no room for it."""

    fetch: tuple[Desired, ...]
    drop: frozenset[int]
    skipped: tuple[int, ...]


def diff(
    desired: Sequence[Desired],
    held: Mapping[int, Held],
    room_bytes: int,
    banned: Collection[int] = (),
) -> Work:
    """Compare what is wanted (best first) with what is held, on a box of `room_bytes` in all.

    When space is short the plan's order decides. What is held and wanted is only dropped where
    something of more value needs its place. `banned` (purged) assets are not wanted. An asset held
    with another catalogue entry is another thing: it is dropped, and fetched when it is gone.
    """
    fetch: list[Desired] = []
    skipped: list[int] = []
    keep: set[int] = set()
    taken_bytes = 0
    for item in desired:
        entry = held.get(item.asset)
        if item.asset in banned or (entry is not None and entry.digest != item.digest):
            continue
        if taken_bytes + item.bytes > room_bytes:
            skipped.append(item.asset)
            continue
        taken_bytes += item.bytes
        if entry is None:
            fetch.append(item)
        else:
            keep.add(item.asset)
    if not fetch:
        keep.update(asset for asset in skipped if asset in held)
    return Work(tuple(fetch), frozenset(held.keys() - keep), tuple(skipped))
