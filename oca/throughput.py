"""How fast a connection's path carries our answers, from what the kernel counted. Pure.

Formula: bytes acknowledged ÷ time busy (tcpi_bytes_acked, tcpi_busy_time: the time in which there
was something of ours to send or to be acknowledged), over the last ANSWERS_MAX answers. Seen over a
shaped path (tbf, 8 to 50 Mbit/s, BBR): within 5 % of what the client measured, while the kernel's
own delivery rate, which is that of one round trip, was between 0.6 and 170 times the truth, and
cwnd × mss ÷ rtt between 0.1 and 3 times.

What was held up by us or by the player (our pacing, its window, too little to fill the path) is a
lower bound: such answers count only where there are no others, and then the fastest of them does.
"""

from __future__ import annotations

from collections import deque

import msgspec

ANSWERS_MAX = 4
"""Four segments of video are ~16 s: old enough to be calm, young enough to follow the path."""

BYTES_MIN = 16 * 1024
"""Less is about TCP's first window (RFC 6928): it says nothing yet, and is added to the next."""

BUSY_US_MIN = 20_000
"""The kernel counts busy time in ticks of up to 10 ms; shorter times are mostly rounding."""

PACED_SHARE = 1.25
"""An answer that went at more than 1 / 1.25 of its pace was held back by that, not by the path."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A connection's counters: `busy_us` in which data was on its way, of which `held_us` waiting
    for the peer's window or our buffer; `rtt_us` smoothed; `rate_bps` of the last round trip, which
    is a lower bound when `app_limited`."""

    acked_bytes: int
    busy_us: int
    held_us: int
    rtt_us: int
    rate_bps: int
    app_limited: bool


class _Answer(msgspec.Struct, frozen=True):
    acked_bytes: int
    busy_us: int
    limited: bool
    rate_bps: int


class Meter:
    """One connection's throughput, learnt from the readings before its answers."""

    __slots__ = ("_answers", "_last", "rtt_us")

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._answers: deque[_Answer] = deque(maxlen=ANSWERS_MAX)
        self._last = Reading(
            acked_bytes=0, busy_us=0, held_us=0, rtt_us=0, rate_bps=0, app_limited=True
        )
        self.rtt_us = 0
        """Smoothed round trip (RFC 6298) at the last reading; 0: none measured."""

    def learn(self, now: Reading, pace_bps: int = 0) -> None:
        """Take up what was answered since the last reading, at most at `pace_bps` (0: unpaced)."""
        last, self.rtt_us = self._last, now.rtt_us
        acked_bytes = now.acked_bytes - last.acked_bytes
        if acked_bytes < BYTES_MIN:
            return
        self._last = now
        busy_us = now.busy_us - last.busy_us
        held = 2 * (now.held_us - last.held_us) > busy_us
        paced = 0 < pace_bps * busy_us <= PACED_SHARE * acked_bytes * 8_000_000
        limited = paced or held or now.app_limited
        self._answers.append(_Answer(acked_bytes, busy_us, limited, now.rate_bps))

    def kbps(self) -> int | None:
        """The estimate in kb/s, at least 1; None while nothing was measured."""
        free = [answer for answer in self._answers if not answer.limited]
        rate_bps = _average_bps(free)
        if not rate_bps:
            bounds = [max(_average_bps([a]), a.rate_bps) for a in self._answers]
            rate_bps = max(bounds, default=0)
        return max(1, rate_bps // 1000) if rate_bps else None


def _average_bps(answers: list[_Answer]) -> int:
    """Bytes ÷ time of all of them; 0 when the time is too short to tell."""
    busy_us = sum(answer.busy_us for answer in answers)
    if busy_us < BUSY_US_MIN:
        return 0
    return 8_000_000 * sum(answer.acked_bytes for answer in answers) // busy_us
