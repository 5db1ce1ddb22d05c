"""Who must be looked at when: buckets of time, each thing in exactly one. Pure.

A connection's deadline moves with every answer, mostly into the future. Only a deadline *earlier*
than its bucket files it anew; a later one is found out when the bucket is due. So an answer costs
the hot path one attribute, and a sweep looks at those whose time may be over instead of at all
(10,000 connections idle for 60 s: 40 a sweep).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

NEVER = 2**62


class Dated(Protocol):
    """Something with a deadline; `filed` is its bucket, NEVER when it is in none."""

    filed: int
    deadline_s: float


D = TypeVar("D", bound=Dated)


class Deadlines(dict[int, set[D]]):
    """Bucket number → what is filed there; a bucket spans `step_s` seconds."""

    def __init__(self, step_s: float, now_s: float) -> None:
        """Nothing is filed; `now_s` on the clock that deadlines are on."""
        super().__init__()
        self._step_s = step_s
        self._done = int(now_s / step_s)

    def file(self, item: D, at_s: float) -> None:
        """Look at it at `at_s`, or earlier if it was filed so."""
        bucket = max(int(at_s / self._step_s), self._done) + 1
        if bucket >= item.filed:
            return
        self.drop(item)
        item.filed = bucket
        found = self.get(bucket)
        if found is None:
            found = self[bucket] = set()
        found.add(item)

    def drop(self, item: D) -> None:
        """Forget it."""
        if item.filed != NEVER:
            found = self.get(item.filed)
            if found is not None:
                found.discard(item)
                if not found:
                    del self[item.filed]
            item.filed = NEVER

    def due(self, now_s: float) -> list[D]:
        """Those whose bucket is over; they are filed nowhere then."""
        found: list[D] = []
        now = int(now_s / self._step_s)
        for bucket in range(self._done + 1, now + 1):
            for item in self.pop(bucket, ()):
                item.filed = NEVER
                found.append(item)
        self._done = max(now, self._done)
        return found

    def everything(self) -> Iterator[D]:
        """All that are filed, in no order; may be dropped while they are looked at."""
        for found in list(self.values()):
            yield from list(found)
