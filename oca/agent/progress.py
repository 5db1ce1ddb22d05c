"""How fast bytes come, and what is known of each asset under way. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MEMORY_S = 3.0
"""A rate is what came lately: three seconds smooth the bursts and still follow a stall."""


class Meter:
    """Bytes per second, older bytes weighing exponentially less."""

    __slots__ = ("_at_s", "_born_s", "_weight")

    def __init__(self, now_s: float) -> None:
        """Nothing came yet."""
        self._born_s = self._at_s = now_s
        self._weight = 0.0

    def add(self, count_bytes: int, now_s: float) -> None:
        """So much came just now."""
        self._weight = self._aged(now_s) + count_bytes
        self._at_s = now_s

    def bps(self, now_s: float) -> float:
        """The present rate, bits per second."""
        seen = 1 - math.exp(-max(1e-3, now_s - self._born_s) / MEMORY_S)
        return 8 * self._aged(now_s) / (MEMORY_S * seen)

    def _aged(self, now_s: float) -> float:
        return self._weight * math.exp(-(now_s - self._at_s) / MEMORY_S)


@dataclass(slots=True)
class Progress:
    """One asset that is being fetched; `have_bytes` may be less again when some were wrong."""

    asset: int
    bytes: int
    have_bytes: int
    meter: Meter
    sources: dict[str, int] = field(default_factory=dict)
    """Bytes from each source in this try."""
    hope_s: float = 0.0
    """When a peer last said that it is fetching it (monotonic)."""

    def came(self, source: str, count_bytes: int, now_s: float) -> None:
        """Bytes came from a source."""
        self.have_bytes += count_bytes
        self.meter.add(count_bytes, now_s)
        self.sources[source] = self.sources.get(source, 0) + count_bytes

    def shown(self, now_s: float) -> dict[str, object]:
        """As the operator sees it; `eta_s` is None while nothing comes."""
        bps = self.meter.bps(now_s)
        left_bytes = max(0, self.bytes - self.have_bytes)
        return {
            "asset": self.asset,
            "bytes": self.bytes,
            "have_bytes": min(self.have_bytes, self.bytes),
            "bps": round(bps),
            "eta_s": round(8 * left_bytes / bps, 1) if bps > 1 else None,
            "sources": self.sources,
        }
