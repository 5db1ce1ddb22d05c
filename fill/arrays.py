"""Tomorrow's demand as arrays: what the forecast hands to placement. Pure.

Ten million (site, asset) pairs are 240 MB here and would be gigabytes as objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wire.errors import WireError

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DemandArrays:
    """One row per (site, asset) asked for, sorted by both, each pair once; all of one length.

    `site` indexes `sites` (ids, in any order); `asset` is the catalogue's id; `bytes_a_day` is the
    expected demand of the site's own clients, finite and ≥ 0; `spread` is the standard deviation of
    what will really be asked, in bytes a day (0 where it is not known).
    """

    sites: tuple[str, ...]
    site: Ints
    asset: Ints
    bytes_a_day: Floats
    spread: Floats

    def __len__(self) -> int:
        return len(self.site)

    def rows_of(self, site: int) -> slice:
        """The rows of one site (an index into `sites`)."""
        first, last = np.searchsorted(self.site, (site, site + 1))
        return slice(int(first), int(last))

    def check(self, what: str = "forecast") -> None:
        """Raises WireError naming the first row at fault: what placement relies on must hold."""
        lengths = {len(each) for each in (self.site, self.asset, self.bytes_a_day, self.spread)}
        if len(lengths) > 1:
            raise WireError(what, "", f"columns of {sorted(lengths)} rows")
        if not len(self):
            return
        key = self.site.astype(np.int64) << 32 | self.asset
        faults: tuple[tuple[str, Flags], ...] = (
            ("site", (self.site < 0) | (self.site >= len(self.sites))),
            ("asset", self.asset < 0),
            ("bytes_a_day", ~(np.isfinite(self.bytes_a_day) & (self.bytes_a_day >= 0))),
            ("spread", ~(np.isfinite(self.spread) & (self.spread >= 0))),
            ("site, asset", np.concatenate(([False], key[1:] <= key[:-1]))),
        )
        for name, wrong in faults:
            if wrong.any():
                row = int(np.argmax(wrong))
                raise WireError(what, f"row {row}, {name}", "out of range, or out of order")


def from_table(table: Mapping[str, Mapping[int, float]], sites: Sequence[str]) -> DemandArrays:
    """Site → asset → bytes a day as arrays, without spread; sites that are not in `sites` drop."""
    rows = [
        (index, asset, count)
        for index, site in enumerate(sites)
        for asset, count in sorted(table.get(site, {}).items())
    ]
    site, asset, count = zip(*rows, strict=True) if rows else ((), (), ())
    return DemandArrays(
        tuple(sites),
        np.array(site, np.int32),
        np.array(asset, np.int32),
        np.array(count, np.float64),
        np.zeros(len(rows)),
    )


@dataclass(frozen=True, slots=True)
class AssetArrays:
    """What may be placed: ids rising, bytes (> 0), and the lowest id of each one's title."""

    ids: Ints
    size: Longs
    family: Longs

    def at(self, ids: Ints) -> tuple[Ints, Flags]:
        """Where `ids` are here, and which of them are here at all (their place means nothing
        otherwise)."""
        place = np.minimum(np.searchsorted(self.ids, ids), max(0, len(self.ids) - 1))
        known = self.ids[place] == ids if len(self.ids) else np.zeros(len(ids), bool)
        return place.astype(np.int32), known
