"""A token bucket: how long to wait so that a rate holds over a minute. Pure."""

from __future__ import annotations

BURST_S = 0.25
"""Seconds of the rate that may come at once: smooth for the neighbours, cheap in wake-ups."""


class Bucket:
    """Bytes may go into debt and are paid back by waiting, so no byte is asked for twice."""

    def __init__(self, rate_bps: float, now_s: float) -> None:
        """`rate_bps` bits per second; 0 means no limit. `now_s` is a monotonic clock."""
        self.rate_bps = rate_bps
        self._credit_bytes = 0.0
        self._at_s = now_s

    def take(self, count_bytes: int, now_s: float) -> float:
        """Spend `count_bytes` that arrived just now; the seconds to wait before reading on."""
        if self.rate_bps <= 0:
            return 0.0
        rate = self.rate_bps / 8
        earned = self._credit_bytes + (now_s - self._at_s) * rate
        self._credit_bytes = min(earned, BURST_S * rate) - count_bytes
        self._at_s = now_s
        return max(0.0, -self._credit_bytes / rate)
