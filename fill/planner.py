"""One night's planning: demand and inventories in, what every box should hold out. Pure.

Sites are planned in order of preference. Each farther kind sees its own clients' demand and what
the nearer sites leave of theirs. Sites that do not take over from the same ones are independent
of each other, and so is the search for sources: `spread` may run them in several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fill.arrays import Floats, Ints
from fill.sitework import Inputs, SitePlan, Task, plan_site
from fill.sourcing import Market, Places, Sourced, lenders_of, source_site
from wire.fleet import Fleet, Site, Wanted
from wire.ids import SiteKind

Spread: TypeAlias = Callable[[Callable[[Any, Any], Any], Any, Sequence[Any], str], Iterable[Any]]
"""spread(function, shared, tasks, what): function(shared, task) for each task, in their order."""


@dataclass(frozen=True, slots=True)
class Night:
    """What planning made: the sites by id in the order of planning, and the sources of each one's
    copies."""

    inputs: Inputs
    plans: Mapping[str, SitePlan]
    sourced: Mapping[str, Sourced]
    places: Places


def serially(
    function: Callable[[Any, Any], Any], shared: Any, tasks: Sequence[Any], _what: str
) -> Iterator[Any]:
    """The `Spread` that stays in this process."""
    return (function(shared, task) for task in tasks)


def plan_night(inputs: Inputs, spread: Spread = serially) -> Night:
    """Plan every box of the fleet; equal inputs give equal plans."""
    plans: dict[str, SitePlan] = {}
    left = _Left(inputs)
    for batch in _batches(inputs):
        tasks = [left.task(site) for site in batch]
        for plan in spread(plan_site, inputs, tasks, "placement"):
            plans[plan.site.id] = plan
            left.settle(plan)
    places = Places.of(inputs)
    market = Market(inputs, places, lenders_of(inputs, list(plans.values()), places))
    found = spread(source_site, market, list(plans.values()), "sources")
    return Night(inputs, plans, dict(zip(plans, found, strict=True)), places)


def nearer_sites(fleet: Fleet, site: Site, behind: Mapping[str, Sequence[str]]) -> list[str]:
    """The sites whose unmet demand comes to `site`."""
    allowed = behind.get(site.id)
    return [
        other.id
        for other in sorted(fleet.sites, key=lambda other: other.id)
        if other.kind.preference < site.kind.preference and (allowed is None or other.id in allowed)
    ]


def _batches(inputs: Inputs) -> list[list[Site]]:
    """Sites in order of planning, in groups that take nothing from the same site."""
    order = sorted(inputs.fleet.sites, key=lambda site: (site.kind.preference, site.id))
    batches: list[list[Site]] = []
    seen: set[str] = set()
    kind: SiteKind | None = None
    for site in order:
        if site.kind is SiteKind.ORIGIN:
            continue
        nearer = set(nearer_sites(inputs.fleet, site, inputs.behind))
        if site.kind is not kind or nearer & seen:
            batches.append([])
            seen, kind = set(), site.kind
        batches[-1].append(site)
        seen |= nearer
    return batches


class _Left:
    """Demand that no site has met yet."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._left: dict[str, tuple[Ints, Floats]] = {}
        self._nearer: dict[str, list[str]] = {}
        self._rows = {
            name: inputs.demand.rows_of(index) for index, name in enumerate(inputs.demand.sites)
        }
        self._boxes: dict[str, list[Any]] = {site.id: [] for site in inputs.fleet.sites}
        for box in inputs.fleet.appliances:
            if box.state is Wanted.IN_SERVICE:
                self._boxes[box.site].append(box)

    def task(self, site: Site) -> Task:
        """What `site` is to plan for."""
        nearer = nearer_sites(self._inputs.fleet, site, self._inputs.behind)
        self._nearer[site.id] = [name for name in nearer if name in self._left]
        whole = np.zeros(len(self._inputs.assets.ids) if self._nearer[site.id] else 0)
        for name in self._nearer[site.id]:
            at, count = self._left[name]
            whole[at] += count
        taken = np.flatnonzero(whole)
        own = self._rows.get(site.id, slice(0, 0))
        boxes = tuple(self._boxes[site.id])
        return Task(site, boxes, own, taken.astype(np.int32), whole[taken])

    def settle(self, plan: SitePlan) -> None:
        """What a planned site leaves over."""
        if self._nearer[plan.site.id]:
            share = np.ones(len(self._inputs.assets.ids))
            share[plan.at] = plan.unmet
            for name in self._nearer[plan.site.id]:
                at, count = self._left[name]
                self._left[name] = (at, count * share[at])
        asked = plan.own > 0
        self._left[plan.site.id] = (plan.at[asked], (plan.own * plan.unmet)[asked])
