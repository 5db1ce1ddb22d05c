"""How many requests a source gets at once: one more while it keeps up, half after a failure. Pure.

Additive increase, multiplicative decrease (Chiu & Jain 1989), with the delay gate of TCP Vegas
(Brakmo & Peterson 1994): no increase while the first byte takes much longer than it once did.
"""

from __future__ import annotations

START = 4.0
DECREASE = 0.5
DECREASE_PAUSE_S = 1.0
"""Requests that were in flight together fail together: that is one sign, not several."""
SLOW_FACTOR, SLOW_SLACK_S = 3.0, 0.05
"""A first byte later than thrice the earliest plus 50 ms waited in a queue, not on the way."""


class Limit:
    """The concurrency of one source, and how much of it is taken."""

    __slots__ = ("_best_s", "_cut_at_s", "_most", "_value", "taken")

    def __init__(self, most: int) -> None:
        """Never more than `most` at once."""
        self._most = float(most)
        self._value = min(START, self._most)
        self._best_s = float("inf")
        self._cut_at_s = float("-inf")
        self.taken = 0

    @property
    def value(self) -> int:
        """Requests allowed at once; at least 1."""
        return int(self._value)

    @property
    def is_free(self) -> bool:
        """Whether one more request may be made."""
        return self.taken < self.value

    def succeed(self, first_byte_s: float) -> None:
        """A request went well; `first_byte_s` is how long its first byte took."""
        self._best_s = min(self._best_s, first_byte_s)
        if first_byte_s <= SLOW_FACTOR * self._best_s + SLOW_SLACK_S:
            self._value = min(self._most, self._value + 1 / self._value)

    def fail(self, now_s: float) -> None:
        """A request failed in a way that may come from asking too much."""
        if now_s - self._cut_at_s >= DECREASE_PAUSE_S:
            self._value = max(1.0, self._value * DECREASE)
            self._cut_at_s = now_s
