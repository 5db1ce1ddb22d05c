"""A night in a few figures: what each site should serve and could, what each box does. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fill.demand import Demand
from fill.explain import amount
from fill.generation import BoxSummary, Forecast, SiteSummary
from fill.planner import Night
from fill.rows import Action, Rows
from fill.schedule import Schedule
from fill.sitework import POINTS, SitePlan, usable_bytes
from wire.fleet import Appliance, Fleet, Wanted
from wire.ids import ORIGIN_ID

NOTHING = slice(0, 0)


def site_summaries(night: Night) -> dict[str, SiteSummary]:
    """Every planned site by id."""
    return {name: _site(plan) for name, plan in night.plans.items()}


def box_summaries(night: Night, rows: Rows, generation: int) -> dict[str, BoxSummary]:
    """Every box but the origin by id."""
    ranges, bars = rows.ranges(), _bars(night)
    return {
        box.id: _box(night, box, rows, ranges.get(box.id, NOTHING), bars, generation)
        for box in night.inputs.fleet.appliances
        if box.id != ORIGIN_ID
    }


def forecast_of(timed: Schedule, rows: Rows, fleet: Fleet) -> Forecast:
    """When the transfers end, and what the ones that will not make it cost."""
    site = {box.id: box.site for box in fleet.appliances}
    cost: dict[str, float] = {}
    lost = rows.value[timed.late] * rows.bytes[timed.late]
    for box, part in zip(rows.box[timed.late].tolist(), lost.tolist(), strict=True):
        name = site[rows.boxes[box]]
        cost[name] = cost.get(name, 0.0) + part
    moved = int(timed.bytes.sum())
    return Forecast(
        slot_s=timed.slot_s,
        window_s=timed.window_s,
        own_hours=any(site.window for site in fleet.sites),
        makespan_s=timed.makespan_s,
        makespan_bound_s=timed.bound_s,
        upstream_bytes=timed.upstream_bytes,
        upstream_bound_bytes=timed.upstream_bound_bytes,
        peer_bytes=moved - timed.upstream_bytes,
        late=len(timed.late),
        late_bytes=int(timed.left.sum()),
        late_cost_bytes=cost,
    )


def told_of(demand: Demand) -> list[str]:
    """What is to be known of the demand that was planned for, one line each."""
    lines = []
    if demand.inherited:
        lines.append(
            f"taken over: {amount(demand.inherited)} of demand for assets that were replaced since"
        )
    if not any(row.bytes for row in demand.rows):
        lines.append(
            "no demand is known at all: boxes keep what they hold, nothing is fetched for it"
        )
    return lines


def pinless(night: Night) -> list[str]:
    """Pins that found no room, one line each."""
    return [
        f"{box} has no room, or no transfer left, for asset {asset}, which is pinned to it"
        for plan in night.plans.values()
        for box, asset in plan.pinless
    ]


def _site(plan: SitePlan) -> SiteSummary:
    return SiteSummary(
        kind=plan.site.kind.value,
        demand_bytes=float(plan.own.sum()),
        served_bytes=plan.served_own,
        oracle_bytes=plan.oracle_bytes,
        taken_bytes=float(plan.taken.sum()),
        covered_bytes=plan.served_taken,
        points={f"{share:.0%}": size for share, size in zip(POINTS, plan.points, strict=True)},
    )


def _bars(night: Night) -> Mapping[str, tuple[float, float]]:
    """Box → τ, μ."""
    return {
        name: (tau, mu)
        for plan in night.plans.values()
        for name, tau, mu in zip(
            plan.boxes, plan.placed.tau.tolist(), plan.placed.mu.tolist(), strict=True
        )
    }


def _box(
    night: Night,
    box: Appliance,
    rows: Rows,
    mine: slice,
    bars: Mapping[str, tuple[float, float]],
    generation: int,
) -> BoxSummary:
    knobs, action, size = night.inputs.knobs, rows.action[mine], rows.bytes[mine]
    counts = np.bincount(action, minlength=len(Action)).tolist()
    sums = np.bincount(action, size, len(Action)).astype(np.int64).tolist()
    tau, mu = bars.get(box.id, (0.0, 0.0))
    return BoxSummary(
        site=box.site,
        generation=generation,
        state=Wanted(box.state).value,
        disk_bytes=box.disk_bytes,
        usable_bytes=usable_bytes(box, knobs),
        planned_bytes=sums[Action.KEEP] + sums[Action.FETCH],
        fill_bytes=night.inputs.fill_bytes(box),
        fetch_bytes=sums[Action.FETCH],
        drop_bytes=sums[Action.DROP],
        keep=counts[Action.KEEP],
        fetch=counts[Action.FETCH],
        drop=counts[Action.DROP],
        tau=tau,
        mu=mu,
    )
