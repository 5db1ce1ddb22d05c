"""Which chunks of a version are wanted by whom, and which runs have to be fetched for it. Pure.

A stream wants a window that moves as its client reads, so a fetch never runs further ahead of its
fastest reader than one window, and ends by itself when nobody reads on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass

SKIP_MAX = 2
"""Chunks that a fetch reads although nobody wants them, rather than making another request."""


@dataclass(frozen=True, slots=True)
class Window:
    """Chunks `low`–`high` are wanted now, and those up to `last` will be."""

    low: int
    high: int
    last: int


class Demand:
    """The windows of one version, by stream."""

    __slots__ = ("windows",)

    def __init__(self) -> None:
        """Nobody wants anything."""
        self.windows: dict[Hashable, Window] = {}

    def wants(self, number: int) -> bool:
        """Whether anybody wants this chunk now."""
        return any(w.low <= number <= w.high for w in self.windows.values())

    def wanted(self) -> list[int]:
        """All chunks that are wanted now, in order."""
        found: set[int] = set()
        for window in self.windows.values():
            found.update(range(window.low, window.high + 1))
        return sorted(found)

    def reach(self, number: int) -> int:
        """How far those who want this chunk are going to read on."""
        return max(
            (w.last for w in self.windows.values() if w.low <= number <= w.high), default=number
        )

    def who(self, number: int) -> list[Hashable]:
        """The streams that want this chunk now."""
        return [who for who, w in self.windows.items() if w.low <= number <= w.high]


def covered(position: int, end: int, wanted: Iterable[int], skip: int = SKIP_MAX) -> set[int]:
    """The wanted chunks (in order) that a fetch at `position` is going to reach, up to `end`.

    `skip` is how many unwanted ones it reads on the way.
    """
    reached, at = set(), position
    for number in wanted:
        if position <= number <= end and number - at <= skip + 1:
            reached.add(number)
            at = number
    return reached


def runs(
    demand: Demand, taken: Callable[[int], bool], reached: Collection[int]
) -> list[tuple[int, int]]:
    """(first, last) of each run of chunks that a fetch must be begun for.

    `taken` says which are held or being written, `reached` are those that running fetches will come
    to. A run goes as far as its readers will, but not into what is taken.
    """
    found: list[tuple[int, int]] = []
    for number in demand.wanted():
        if taken(number) or number in reached or (found and number <= found[-1][1]):
            continue
        last, reach = number, demand.reach(number)
        while last < reach and not taken(last + 1) and last + 1 not in reached:
            last += 1
        found.append((number, last))
    return found
