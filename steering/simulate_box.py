"""What the simulated appliance announces: the law of `oca.agent.health`, written down again. Pure.

Services do not import each other, so this is a model; `tests/house/test_admit.py` holds the two
against each other. Beside it, for contrast, thresholds that switch on and off.
"""

from __future__ import annotations

from collections import deque

HIGH, LOW, AIM = 0.9, 0.82, 0.86
STEP = 0.1
AHEAD = 1.8
NEAR = 0.75
ADMIT_MIN = 0.05


class Admitting:
    """One box's `admit`. What its viewers make of a change shows only when all of them have asked
    again. So the demand behind a load is what is served ÷ what was admitted on average during the
    last TTL (Smith's predictor), and a rising demand is met where it will be half a TTL on."""

    def __init__(self) -> None:
        """Everything is admitted."""
        self.admit = 1.0
        self._told: deque[tuple[float, float]] = deque([(float("-inf"), 1.0)])
        self._demands: deque[tuple[float, float]] = deque()

    def next(self, load: float, now_s: float, ttl_s: float) -> float:
        """The share wanted from now on; `load` is served ÷ possible bandwidth."""
        demand = load / self._mean(now_s, ttl_s)
        rise = self._rise(demand, now_s, ttl_s)
        coming = (demand + (rise if load > NEAR else 0.0)) * self.admit
        if coming > HIGH or (coming < LOW and self.admit < 1.0):
            wanted = self.admit * AIM / max(coming, 1e-6)
            wanted = min(max(wanted, self.admit - STEP), self.admit + STEP)
            self.admit = round(min(1.0, max(ADMIT_MIN, wanted)), 3)
        self._told.append((now_s, self.admit))
        return self.admit

    def _rise(self, demand: float, now_s: float, ttl_s: float) -> float:
        """How much the demand rose in the last half of a TTL: it may do so again."""
        known = self._demands
        known.append((now_s, demand))
        while known[0][0] < now_s - ttl_s / 2:
            known.popleft()
        return AHEAD * max(0.0, demand - known[0][1])

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


class Switching:
    """The contrast: nothing above one threshold, everything below another."""

    def __init__(self) -> None:
        """Everything is admitted."""
        self.admit = 1.0

    def next(self, load: float, now_s: float, ttl_s: float) -> float:
        """The share wanted from now on: all or nothing."""
        del now_s, ttl_s
        if load > HIGH:
            self.admit = 0.0
        elif load < LOW:
            self.admit = 1.0
        return self.admit
