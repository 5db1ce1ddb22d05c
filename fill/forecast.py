"""What will be asked for tomorrow, for every site and asset of the fleet. Pure.

Here catalogue, fleet and counted rows become arrays; `fill.forecasting.tomorrow` does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fill.arrays import DemandArrays, Ints
from fill.catalogue import Snapshot
from fill.demand import DemandRow
from fill.forecasting.tomorrow import OLD, Assets, Learner, SiteForecast, SiteRows, forecast_site
from wire.catalogue import Asset
from wire.fleet import Site

GAP_DAYS_MAX = 120  # a history that ended before says what it says as if it had ended yesterday


@dataclass(frozen=True, slots=True)
class Launch:
    """A title's first day (since 1970), and the title it is expected to follow, if one is known."""

    day: int
    like: str = ""


def tomorrow(
    rows: Sequence[DemandRow],
    catalogue: Snapshot,
    sites: Sequence[Site],
    today: int,
    launches: Mapping[str, Launch] | None = None,
) -> DemandArrays:
    """Bytes that each site's clients will ask for on the day that begins, with their spread.

    `rows` are counted bytes of known sites and assets; those of `today` (days since 1970), which
    has hardly begun, count only where there are no earlier ones. A single day is taken as it is:
    the file that starts a fleet says what somebody expects. `launches` by title; a launch still to
    come of a title that is watched already (a film that comes back) says nothing of tomorrow.
    """
    used = [row for row in rows if row.day < today] or list(rows)
    names = tuple(site.id for site in sites)
    if not used:
        return _arrays(names, [])
    last = max(row.day for row in used)
    last = today - 1 if last < today <= last + GAP_DAYS_MAX else last
    first = min(row.day for row in used)
    watched = {catalogue.entries[row.asset].asset.title for row in used}
    known = {
        title: launch
        for title, launch in (launches or {}).items()
        if launch.day <= today or title not in watched
    }
    assets = describe(catalogue, used, first, known)
    places = by_home(used, assets)
    if first == max(row.day for row in used):
        given = [(at, assets, _as_given(assets, places.get(name))) for at, name in enumerate(names)]
        return _arrays(names, given)
    regions = sorted({site.region for site in sites})
    learner = Learner(assets, first, last, len(regions))
    for site in sites:
        if site.id in places:
            learner.add(regions.index(site.region), places[site.id])
    learned = learner.learn()
    return _arrays(
        names,
        [
            (index, assets, forecast_site(learned, regions.index(site.region), places[site.id]))
            for index, site in enumerate(sites)
            if site.id in places
        ],
    )


def describe(
    catalogue: Snapshot, rows: Sequence[DemandRow], first_day: int, launches: Mapping[str, Launch]
) -> Assets:
    """The catalogue as arrays. A title without a launch that was first asked for after the history
    began came out on that day; every other one is old."""
    entries = [entry.asset for entry in catalogue.entries.values()]
    titles = {name: at for at, name in enumerate(sorted({asset.title for asset in entries}))}
    slots = _slots(entries)
    seen: dict[str, int] = {}
    for row in rows:
        title = catalogue.entries[row.asset].asset.title
        seen[title] = min(seen.get(title, row.day), row.day)
    first = {title: day if day > first_day else OLD for title, day in seen.items()}
    days = {
        name: launches[name].day if name in launches else first.get(name, OLD) for name in titles
    }
    like = {name: titles.get(launch.like, -1) for name, launch in launches.items()}
    return Assets(
        id=np.array([asset.id for asset in entries], np.int32),
        size_bytes=np.array([asset.bytes for asset in entries], np.float64),
        title=np.array([titles[asset.title] for asset in entries], np.int32),
        slot=slots,
        launch_day=np.array([days[asset.title] for asset in entries], np.int32),
        like=np.array([like.get(asset.title, -1) for asset in entries], np.int32),
    )


def _as_given(assets: Assets, rows: SiteRows | None) -> SiteForecast:
    """One day as it is, and the spread that plays by chance have."""
    count = len(assets.id)
    table = np.zeros(count)
    if rows is not None:
        table += np.bincount(rows.at, rows.bytes, count)
    at = np.flatnonzero(table).astype(np.int32)
    return SiteForecast(at, table[at], np.sqrt(table[at] * assets.size_bytes[at]))


def _slots(entries: Sequence[Asset]) -> Ints:
    """What renditions of different titles have in common: kind and name, else kind and bitrate."""
    names = Counter((asset.kind, asset.name) for asset in entries)
    numbers: dict[tuple[str, str], int] = {}
    found = []
    for asset in entries:
        shared = names[asset.kind, asset.name] > 1
        key = asset.name if shared else f"2^{asset.bitrate_bps.bit_length()} b/s"
        found.append(numbers.setdefault((asset.kind.value, key), len(numbers)))
    return np.array(found, np.int32)


def by_home(rows: Sequence[DemandRow], assets: Assets) -> dict[str, SiteRows]:
    """The rows of each home site as arrays, sorted by day."""
    found: dict[str, list[DemandRow]] = {}
    for row in sorted(rows, key=lambda row: (row.day, row.asset)):
        found.setdefault(row.home, []).append(row)
    return {
        home: SiteRows(
            np.array([row.day for row in mine], np.int32),
            np.searchsorted(assets.id, [row.asset for row in mine]).astype(np.int32),
            np.array([row.bytes for row in mine], np.float64),
        )
        for home, mine in found.items()
    }


def _arrays(
    names: tuple[str, ...], found: Sequence[tuple[int, Assets, SiteForecast]]
) -> DemandArrays:
    none = np.zeros(0)
    return DemandArrays(
        names,
        np.concatenate([none, *(np.full(len(f.at), at) for at, _, f in found)]).astype(np.int32),
        np.concatenate([none, *(assets.id[f.at] for _, assets, f in found)]).astype(np.int32),
        np.concatenate([none, *(f.bytes_a_day for _, _, f in found)]),
        np.concatenate([none, *(f.spread for _, _, f in found)]),
    )
