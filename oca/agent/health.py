"""How the box feels, from readings of its bottlenecks; the worst component wins. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

ADMIT_HIGH = 0.9
"""Above this share of the link, shed: queues grow before it is full."""
ADMIT_LOW = 0.82
"""Below it, take back. Between the two nothing changes: that is the hysteresis."""
ADMIT_AIM = 0.86
ADMIT_STEP = 0.1  # a heartbeat
ADMIT_AHEAD = 1.8
"""A rise of the last half TTL counts this much again: found with `steering simulate`."""
ADMIT_NEAR = 0.75
"""Below this a rise says nothing: a box that comes back fills up quickly, and no further."""
ADMIT_MIN = 0.05  # never nothing: else nobody would notice that it is well again

PROBE_SLOW_S = 1.0
"""A worker that answers its own box this late is of no use to a player with a 2 s buffer."""
DISK_ERRORS_MAX = 10  # within one interval: the disk is going, not hiccupping


@dataclass(frozen=True, slots=True)
class Readings:
    """One interval. `probe_s`: seconds the workers took to answer, None: they did not;
    `answered`: share of the last probes that were answered; `disk_errors`: reads or writes that
    a disk refused; `disks`: share of the disks' space that is in use, and what is wrong there."""

    answered: float
    probe_s: float | None
    disk_errors: int
    served_bps: float
    link_bps: float
    disks: float = 1.0
    disks_why: str = ""


def judge(readings: Readings) -> tuple[float, str]:
    """(health from 1 well to 0 must not serve, what is worst)."""
    parts = {
        "workers do not answer": readings.answered,
        "workers answer late": 0.5 if (readings.probe_s or 0) > PROBE_SLOW_S else 1.0,
        "a disk refuses": max(0.0, 1 - readings.disk_errors / DISK_ERRORS_MAX),
        f"disk off: {readings.disks_why}": readings.disks,
    }
    worst = min(parts, key=lambda name: parts[name])
    return (parts[worst], worst) if parts[worst] < 1 else (1.0, "")


class Admitting:
    """The share of its normal load that the box wants. What its viewers make of a change shows only
    when all of them have asked again. So the demand behind a load is what is served ÷ what was
    admitted on average during the last TTL (Smith's predictor), and a rising demand is met where it
    will be half a TTL on. `steering simulate` shows what follows for a crowd."""

    def __init__(self) -> None:
        """Everything is admitted."""
        self.admit = 1.0
        self._told: deque[tuple[float, float]] = deque([(float("-inf"), 1.0)])
        self._demands: deque[tuple[float, float]] = deque()

    def next(self, load: float, now_s: float, ttl_s: float) -> float:
        """The share wanted from now on; `load` is served ÷ possible bandwidth, `ttl_s` how long
        viewers act on an answer of steering's."""
        demand = load / self._mean(now_s, ttl_s)
        rise = self._rise(demand, now_s, ttl_s)
        coming = (demand + (rise if load > ADMIT_NEAR else 0.0)) * self.admit
        if coming > ADMIT_HIGH or (coming < ADMIT_LOW and self.admit < 1.0):
            wanted = self.admit * ADMIT_AIM / max(coming, 1e-6)
            wanted = min(max(wanted, self.admit - ADMIT_STEP), self.admit + ADMIT_STEP)
            self.admit = round(min(1.0, max(ADMIT_MIN, wanted)), 3)
        self._told.append((now_s, self.admit))
        return self.admit

    def _rise(self, demand: float, now_s: float, ttl_s: float) -> float:
        """How much the demand rose in the last half of a TTL: it may do so again."""
        known = self._demands
        known.append((now_s, demand))
        while known[0][0] < now_s - ttl_s / 2:
            known.popleft()
        return ADMIT_AHEAD * max(0.0, demand - known[0][1])

    def _mean(self, now_s: float, ttl_s: float) -> float:
        """What was admitted on average during the last `ttl_s`."""
        told, begin_s = self._told, now_s - ttl_s
        while len(told) > 1 and told[1][0] <= begin_s:
            told.popleft()
        total, until_s = 0.0, now_s
        for since_s, admit in reversed(told):
            total += admit * (until_s - max(since_s, begin_s))
            until_s = max(since_s, begin_s)
        return total / ttl_s
