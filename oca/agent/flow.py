"""All fetching of a box through one gate: its rate, its streams, what was spent. Pure.

The operator's rate and the courtesy towards viewers bound the same bucket; the lower one holds.
"""

from __future__ import annotations

from collections.abc import Callable

from oca.agent.bucket import Bucket
from oca.agent.progress import Meter

STREAM_BYTES = 2 * 1024 * 1024
"""What one stream may have in buffers between its source and us."""
STREAM_TURN_S = 10.0
"""So long its buffers may last: a source gives up on a reader that takes nothing for 30 s."""


class Flow:
    """What every stream passes: `came` says how long to wait before reading on."""

    def __init__(self, rate_bps: float, on_bytes: Callable[[int], None], now_s: float) -> None:
        """`rate_bps` is the operator's limit, 0 for none; `on_bytes` keeps the budget's books."""
        self._rate_bps, self._on_bytes = rate_bps, on_bytes
        self._bucket = Bucket(rate_bps, now_s)
        self._meter = Meter(now_s)
        self.courtesy_bps = 0.0
        self.came_s = now_s
        """When something last came (monotonic)."""

    @property
    def limit_bps(self) -> float:
        """Bits per second allowed now; 0 means no limit."""
        return self._bucket.rate_bps

    def yield_to(self, bps: float) -> None:
        """Viewers need the machine: no more than `bps` for now; 0 lifts it."""
        self.courtesy_bps = bps
        limits = [limit for limit in (self._rate_bps, bps) if limit > 0]
        self._bucket.rate_bps = min(limits, default=0.0)

    def came(self, count_bytes: int, now_s: float) -> float:
        """Bytes came; the seconds to wait before reading on."""
        self.came_s = now_s
        self._meter.add(count_bytes, now_s)
        self._on_bytes(count_bytes)
        return self._bucket.take(count_bytes, now_s)

    def bps(self, now_s: float) -> float:
        """The present rate, bits per second."""
        return self._meter.bps(now_s)

    @property
    def streams_max(self) -> int:
        """How many streams may share the rate without one of them looking dead to its source."""
        if self.limit_bps <= 0:
            return 1 << 30
        return max(1, int(self.limit_bps / 8 * STREAM_TURN_S / STREAM_BYTES))
