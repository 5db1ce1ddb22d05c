"""`fill simulate` and what `fill report` takes of it: the fleet's own days, replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fill.config import DAY_S
from fill.files import Files
from fill.forecast import by_home, describe
from fill.forecasting.tomorrow import OLD
from fill.hours import Spans, spans_of
from fill.night import launches_of, placeable, read_all_demand, read_all_rules
from fill.place import Box
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
    spans = spans_of(fleet, seen[-1] * DAY_S)
    homes, regions = by_home(rows, assets), sorted({site.region for site in fleet.sites})
    places = [
        Place(site.id, regions.index(site.region), boxes, homes[site.id])
        for site in fleet.sites
        if site.kind is not SiteKind.ORIGIN and site.id in homes
        if (boxes := _boxes(files, fleet, site.id, spans.get(site.id)))
    ]
    if not places:
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


def _boxes(files: Files, fleet: Fleet, site: str, spans: Spans | None) -> tuple[Box, ...]:
    knobs = files.config.plan
    return tuple(
        Box(box.id, usable_bytes(box, knobs), fill_bytes(box, knobs, spans), box.link_bps)
        for box in fleet.at_site(site)
        if box.state is State.IN_SERVICE
    )
