"""What will be asked for tomorrow. Now: as much as on the mean of the recent days. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fill.demand import DemandRow, by_site


def forecast(rows: Iterable[DemandRow], days: int) -> Mapping[str, dict[int, float]]:
    """Bytes a day by home site and asset, from the last `days` days that the rows know.

    Persistence: on weekly Top-10 figures its weighted error is 0.53, where exponential smoothing
    has 0.59-0.73. Days without any row (before the fleet was there) do not count.
    """
    known = list(rows)
    seen = sorted({row.day for row in known})[-days:]
    recent = set(seen)
    share = 1.0 / max(1, len(seen))
    return by_site(
        (row.home, row.asset, row.bytes * share)
        for row in sorted(known, key=lambda row: (row.home, row.asset, row.day))
        if row.day in recent
    )
