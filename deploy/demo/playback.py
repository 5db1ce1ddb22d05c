"""What a player decides: how full its buffer is, when it stalls, whom to ask next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PENALTY_S = 60.0
"""How long a pathway that failed is not asked again (hls.js: 300 s, Shaka: 60 s)."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Playback stood still: where in the film, since when, and for how long, in seconds."""

    position_s: float
    began_s: float
    duration_s: float


@dataclass(slots=True)
class BufferClock:
    """The film's clock: it runs while something is buffered and stands still while nothing is.

    All times are seconds; `now_s` is any monotonic clock, and never runs backwards.
    """

    buffer_max_s: float
    stalls: list[Stall] = field(default_factory=list)
    _buffered_end_s: float = 0.0
    _position_s: float = 0.0
    _seen_s: float | None = None
    _empty_since_s: float | None = None

    def append(self, duration_s: float, now_s: float) -> None:
        """A segment of `duration_s` is complete in the buffer; the first one starts playback."""
        self._advance(now_s)
        if self._empty_since_s is not None:
            since_s = self._empty_since_s
            self.stalls.append(Stall(self._position_s, since_s, now_s - since_s))
            self._empty_since_s = None
        self._seen_s = now_s
        self._buffered_end_s += duration_s

    def position_s(self, now_s: float) -> float:
        """Where in the film the viewer is."""
        self._advance(now_s)
        return self._position_s

    def level_s(self, now_s: float) -> float:
        """Seconds of film ahead of the viewer."""
        self._advance(now_s)
        return self._buffered_end_s - self._position_s

    def wait_s(self, duration_s: float, now_s: float) -> float:
        """How long to wait before asking for a segment of `duration_s`, so that it still fits."""
        return max(0.0, self.level_s(now_s) + duration_s - self.buffer_max_s)

    def stalled_for_s(self, now_s: float) -> float:
        """How long playback has been standing still right now; 0 while it runs."""
        self._advance(now_s)
        return 0.0 if self._empty_since_s is None else now_s - self._empty_since_s

    def _advance(self, now_s: float) -> None:
        if self._seen_s is None or self._empty_since_s is not None:
            return
        played_s = now_s - self._seen_s
        left_s = self._buffered_end_s - self._position_s
        if played_s > left_s:
            self._empty_since_s = self._seen_s + left_s
            played_s = left_s
        self._position_s += played_s
        self._seen_s = now_s


@dataclass(slots=True)
class Pathways:
    """Which pathway to use: steering's priority, less the ones that failed of late.

    `offered` are the pathways that the manifest has; ids that steering names and the manifest
    lacks are ignored, as the specification of HLS Content Steering says.
    """

    offered: Sequence[str]
    priority: tuple[str, ...] = ()
    _penalised_until_s: dict[str, float] = field(default_factory=dict)

    def steer(self, priority: Iterable[str]) -> None:
        """Take over a new PATHWAY-PRIORITY."""
        self.priority = tuple(name for name in priority if name in self.offered)

    def penalise(self, pathway: str, now_s: float) -> None:
        """A request on this pathway failed: leave it alone for PENALTY_S."""
        self._penalised_until_s[pathway] = now_s + PENALTY_S

    def choose(self, now_s: float) -> str:
        """The first pathway of the priority list without a penalty.

        Without any such, the one whose penalty ends first: a player never gives up."""
        candidates = [*self.priority, *(p for p in self.offered if p not in self.priority)]
        free = [p for p in candidates if self._penalised_until_s.get(p, 0.0) <= now_s]
        if free:
            return free[0]
        return min(candidates, key=lambda p: self._penalised_until_s[p])
