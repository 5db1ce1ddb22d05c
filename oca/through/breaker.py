"""A circuit breaker: an upstream that failed several times in a row is left alone a while. Pure."""

from __future__ import annotations

FAILURES_MAX = 5
"""In a row, before it counts as down."""
PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 15.0


class Breaker:
    """Times are on one monotonic clock. After a pause one request may try; its outcome decides."""

    __slots__ = ("_failures", "_pause_s", "_trying", "_until_s")

    def __init__(self) -> None:
        """Closed: everything may go."""
        self._failures = 0
        self._pause_s = PAUSE_FIRST_S
        self._until_s = 0.0
        self._trying = False

    def may_ask(self, now_s: float) -> bool:
        """Whether a request may be made now; of those after a pause only the first."""
        if self._failures < FAILURES_MAX:
            return True
        if now_s < self._until_s or self._trying:
            return False
        self._trying = True
        return True

    def on_answer(self) -> None:
        """It answered."""
        self._failures, self._pause_s, self._trying = 0, PAUSE_FIRST_S, False

    def on_failure(self, now_s: float) -> None:
        """It did not."""
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            self._until_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
        self._trying = False

    def give_up(self) -> None:
        """A request was ended before its outcome was known."""
        self._trying = False
