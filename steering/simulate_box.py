"""What the simulated appliance announces: the law of `oca.agent.health`, written down again. Pure.

Services do not import each other, so this is a model; `tests/house/test_admit.py` holds the two
against each other. Beside it, for contrast, thresholds that switch on and off.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

HIGH, LOW, AIM = 0.9, 0.82, 0.86
CALM = 0.25
DOWN, UP = 0.15, 0.1
AHEAD, CHANCE = 1.0, 0.04
NEAR = 0.75
MIN = 0.05


class Admitting:
    """One box's `admit`. What its viewers make of a change shows only when all of them have asked
    again. So the demand behind a load is what is served ÷ what was admitted on average during the
    last TTL (Smith's predictor), and a rising demand is met where it will be by then."""

    def __init__(self) -> None:
        """Everything is admitted."""
        self.admit = 1.0
        self._given: deque[tuple[float, float]] = deque()
        self._demands: deque[tuple[float, float]] = deque()

    def next(self, load: float, now_s: float, ttl_s: float) -> float:
        """The share wanted from now on; `load` is served ÷ possible bandwidth."""
        beat_s = now_s - self._given[-1][0] if self._given else 0.0
        self._given.append((now_s, self.admit))
        demand = load / max(self._mean(now_s, ttl_s), MIN)
        rise = self._rise(demand, now_s, ttl_s, beat_s)
        coming = (demand + (rise if load > NEAR else 0.0)) * self.admit
        if coming > HIGH or self.admit < 1.0:
            wanted = self.admit * AIM / max(coming, 1e-6)
            wanted = min(max(wanted, self.admit - DOWN), self.admit + UP)
            gain = CALM if LOW <= coming <= HIGH else 1.0
            wanted = self.admit + gain * (wanted - self.admit)
            self.admit = round(min(1.0, max(MIN, wanted)), 3)
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
        return max(0.0, rate * (AHEAD * ttl_s + beat_s / 2) - CHANCE)

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
