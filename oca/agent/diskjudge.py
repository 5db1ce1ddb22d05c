"""Whether a disk is fit to be used, from probes and complaints, with hysteresis. Pure.

Off at once when it errs, is gone, or does not answer; off when several probes on end are slow. On
again only after it was well, and quick, for a while, which doubles each time it fails soon after.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SLOW_PROBES = 3
"""On end: a single slow one is a queue, not a disk."""
QUICK_SHARE = 0.5
"""To come back a disk must be quicker than this share of the bound: that is the hysteresis."""
COMPLAINTS_MAX, COMPLAINTS_S = 3, 60.0
"""Refusals of ordinary reads and writes that are too many, and within which time."""
BACK_MAX_S = 3600.0
STEADY_TIMES = 10
"""On for so many times the wait: what was before is forgiven."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One look: seconds it took (None: it has not come back), and what was wrong."""

    took_s: float | None
    fault: str = ""


class Judge:
    """One disk's case. `why` is "" while it is fit."""

    def __init__(self, slow_s: float, back_s: float, why: str = "") -> None:
        """`why`: it begins unfit, for this reason."""
        self._slow_s, self._back_s, self._wait_s = slow_s, back_s, back_s
        self.why = why
        self.latency_s = 0.0
        """Of the last probe that came back."""
        self.changed_s: float | None = None
        self._slow = 0
        self._well_s: float | None = None
        self._complaints: deque[float] = deque(maxlen=COMPLAINTS_MAX)

    def note(self, probe: Probe, now_s: float) -> bool:
        """Weigh one probe; whether the disk is fit or unfit now and was not before."""
        if probe.took_s is not None:
            self.latency_s = probe.took_s
        if self.why:
            return self._may_return(probe, now_s)
        fault = probe.fault or self._slowness(probe)
        return self._turn(fault, now_s) if fault else False

    def complain(self, fault: str, now_s: float) -> bool:
        """An ordinary read or write was refused; whether that was one too many."""
        self._complaints.append(now_s)
        many = len(self._complaints) == COMPLAINTS_MAX
        if self.why or not many or now_s - self._complaints[0] > COMPLAINTS_S:
            return False
        return self._turn(fault, now_s)

    def _slowness(self, probe: Probe) -> str:
        if probe.took_s is None:
            return "does not answer"
        self._slow = self._slow + 1 if probe.took_s > self._slow_s else 0
        return f"slow: {probe.took_s:.2g} s for a probe" if self._slow >= SLOW_PROBES else ""

    def _turn(self, fault: str, now_s: float) -> bool:
        steady = self.changed_s is None or now_s - self.changed_s > STEADY_TIMES * self._wait_s
        self._wait_s = self._back_s if steady else min(2 * self._wait_s, BACK_MAX_S)
        self.why, self.changed_s, self._slow, self._well_s = fault, now_s, 0, None
        return True

    def _may_return(self, probe: Probe, now_s: float) -> bool:
        if probe.fault or probe.took_s is None:
            self.why = probe.fault or self.why
        if probe.fault or probe.took_s is None or probe.took_s > QUICK_SHARE * self._slow_s:
            self._well_s = None
            return False
        if self._well_s is None:
            self._well_s = now_s
        if now_s - self._well_s < self._wait_s:
            return False
        self.why, self.changed_s = "", now_s
        self._complaints.clear()
        return True
