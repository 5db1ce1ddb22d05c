"""How much of its keys a box is given now: what it admits, reached in small steps. Pure.

Replicas only apply what boxes say, but not in jumps: a new `admit` is reached evenly within one
heartbeat. A box that comes back (from silence, illness or a drain) is given canary traffic first,
a small share for a few heartbeats, and grows from there within one TTL.
"""

from __future__ import annotations

from dataclasses import dataclass

CANARY_BEATS = 2
"""Heartbeats in good health under canary traffic before a box gets more."""
STEP_S = 1.0
"""How often a share on its way is applied anew."""
_MOMENT_S_MIN = 1e-3
_CHANCES = 2**20  # this many steps of it are enough for a TTL


@dataclass(slots=True)
class Easing:
    """The share of its keys that one box is given: `share` at `since_s` (which may lie ahead: until
    then nothing moves), from there on `toward` by `rate_per_s`. Times are our monotonic clock."""

    share: float = 1.0
    toward: float = 1.0
    since_s: float = 0.0
    rate_per_s: float = 0.0
    growing: bool = False

    def at(self, now_s: float) -> float:
        """The share now, 0–1."""
        moved = self.rate_per_s * max(0.0, now_s - self.since_s)
        if self.share <= self.toward:
            return min(self.toward, self.share + moved)
        return max(self.toward, self.share - moved)

    def is_settled(self, now_s: float) -> bool:
        """Whether it is where it should be."""
        return self.at(now_s) == self.toward

    def report(self, admit: float, now_s: float, over_s: float) -> None:
        """The box admits so much from now on: reached within `over_s`, unless it still grows after
        a recovery; less than it has now is then taken at once."""
        here = self.at(now_s)
        self.growing = self.growing and here < self.toward
        if self.growing:
            self.share, self.since_s = min(here, admit), max(now_s, self.since_s)
        else:
            self.share, self.since_s = here, now_s
            self.rate_per_s = abs(admit - here) / max(over_s, _MOMENT_S_MIN)
        self.toward = admit

    def jump(self, admit: float, now_s: float) -> None:
        """Begin at what the box admits: nobody was sent away from it before."""
        self.share, self.toward, self.since_s = admit, admit, now_s
        self.growing = False

    def recover(self, canary: float, now_s: float, canary_s: float, grow_s: float) -> None:
        """The box is back: `canary` of its keys for `canary_s`, then growing to all in `grow_s`."""
        self.share = min(canary, self.toward)
        self.since_s, self.rate_per_s = now_s + canary_s, 1.0 / max(grow_s, _MOMENT_S_MIN)
        self.growing = True


def jittered(ttl_s: int, share: float, chance: int) -> int:
    """A TTL (s) shortened by up to `share` of itself, so that a crowd that came at once does not
    ask again at once; whole seconds, at least 1. Never longer: who drops an asset waits `ttl_s`."""
    return max(1, round(ttl_s * (1 - share * (chance % _CHANCES) / _CHANCES)))
