"""`fill simulate` and what `fill report` takes of it: the fleet's own days, replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fill.config import DAY_S
from fill.files import Files
from fill.forecast import by_home, describe
from fill.forecasting.tomorrow import OLD, SiteRows
from fill.hours import Spans, spans_of
from fill.night import launches_of, placeable, read_all_demand, read_all_rules
from fill.place import Box
from fill.planner import nearer_sites
from fill.replay import Place, Replay, SiteDay, Span
from fill.sitework import fill_bytes, usable_bytes
from wire.errors import NotFoundError
from wire.fleet import Fleet
from wire.fleet import Wanted as State
from wire.ids import SiteKind

HISTORY_MIN_DAYS = 1  # a forecast needs a day to come from


def replay(files: Files, days: int, *, cache: bool, seed: int = 0) -> Replay:
    """The last `days` days of the fleet's demand, ready to be replayed with today's boxes.

    Raises WireError as `fill plan` does, NotFoundError where there are no two days of demand.
    """
    catalogue, fleet = files.read_catalogue(), files.read_fleet()
    longer = replace(files.config.demand, days=files.config.keep_days)
    whole = replace(files, config=replace(files.config, demand=longer))
    rows = read_all_demand(whole, catalogue, fleet).rows
    seen = sorted({row.day for row in rows})
    if len(seen) <= HISTORY_MIN_DAYS:
        raise NotFoundError("there is no demand of two days yet: nothing to replay")
    placed = set(placeable(catalogue, ()).ids.tolist())
    rows = [row for row in rows if row.asset in placed]
    launches = launches_of(read_all_rules(files, catalogue, fleet), catalogue)
    assets = describe(catalogue, rows, seen[0], launches)
    titles = [entry.asset.title for entry in catalogue.entries.values()]
    announced = np.array([title in launches for title in titles]) | (assets.launch_day == OLD)
    homes, regions = by_home(rows, assets), sorted({site.region for site in fleet.sites})
    where = _Where(files, fleet, homes, regions, spans_of(fleet, seen[-1] * DAY_S))
    places = where.places()
    if not any(site.boxes for site in places):
        raise NotFoundError("no site that has boxes in service was asked for anything")
    first = max(seen[HISTORY_MIN_DAYS], seen[-1] - days + 1)
    span = Span(first, seen[-1], files.config.demand.days)
    return Replay(
        assets, places, len(regions), files.config.plan, span,
        announced=announced, cache=cache, seed=seed,
    )  # fmt: skip


def run(replayed: Replay, progress: Callable[[int], None]) -> list[SiteDay]:
    """All its days; `progress` hears of each site and day."""
    found = []
    for each in replayed.days():
        found.append(each)
        progress(1)
    return found


@dataclass(frozen=True, slots=True)
class _Where:
    """What sites are made of: the fleet, what each one's clients asked for, regions and hours."""

    files: Files
    fleet: Fleet
    homes: Mapping[str, SiteRows]
    regions: list[str]
    spans: Mapping[str, Spans]

    def places(self) -> list[Place]:
        """Sites in the order of planning: those that were asked, and those with boxes that take
        over from them."""
        none = SiteRows(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))
        index: dict[str, int] = {}
        found: list[Place] = []
        for site in sorted(self.fleet.sites, key=lambda site: (site.kind.preference, site.id)):
            boxes = self._boxes(site.id)
            names = nearer_sites(self.fleet, site, self.files.config.behind)
            nearer = tuple(index[name] for name in names if name in index) if boxes else ()
            asked = self.homes.get(site.id)
            if site.kind is not SiteKind.ORIGIN and (asked is not None or nearer):
                index[site.id] = len(found)
                region = self.regions.index(site.region)
                found.append(Place(site.id, region, boxes, asked or none, nearer))
        return found

    def _boxes(self, site: str) -> tuple[Box, ...]:
        knobs, spans = self.files.config.plan, self.spans.get(site)
        return tuple(
            Box(box.id, usable_bytes(box, knobs), fill_bytes(box, knobs, spans), box.link_bps)
            for box in self.fleet.at_site(site)
            if box.state is State.IN_SERVICE
        )
