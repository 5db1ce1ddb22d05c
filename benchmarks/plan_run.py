"""One night of the planner's benchmark at one size: forecast, placement, schedule, then the checks.

Yesterday's night is planned first, with other demand and no limit to transfers, so that disks are
full of what was wanted then; that is not timed. Memory is the proportional share (PSS) of this
process and its workers together, looked at twice a second.
"""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan_bound import SiteFacts, knapsack_bound, lp_bound
from benchmarks.plan_check import BoxFacts, Verdict, check
from benchmarks.plan_check import Night as NightFacts
from benchmarks.plan_world import DAYS, World, knobs, make_world
from fill.arrays import DemandArrays, Ints
from fill.config import PlanKnobs
from fill.crew import Crew
from fill.forecasting.tomorrow import Learned, Learner, SiteForecast, forecast_site
from fill.ledger import PLAN, SCHEDULE
from fill.place import serve_bytes
from fill.planfile import plan_table, schedule_table, write_table
from fill.planner import Night, plan_night
from fill.rows import Action, Rows, rows_of
from fill.schedule import Schedule, schedule
from fill.sitework import Inputs, SitePlan, fill_rate_bps, usable_bytes
from wire.ids import ORIGIN_ID, SiteKind

LOOK_S = 0.5


@dataclass
class Peak:
    """The most memory seen, in bytes."""

    bytes: int = 0


def one_night(sites: int, asked: int, *, bounds: int = 0, seed: int = 1) -> dict[str, Any]:
    """Figures of a night of `sites` × `asked` demands; with `bounds`, the linear programmes of so
    many sites are solved, too."""
    world, crew = make_world(sites, asked, seed), Crew()
    held = _yesterday(world, crew)
    gc.collect()
    times: dict[str, float] = {}
    with _memory() as peak:
        start_s = time.perf_counter()
        with _timed(times, "forecast"):
            demand = _forecast(world, crew)
        with _timed(times, "placement"):
            night = plan_night(_inputs(world, demand, held, knobs()), crew.spread)
            rows = rows_of(night)
        with _timed(times, "schedule"):
            timed = schedule(world.fleet, knobs(), rows, crew.spread)
        times["all"] = time.perf_counter() - start_s
    with tempfile.TemporaryDirectory() as folder:
        with _timed(times, "tables"):
            write_table(Path(folder) / PLAN, plan_table(rows))
            write_table(Path(folder) / SCHEDULE, schedule_table(timed))
        with _timed(times, "check"):
            verdict = check(Path(folder), _facts(world, held, timed))
    return {
        "demands": len(demand),
        "sites": sites,
        "boxes": len(world.fleet.appliances) - 1,
        "seconds": {name: round(value, 2) for name, value in times.items()},
        "peak_bytes": peak.bytes,
        **_figures(night, rows, timed, verdict),
        **_gaps(night, bounds),
    }


def _forecast(world: World, crew: Crew) -> DemandArrays:
    sites = [site for site in world.fleet.sites if site.kind is not SiteKind.ORIGIN]
    learner = Learner(world.described, 0, DAYS - 1, 5)
    for index in range(len(sites)):
        learner.add(index % 5, world.rows(index))
    learned = learner.learn()
    found: list[SiteForecast] = list(
        crew.spread(_foresee, (learned, world), list(range(len(sites))), "forecast")
    )
    return DemandArrays(
        tuple(site.id for site in sites),
        np.repeat(np.arange(len(sites), dtype=np.int32), [len(each.at) for each in found]),
        np.concatenate([world.assets.ids[each.at] for each in found]),
        np.concatenate([each.bytes_a_day for each in found]),
        np.concatenate([each.spread for each in found]),
    )


def _foresee(shared: tuple[Learned, World], site: int) -> SiteForecast:
    learned, world = shared
    return forecast_site(learned, site % 5, world.rows(site))


def _yesterday(world: World, crew: Crew) -> dict[str, Ints]:
    """What boxes hold the evening before: placed for other demand, with all the time there is."""
    many, asked = world.at.shape
    rng = np.random.default_rng(99)
    past = world.counts.mean(axis=1).astype(float) * np.exp(rng.normal(0, 0.35, many * asked))
    sites = [site for site in world.fleet.sites if site.kind is not SiteKind.ORIGIN]
    demand = DemandArrays(
        tuple(site.id for site in sites),
        np.repeat(np.arange(many, dtype=np.int32), asked),
        world.assets.ids[world.at.ravel()],
        past,
        np.zeros(many * asked),
    )
    free = replace(knobs(), fill_bps=10**13, fill_link_share=1.0, window_s=86_400)
    rows = rows_of(plan_night(_inputs(world, demand, {}, free), crew.spread))
    return {name: np.sort(rows.asset[mine]) for name, mine in rows.ranges().items()}


def _inputs(
    world: World, demand: DemandArrays, held: Mapping[str, Ints], plan: PlanKnobs
) -> Inputs:
    return Inputs(
        assets=world.assets,
        fleet=world.fleet,
        demand=demand,
        held=held,
        knobs=plan,
        behind=world.behind,
    )


def _facts(world: World, held: Mapping[str, Ints], timed: Schedule) -> NightFacts:
    plan, kinds = knobs(), {site.id: site.kind for site in world.fleet.sites}
    return NightFacts(
        boxes={
            box.id: BoxFacts(
                site=box.site,
                disk_bytes=0.0
                if box.id == ORIGIN_ID
                else box.disk_bytes * (1 - plan.reserve_share),
                take_bytes_per_s=min(plan.fill_bps, box.link_bps * plan.fill_link_share) / 8,
                send_bytes_per_s=box.link_bps * plan.fill_link_share / 8,
                lends=kinds[box.site] is not SiteKind.EMBEDDED,
            )
            for box in world.fleet.appliances
        },
        held={name: ids.astype(np.int64) for name, ids in held.items()},
        size=world.assets.size,
        window_s=plan.window_s,
        slot_s=timed.slot_s,
        origin=ORIGIN_ID,
    )


def _figures(night: Night, rows: Rows, timed: Schedule, verdict: Verdict) -> dict[str, Any]:
    own = sum(float(plan.own.sum()) for plan in night.plans.values())
    served = sum(plan.served_own for plan in night.plans.values())
    return {
        "rows": len(rows),
        "fetches": int((rows.action == Action.FETCH).sum()),
        "pieces": len(timed.row),
        "planned_offload": served / own,
        "faults": verdict.faults,
        "late": verdict.late,
        "fetched_bytes": verdict.fetched_bytes,
        "upstream_ratio": verdict.upstream_bytes / max(1, verdict.upstream_bound_bytes),
        "makespan_ratio": verdict.makespan_s / max(verdict.makespan_bound_s, 1e-9),
        "makespan_s": verdict.makespan_s,
    }


def _gaps(night: Night, bounds: int) -> dict[str, Any]:
    """How far from the aggregate knapsack all sites together are, and from the linear programme the
    first `bounds` of them, one by one."""
    plans = [plan for plan in night.plans.values() if len(plan.placed.row)]
    worth = sum(_worth(night, plan) for plan in plans)
    bound = sum(knapsack_bound(_site_facts(night, plan)) for plan in plans)
    gaps = []
    for plan in sorted(plans, key=lambda plan: plan.site.id)[:bounds]:
        best = lp_bound(_site_facts(night, plan))
        gaps.append(1.0 - _worth(night, plan) / best)
    return {"knapsack_gap": 1.0 - worth / bound, "lp_gaps": gaps}


def _worth(night: Night, plan: SitePlan) -> float:
    placed, size = plan.placed, night.inputs.assets.size[plan.at]
    fetched = size[placed.row[~placed.held]].sum()
    return placed.value - float(fetched) / night.inputs.knobs.repay_days


def _site_facts(night: Night, plan: SitePlan) -> SiteFacts:
    inputs = night.inputs
    boxes = {box.id: box for box in inputs.fleet.appliances}
    mine = [boxes[name] for name in plan.boxes]
    held = np.zeros((len(plan.at), len(mine)), bool)
    for column, name in enumerate(plan.boxes):
        held[:, column] = np.isin(inputs.assets.ids[plan.at], inputs.held.get(name, ()))
    serve = np.array([serve_bytes(box.link_bps, inputs.knobs) for box in mine])
    rate = np.array([fill_rate_bps(box, inputs.knobs) / 8 for box in mine])
    return SiteFacts(
        size=inputs.assets.size[plan.at].astype(float),
        demand=plan.own + plan.taken,
        held=held,
        disk=np.array([float(usable_bytes(box, inputs.knobs)) for box in mine]),
        fill=rate * inputs.knobs.window_s,
        serve=serve,
        copy=serve * inputs.knobs.copy_link_share,
        price=1.0 / inputs.knobs.repay_days,
        away=inputs.knobs.away_share,
    )


@contextmanager
def _timed(times: dict[str, float], name: str) -> Iterator[None]:
    start_s = time.perf_counter()
    yield
    times[name] = time.perf_counter() - start_s


@contextmanager
def _memory() -> Iterator[Peak]:
    peak, stop = Peak(), threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_S):
            peak.bytes = max(peak.bytes, _pss())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()
        peak.bytes = max(peak.bytes, _pss())


def _pss() -> int:
    """Proportional share of memory of this process and its children, in bytes."""
    total = 0
    mine = str(os.getpid())
    children = Path(f"/proc/{mine}/task/{mine}/children").read_text().split()
    for pid in (mine, *children):
        with suppress(OSError):  # a worker that has just ended
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total
