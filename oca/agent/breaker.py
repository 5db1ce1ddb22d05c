"""Ask a source that failed again after growing pauses, first by one trial alone. Pure.

The circuit breaker of Nygard (Release It!, 2007): closed → open for a pause that doubles with every
failure in a row → half open, where one request goes through and decides. Purgatory, which DESIGN
names, has one fixed pause, a clock of its own and no strike-off: here the clock and the chance are
arguments, and what counts as a failure is `oca.agent.sources`' to say.
"""

from __future__ import annotations

PAUSE_FIRST_S = 0.25
PAUSE_MAX_S = 60.0
PAUSES_MAX = 9  # 0.25 s doubled nine times is beyond PAUSE_MAX_S
AWAY_FAILURES = 4
"""In a row (1.75 s of pauses): boxes that start together are not away, just later."""


class Breaker:
    """The state of one source. Times are seconds on one monotonic clock."""

    __slots__ = ("_failures", "_not_before_s", "_trial", "is_struck", "why")

    def __init__(self) -> None:
        """Closed: a source begins with a good name."""
        self._failures = 0
        self._not_before_s = 0.0
        self._trial = False
        self.is_struck = False
        self.why = ""

    def allows(self, now_s: float) -> bool:
        """Whether its pause is over."""
        return now_s >= self._not_before_s

    @property
    def is_on_trial(self) -> bool:
        """Whether the one request is under way that decides for all: others wait for it."""
        return self._failures > 0 and self._trial

    def begin(self) -> None:
        """A request is being made; when the breaker is half open it is the trial."""
        self._trial = self._failures > 0

    def end(self) -> None:
        """A request ended without a verdict."""
        self._trial = False

    def succeed(self, now_s: float) -> None:
        """A request went well: closed again, but a strike-off not before its time."""
        self._trial = False
        if not self.is_struck or now_s >= self._not_before_s:
            self._failures, self._not_before_s = 0, 0.0
            self.is_struck, self.why = False, ""

    def fail(self, why: str, now_s: float, draw: float, strike_s: float = 0.0) -> None:
        """A request failed; `strike_s` > 0 strikes the source off for so long.

        `draw` (0–1) shortens the pause by up to half, so that boxes do not come back in step
        (exponential backoff with jitter).
        """
        self._trial = False
        pause_s = min(PAUSE_FIRST_S * 2 ** min(self._failures, PAUSES_MAX), PAUSE_MAX_S)
        self._failures += 1
        pause_s = strike_s or pause_s * (1 - draw / 2)
        self._not_before_s = max(self._not_before_s, now_s + pause_s)
        self.is_struck = self.is_struck or strike_s > 0
        self.why = why

    def wait_s(self, now_s: float) -> float:
        """Seconds until it may be asked; 0 when it may now."""
        return max(0.0, self._not_before_s - now_s)

    def away(self, now_s: float) -> bool:
        """Whether nobody should wait for this source: struck off, or failing again and again."""
        if not self.is_struck and self._failures < AWAY_FAILURES:
            return False
        return self._trial or now_s < self._not_before_s
