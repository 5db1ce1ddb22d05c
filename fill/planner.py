"""One night's planning: demand and inventories in, plans and explanations out. Pure.

Sites are planned in order of preference. Each farther kind sees its own clients' demand and what
the nearer sites leave of theirs; manifests stay at the origin and are not placed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from fill.catalogue import Snapshot
from fill.config import PlanKnobs
from fill.generation import (
    AssetTold,
    BoxSummary,
    CopyTold,
    RefusalTold,
    SiteSummary,
    SiteTold,
)
from fill.knapsack import Thresholds
from fill.place import Box, Copy, Placement, Wanted, oracle_bytes, place_site
from fill.sources import Holders, SourceRanker, SourceTable
from wire.catalogue import AssetKind
from wire.fleet import Appliance, Fleet, Site
from wire.fleet import Wanted as State
from wire.ids import ORIGIN_ID, SiteKind
from wire.plan import Desired, Plan

Table = Mapping[str, Mapping[int, float]]
"""Site → asset → bytes a day."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a night's planning looks at. `held`: appliance → assets (none if unheard of)."""

    catalogue: Snapshot
    fleet: Fleet
    demand: Table
    held: Mapping[str, AbstractSet[int]]
    knobs: PlanKnobs
    now_s: int
    generation: int
    purged: Collection[int] = ()
    behind: Mapping[str, Collection[str]] = field(default_factory=dict)
    force: bool = False


@dataclass(slots=True)
class SitePlan:
    """One site as planned."""

    site: Site
    own: Mapping[int, float]
    taken: Mapping[int, float]
    wanted: list[Wanted]
    placement: Placement
    oracle_bytes: float


@dataclass(frozen=True, slots=True)
class Night:
    """What planning made: plans by appliance, and the summary and reasons behind them."""

    plans: Mapping[str, Plan]
    sites: Mapping[str, SiteSummary]
    boxes: Mapping[str, BoxSummary]
    told: Mapping[str, SiteTold]


def plan_night(inputs: Inputs) -> Night:
    """Plan every box of the fleet; equal inputs give equal plans."""
    sizes = {
        number: entry.asset.bytes
        for number, entry in inputs.catalogue.entries.items()
        if entry.asset.kind is not AssetKind.MANIFEST and number not in inputs.purged
    }
    site_plans = _plan_sites(inputs, sizes)
    copies = _copies_by_box(inputs, site_plans, sizes)
    planned = {box: {copy.asset for copy in mine} for box, mine in copies.items()}
    holders = Holders(held=inputs.held, planned=planned)
    ranker = SourceRanker(
        inputs.fleet,
        holders,
        elsewhere_max=inputs.knobs.sites_as_sources_max,
        from_embedded=inputs.knobs.fill_from_embedded,
    )
    thresholds = {
        box: bin_.thresholds()
        for plan in site_plans.values()
        for box, bin_ in plan.placement.bins.items()
    }
    plans = _with_peers(
        inputs,
        {
            box.id: _plan_of(inputs, box, copies.get(box.id, []), ranker, thresholds)
            for box in inputs.fleet.appliances
        },
    )
    return Night(
        plans=plans,
        sites={name: _site_summary(inputs, plan, site_plans) for name, plan in site_plans.items()},
        boxes={
            box.id: _box_summary(inputs, box, plans[box.id], sizes, thresholds)
            for box in inputs.fleet.appliances
            if box.id != ORIGIN_ID
        },
        told={name: _tell(inputs, plan) for name, plan in site_plans.items()},
    )


def usable_bytes(box: Appliance, knobs: PlanKnobs) -> int:
    """Bytes of a box's disks that plans may fill."""
    return int(box.disk_bytes * (1.0 - knobs.reserve_share))


def fill_bytes(box: Appliance, knobs: PlanKnobs) -> int:
    """Bytes that a box may pull in one window."""
    rate_bps = min(float(knobs.fill_bps), box.link_bps * knobs.fill_link_share)
    return int(rate_bps * knobs.window_s / 8)


def _plan_sites(inputs: Inputs, sizes: Mapping[int, int]) -> dict[str, SitePlan]:
    """Place site after site, nearest kind first; residual demand flows outward."""
    left: dict[str, dict[int, float]] = {}
    done: dict[str, SitePlan] = {}
    order = sorted(inputs.fleet.sites, key=lambda site: (site.kind.preference, site.id))
    for site in order:
        if site.kind is SiteKind.ORIGIN:
            continue
        nearer = _nearer(inputs, site)
        taken: dict[int, float] = {}
        for name in nearer:
            for asset, count in left.get(name, {}).items():
                taken[asset] = taken.get(asset, 0.0) + count
        demand = inputs.demand.get(site.id, {})
        own = {asset: demand[asset] for asset in sorted(demand) if asset in sizes}
        plan = _plan_site(inputs, site, own, taken, sizes)
        for name in nearer:
            left[name] = _unmet(left.get(name, {}), plan, inputs.knobs)
        left[site.id] = _unmet(own, plan, inputs.knobs)
        done[site.id] = plan
    return done


def _nearer(inputs: Inputs, site: Site) -> list[str]:
    """The sites whose unmet demand comes to `site`."""
    allowed = inputs.behind.get(site.id)
    return [
        other.id
        for other in sorted(inputs.fleet.sites, key=lambda other: other.id)
        if other.kind.preference < site.kind.preference and (allowed is None or other.id in allowed)
    ]


def _unmet(demand: Mapping[int, float], plan: SitePlan, knobs: PlanKnobs) -> dict[int, float]:
    wanted = {item.asset: item for item in plan.wanted}
    return {
        asset: count * plan.placement.unmet_share(wanted[asset], knobs)
        for asset, count in demand.items()
    }


def _plan_site(
    inputs: Inputs,
    site: Site,
    own: Mapping[int, float],
    taken: Mapping[int, float],
    sizes: Mapping[int, int],
) -> SitePlan:
    boxes = [
        Box(
            box.id,
            usable_bytes(box, inputs.knobs),
            fill_bytes(box, inputs.knobs),
            box.link_bps,
            inputs.held.get(box.id, frozenset()),
        )
        for box in inputs.fleet.at_site(site.id)
        if box.state is State.IN_SERVICE
    ]
    families = _families(inputs.catalogue)
    wanted = [
        Wanted(asset, size, own.get(asset, 0.0) + taken.get(asset, 0.0), families[asset])
        for asset, size in sizes.items()
    ]
    placement = place_site(boxes, wanted, inputs.knobs)
    alone = [Wanted(asset, sizes[asset], count) for asset, count in own.items()]
    return SitePlan(site, own, taken, wanted, placement, oracle_bytes(boxes, alone))


def _families(catalogue: Snapshot) -> dict[int, int]:
    """Asset → the lowest id of its title, so that a title's ladder stays together."""
    first: dict[str, int] = {}
    for number, entry in catalogue.entries.items():
        first.setdefault(entry.asset.title, number)
    return {number: first[entry.asset.title] for number, entry in catalogue.entries.items()}


def _copies_by_box(
    inputs: Inputs, site_plans: Mapping[str, SitePlan], sizes: Mapping[int, int]
) -> dict[str, list[Copy]]:
    """What each box should hold, best first. A drained box keeps what it has, and fetches none."""
    found: dict[str, list[Copy]] = {}
    for plan in site_plans.values():
        for copies in plan.placement.copies.values():
            for copy in copies:
                found.setdefault(copy.box, []).append(copy)
    for box in inputs.fleet.appliances:
        if box.state is not State.IN_SERVICE:
            held = sorted(inputs.held.get(box.id, frozenset()))
            found[box.id] = [Copy(a, box.id, 1, 0.0, True) for a in held if a in sizes]
    for copies in found.values():
        copies.sort(key=lambda copy: (-copy.density, copy.asset))
    return found


def _plan_of(
    inputs: Inputs,
    box: Appliance,
    copies: list[Copy],
    ranker: SourceRanker,
    thresholds: Mapping[str, Thresholds],
) -> Plan:
    table = SourceTable(inputs.fleet)
    desired = tuple(
        Desired(
            asset=copy.asset,
            bytes=inputs.catalogue.entries[copy.asset].asset.bytes,
            digest=inputs.catalogue.entries[copy.asset].digest,
            sources=table.indexes(ranker.rank(box, copy.asset)),
            value=round(copy.density, 9),
            action="keep" if copy.held else "fetch",
            why=why_here(copy, thresholds.get(box.id)),
        )
        for copy in copies
    )
    return Plan(
        appliance=box.id,
        epoch=inputs.catalogue.epoch,
        generation=inputs.generation,
        made_s=inputs.now_s,
        expires_s=inputs.now_s + inputs.knobs.life_s,
        fill_bytes=fill_bytes(box, inputs.knobs),
        desired=desired,
        sources=tuple(table.sources),
        peers={},
        # The origin holds what the catalogue made; its plan only says who may fetch from it.
        force=inputs.force or box.id == ORIGIN_ID,
        out_of_window=inputs.knobs.out_of_window,
    )


def why_here(copy: Copy, thresholds: Thresholds | None) -> str:
    """One line that says why a copy is on a box."""
    if thresholds is None:
        return "drained: keeps what it has"
    bar = thresholds.tau if copy.held else thresholds.tau + thresholds.mu
    name = "τ" if copy.held else "τ+μ"
    if copy.density >= bar:
        return f"copy {copy.number}: {copy.density:.4g} a day ≥ {name} {bar:.4g}"
    return f"copy {copy.number}: {copy.density:.4g} a day, below {name} {bar:.4g}, but it fits"


def _with_peers(inputs: Inputs, plans: Mapping[str, Plan]) -> dict[str, Plan]:
    """Tell each box who may fetch from it: its site, and whoever has it as a source."""
    keys = {box.id: box.public_key for box in inputs.fleet.appliances}
    callers: dict[str, set[str]] = {name: set() for name in plans}
    for box in inputs.fleet.appliances:
        callers[box.id].update(mate.id for mate in inputs.fleet.at_site(box.site))
        for source in plans[box.id].sources:
            callers[source.id].add(box.id)
    if ORIGIN_ID in callers:
        callers[ORIGIN_ID].update(plans)
    return {
        name: _replace_peers(plan, {c: keys[c] for c in sorted(callers[name] - {name})})
        for name, plan in plans.items()
    }


def _replace_peers(plan: Plan, peers: Mapping[str, str]) -> Plan:
    from msgspec.structs import replace

    return replace(plan, peers=peers)


def _site_summary(
    inputs: Inputs, plan: SitePlan, site_plans: Mapping[str, SitePlan]
) -> SiteSummary:
    wanted = {item.asset: item for item in plan.wanted}
    share = {
        asset: plan.placement.served_share(wanted[asset], inputs.knobs.peak_factor)
        for asset in {*plan.own, *plan.taken}
    }
    return SiteSummary(
        kind=plan.site.kind.value,
        demand_bytes=sum(plan.own.values()),
        served_bytes=sum(count * share[asset] for asset, count in plan.own.items()),
        oracle_bytes=plan.oracle_bytes,
        taken_bytes=sum(plan.taken.values()),
        covered_bytes=sum(count * share[asset] for asset, count in plan.taken.items()),
    )


def _box_summary(
    inputs: Inputs,
    box: Appliance,
    plan: Plan,
    sizes: Mapping[int, int],
    thresholds: Mapping[str, Thresholds],
) -> BoxSummary:
    held = inputs.held.get(box.id, frozenset())
    kept = {item.asset for item in plan.desired}
    fetched = [item for item in plan.desired if item.action == "fetch"]
    dropped = [asset for asset in held if asset not in kept]
    bars = thresholds.get(box.id, Thresholds(0.0, 0.0))
    return BoxSummary(
        site=box.site,
        generation=plan.generation,
        state=box.state.value,
        disk_bytes=box.disk_bytes,
        usable_bytes=usable_bytes(box, inputs.knobs),
        planned_bytes=sum(item.bytes for item in plan.desired),
        fill_bytes=plan.fill_bytes,
        fetch_bytes=sum(item.bytes for item in fetched),
        drop_bytes=sum(sizes.get(asset, 0) for asset in dropped),
        keep=len(plan.desired) - len(fetched),
        fetch=len(fetched),
        drop=len(dropped),
        tau=bars.tau,
        mu=bars.mu,
    )


def _tell(inputs: Inputs, plan: SitePlan) -> SiteTold:
    """The reasons of one site, for every asset that is asked for, held or refused there."""
    placement = plan.placement
    told: dict[str, AssetTold] = {}
    for item in plan.wanted:
        copies = placement.copies.get(item.asset, [])
        refused = placement.refused.get(item.asset)
        if not copies and refused is None and item.demand_bytes <= 0:
            continue
        told[str(item.asset)] = AssetTold(
            size_bytes=item.size_bytes,
            own_bytes=plan.own.get(item.asset, 0.0),
            taken_bytes=plan.taken.get(item.asset, 0.0),
            order=tuple(placement.orders.get(item.asset, ())),
            copies=tuple(
                CopyTold(
                    box=copy.box,
                    number=copy.number,
                    density=copy.density,
                    action="keep" if copy.held else "fetch",
                )
                for copy in copies
            ),
            refused_number=refused.number if refused else 0,
            refused_density=refused.density if refused else 0.0,
            refused=tuple(
                RefusalTold(box=box, why=why.value)
                for box, why in (refused.reasons if refused else ())
            ),
        )
    return SiteTold(site=plan.site.id, assets=told)
