"""How the box feels, from readings of its bottlenecks; the worst component wins. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

ADMIT_HIGH = 0.9
"""Above this share of the link, shed: queues grow before it is full."""
ADMIT_LOW = 0.82
"""Below it, take back. Nothing is shed between the two if nothing was: that is the hysteresis."""
ADMIT_AIM = 0.86
ADMIT_CALM = 0.25
"""Between the two, so much of the way to the aim: what boxes do to each other dies away."""
ADMIT_DOWN, ADMIT_UP = 0.15, 0.1  # a heartbeat
ADMIT_AHEAD = 1.0
"""TTLs: a rise goes on for so long before a change shows; found with `steering simulate`."""
ADMIT_CHANCE = 0.04
"""A rise by so much is chance."""
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
    will be by then. `steering simulate` shows what follows for a crowd."""

    def __init__(self) -> None:
        """Everything is admitted."""
        self.admit = 1.0
        self._given: deque[tuple[float, float]] = deque()
        self._demands: deque[tuple[float, float]] = deque()

    def next(self, load: float, now_s: float, ttl_s: float) -> float:
        """The share wanted from now on; `load` is served ÷ possible bandwidth, `ttl_s` how long
        viewers act on an answer of steering's."""
        beat_s = now_s - self._given[-1][0] if self._given else 0.0
        self._given.append((now_s, self.admit))
        demand = load / max(self._mean(now_s, ttl_s), ADMIT_MIN)
        rise = self._rise(demand, now_s, ttl_s, beat_s)
        coming = (demand + (rise if load > ADMIT_NEAR else 0.0)) * self.admit
        if coming > ADMIT_HIGH or self.admit < 1.0:
            wanted = self.admit * ADMIT_AIM / max(coming, 1e-6)
            wanted = min(max(wanted, self.admit - ADMIT_DOWN), self.admit + ADMIT_UP)
            gain = ADMIT_CALM if ADMIT_LOW <= coming <= ADMIT_HIGH else 1.0
            wanted = self.admit + gain * (wanted - self.admit)
            self.admit = round(min(1.0, max(ADMIT_MIN, wanted)), 3)
        return self.admit

    def _rise(self, demand: float, now_s: float, ttl_s: float, beat_s: float) -> float:
        """How much the demand will rise until a change shows, if it goes on as lately."""
        known = self._demands
        known.append((now_s, demand))
        while known[0][0] < now_s - max(ttl_s / 2, 2 * beat_s):
            known.popleft()
        since_s, before = known[0]
        if since_s == now_s:
            return 0.0
        rate = (demand - before) / (now_s - since_s)
        return max(0.0, rate * (ADMIT_AHEAD * ttl_s + beat_s / 2) - ADMIT_CHANCE)

    def _mean(self, now_s: float, ttl_s: float) -> float:
        """What was admitted on average during the last `ttl_s`: each word is carried out evenly
        until the next."""
        given, begin_s = self._given, now_s - ttl_s
        while len(given) > 1 and given[1][0] <= begin_s:
            given.popleft()
        first_s, before = given[0]
        total = before * max(0.0, first_s - begin_s)
        for until_s, after in islice(given, 1, None):
            since_s = max(first_s, begin_s)
            if until_s > since_s:
                at = after - (after - before) * (until_s - since_s) / (until_s - first_s)
                total += (at + after) / 2 * (until_s - since_s)
            first_s, before = until_s, after
        return total / ttl_s
