"""How much is answered at once, learned from how long it takes. Pure: times are arguments.

One event loop answers, so a queue shows as a long turn of the loop: what became ready at once waits
for each other. The limit is on requests in one turn; it falls by a tenth when turns take longer
than `queue_s` and grows again while turns are short (AIMD, Chiu & Jain 1989), so it is that many
requests which the machine answers in `queue_s` just now, cheap or dear. What can wait has a smaller
share of it and is refused first: explanations, then prefetches, players last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

LIMIT_MIN = 8  # a machine that is stalled for a moment still answers somebody
LIMIT_MAX = 10_000
LONG_TURNS = 3  # one is a stall (a collector, a neighbour), some in a row are a queue
_FALL, _RISE = 0.9, 1.05


class Kind(StrEnum):
    """What is asked for; the value is the metric's label."""

    EXPLAIN = "explain"
    PREFETCH = "prefetch"
    PLAY = "play"


SHARE: Mapping[Kind, float] = {Kind.EXPLAIN: 0.1, Kind.PREFETCH: 0.5, Kind.PLAY: 1.0}
"""Of the limit: the share of a turn that requests of a kind may begin in."""


@dataclass(slots=True)
class Limiter:
    """The limit, and how many of each kind were refused. `queue_s`: what a turn may take."""

    queue_s: float
    limit: float = 1_000.0
    _long_turns: int = 0
    refused: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))

    def admits(self, kind: Kind, at_once: int) -> bool:
        """Whether one more of this kind is answered beside `at_once` others; counts a refusal."""
        if at_once < self.limit * SHARE[kind]:
            return True
        self.refused[kind] += 1
        return False

    def turned(self, answered: int, took_s: float) -> None:
        """A turn ended in which so many were answered."""
        is_long = took_s > self.queue_s and answered > 0
        self._long_turns = self._long_turns + 1 if is_long else 0
        if self._long_turns >= LONG_TURNS:
            self.limit = max(LIMIT_MIN, min(self.limit, answered) * _FALL)
        elif not is_long and answered * 2 > self.limit:
            # Only a limit that is felt is raised, or it would say nothing when it is needed.
            self.limit = min(LIMIT_MAX, self.limit * _RISE + 1)
