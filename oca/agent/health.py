"""How the box feels, from readings of its bottlenecks; the worst component wins. Pure."""

from __future__ import annotations

from dataclasses import dataclass

ADMIT_HIGH = 0.9
"""Above this share of the link, shed: queues grow before it is full."""
ADMIT_LOW = 0.75
"""Below it, take back. Between the two nothing changes: that is the hysteresis."""
ADMIT_STEP_DOWN, ADMIT_STEP_UP = 0.2, 0.05
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


def next_admit(admit: float, readings: Readings) -> float:
    """The share of its normal load that the box wants next."""
    load = readings.served_bps / readings.link_bps
    if load > ADMIT_HIGH:
        return max(ADMIT_MIN, round(admit - ADMIT_STEP_DOWN, 3))
    if load < ADMIT_LOW:
        return min(1.0, round(admit + ADMIT_STEP_UP, 3))
    return admit
