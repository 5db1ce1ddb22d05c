"""A night as a whole: residual demand flows outward, sources are ranked, plans are one world's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest

from fill.arrays import from_table
from fill.catalogue import Snapshot, titles_of
from fill.config import PlanKnobs
from fill.generation import BoxSummary, SiteSummary
from fill.night import placeable
from fill.planner import plan_night
from fill.rows import Rows, rows_of
from fill.rules import Ruling, read_rules
from fill.sitework import Inputs
from fill.slices import Issue, peers_of, plan_of
from fill.summing import box_summaries, site_summaries
from tests.fill.ground import Box, Ground
from wire.fleet import Fleet
from wire.ids import ORIGIN_ID
from wire.plan import Plan, SourceKind

SIZE = 5_000
GENERATION = 7


@dataclass(frozen=True)
class Night:
    """A night as a test looks at it."""

    plans: Mapping[str, Plan]
    sites: Mapping[str, SiteSummary]
    boxes: Mapping[str, BoxSummary]
    rows: Rows


def night(
    ground: Ground,
    snapshot: Snapshot,
    demand: dict[str, dict[int, float]],
    held: dict[str, frozenset[int]] | None = None,
    *,
    knobs: PlanKnobs | None = None,
    behind: dict[str, tuple[str, ...]] | None = None,
    purged: frozenset[int] = frozenset(),
    rules: str = "",
    fleet: Fleet | None = None,
) -> Night:
    """Plan with everything else at its default."""
    fleet = fleet or ground.files.read_fleet()
    titles = titles_of(snapshot)
    inputs = Inputs(
        assets=placeable(snapshot, purged),
        fleet=fleet,
        demand=from_table(demand, [site.id for site in fleet.sites]),
        held={name: np.array(sorted(ids), np.int32) for name, ids in (held or {}).items()},
        knobs=knobs or PlanKnobs(reserve_share=0.0),
        ruling=Ruling(
            read_rules(rules.encode(), "rules", fleet, titles), titles, date(2026, 11, 22)
        ),
        behind=behind or {},
    )
    made = plan_night(inputs)
    rows = rows_of(made)
    boxes = box_summaries(made, rows, GENERATION)
    issue = Issue(
        rows=rows,
        ranges=rows.ranges(),
        catalogue=snapshot,
        fleet=fleet,
        by_id={box.id: box for box in fleet.appliances},
        knobs=inputs.knobs,
        boxes=boxes,
        peers=peers_of(rows, fleet),
        generation=GENERATION,
        now_s=1_800_000_000,
        force=False,
    )
    plans = {box.id: plan_of(issue, box) for box in fleet.appliances}
    return Night(plans, site_summaries(made), boxes, rows)


def assets(plan: Plan) -> set[int]:
    """What a plan wants."""
    return {item.asset for item in plan.desired}


def sources(plan: Plan, asset: int) -> list[tuple[str, SourceKind]]:
    """The ranked sources of one asset."""
    (item,) = (each for each in plan.desired if each.asset == asset)
    return [(plan.sources[n].id, plan.sources[n].kind) for n in item.sources]


def falling(snapshot: Snapshot) -> dict[int, float]:
    """Each asset is asked for less than the one before."""
    return {asset: 1e6 / (rank + 1) for rank, asset in enumerate(snapshot.entries)}


def test_an_exchange_is_filled_for_what_the_sites_before_it_cannot_hold(ground: Ground) -> None:
    """isp-b holds the ten most asked for of thirty; the exchange takes those it lacks first."""
    snapshot = ground.synthetic(30)
    made = night(ground, snapshot, {"isp-b": falling(snapshot)})
    ranked = list(snapshot.entries)
    assert assets(made.plans["b1"]) == set(ranked[:10])
    assert set(ranked[10:22]) == assets(made.plans["x1"])
    exchange = made.sites["exchange"]
    assert exchange.offload is None
    assert 0 < exchange.covered_bytes < exchange.taken_bytes


def test_a_site_takes_over_only_what_the_configuration_puts_behind_it(ground: Ground) -> None:
    """`behind` narrows whose clients an exchange is planned for."""
    snapshot = ground.synthetic(30)
    demand = {"isp-a": falling(snapshot), "isp-b": falling(snapshot)}
    made = night(ground, snapshot, demand, behind={"exchange": ("isp-a",)})
    assert made.sites["exchange"].taken_bytes < 0.5 * made.sites["isp-a"].demand_bytes
    alone = night(ground, snapshot, demand, behind={"exchange": ()})
    assert alone.sites["exchange"].taken_bytes == 0
    assert alone.plans["x1"].desired == ()


def test_a_transit_site_sees_only_what_the_exchange_leaves(ground: Ground) -> None:
    """Demand that was met on the way is not planned for a second time, but for absences."""
    snapshot = ground.synthetic(30)
    ground.write_fleet([*ground.boxes, Box("t1", "far", 10_000)])
    made = night(ground, snapshot, {"isp-b": falling(snapshot)})
    ranked = list(snapshot.entries)
    met = made.sites["exchange"].covered_bytes
    taken = made.sites["exchange"].taken_bytes
    assert made.sites["far"].taken_bytes < taken - 0.9 * met
    assert assets(made.plans["t1"]) == set(ranked[22:24])


def test_planned_offload_is_the_share_of_demand_that_is_placed(ground: Ground) -> None:
    """Ten assets of equal size fit; the summary promises exactly their share."""
    snapshot = ground.synthetic(30)
    demand = falling(snapshot)
    made = night(ground, snapshot, {"isp-b": demand})
    placed = sum(demand[asset] for asset in assets(made.plans["b1"]))
    assert made.sites["isp-b"].served_bytes == pytest.approx(placed)
    assert made.sites["isp-b"].offload == pytest.approx(made.sites["isp-b"].oracle)


def test_the_first_box_in_order_fetches_from_outside_and_the_next_from_it(ground: Ground) -> None:
    """Two boxes that both get a new asset: one lists the origin first, the other its peer."""
    snapshot = ground.synthetic(4)
    demand = dict.fromkeys(snapshot.entries, 1e7)
    made = night(ground, snapshot, {"isp-a": demand})
    for asset in snapshot.entries:
        ranked = [sources(made.plans[name], asset) for name in ("a1", "a2")]
        firsts = sorted(each[0][1] for each in ranked)
        assert firsts == [SourceKind.ORIGIN, SourceKind.PEER]
        assert all(each[-1] == (ORIGIN_ID, SourceKind.ORIGIN) for each in ranked)


def test_whoever_holds_it_in_the_site_comes_first_then_other_sites(ground: Ground) -> None:
    """A peer, then the exchange, then the origin; another ISP's box only where that is agreed."""
    snapshot = ground.synthetic(4)
    demand = dict.fromkeys(snapshot.entries, 1e7)
    held = {name: frozenset(snapshot.entries) for name in ("a2", "b1", "x1")}
    everywhere = {"isp-a": demand, "isp-b": demand}
    asset = next(iter(snapshot.entries))
    made = night(ground, snapshot, everywhere, held)
    assert [name for name, _ in sources(made.plans["a1"], asset)] == ["a2", "x1", ORIGIN_ID]
    knobs = PlanKnobs(reserve_share=0.0, fill_from_embedded=True)
    agreed = night(ground, snapshot, everywhere, held, knobs=knobs).plans["a1"]
    assert [name for name, _ in sources(agreed, asset)] == ["a2", "x1", "b1", ORIGIN_ID]


def test_whoever_is_named_as_a_source_knows_who_may_fetch(ground: Ground) -> None:
    """Each source's own plan carries the caller's public key; the origin knows everybody."""
    snapshot = ground.synthetic(12)
    held = {"x1": frozenset(snapshot.entries)}
    made = night(ground, snapshot, {"isp-b": falling(snapshot)}, held)
    for name, plan in made.plans.items():
        for source in plan.sources:
            assert name in made.plans[source.id].peers
    assert set(made.plans[ORIGIN_ID].peers) == {"a1", "a2", "b1", "x1"}
    assert made.plans["a1"].peers.keys() >= {"a2"}


def test_the_origins_plan_never_makes_it_drop(ground: Ground) -> None:
    """It wants nothing, and says that this is meant; the origin's tree is the catalogue's."""
    snapshot = ground.synthetic(2)
    plan = night(ground, snapshot, {}).plans[ORIGIN_ID]
    assert plan.desired == () and plan.force


def test_manifests_and_purged_assets_are_not_placed(ground: Ground) -> None:
    """Even where they are asked for or held."""
    ground.add_film("film")
    snapshot = ground.synthetic(3)
    everything = dict.fromkeys(snapshot.entries, 1e6)
    (manifest,) = (n for n, e in snapshot.entries.items() if e.asset.kind.value == "manifest")
    purged = max(snapshot.entries)
    held = {"b1": frozenset(snapshot.entries)}
    made = night(ground, snapshot, {"isp-b": everything}, held, purged=frozenset({purged}))
    assert assets(made.plans["b1"]) == set(snapshot.entries) - {manifest, purged}


def test_a_drained_box_keeps_what_it_has_and_others_stand_in(ground: Ground) -> None:
    """Nothing is fetched by it, nothing counts on it."""
    snapshot = ground.synthetic(6)
    ground.write_fleet(ground.boxes, a1="drained")
    held = {"a1": frozenset(list(snapshot.entries)[:3])}
    made = night(ground, snapshot, {"isp-a": falling(snapshot)}, held)
    assert assets(made.plans["a1"]) == held["a1"]
    assert all(item.action == "keep" for item in made.plans["a1"].desired)
    assert assets(made.plans["a2"]) == set(snapshot.entries)


def test_a_plan_asks_for_no_more_than_one_window_can_fetch(ground: Ground) -> None:
    """The budget is rate × window; what is held does not count against it."""
    snapshot = ground.synthetic(8)
    knobs = PlanKnobs(reserve_share=0.0, fill_bps=1_000, window_s=120)  # 15,000 B: three assets
    held = {"b1": frozenset(list(snapshot.entries)[4:6])}
    made = night(ground, snapshot, {"isp-b": falling(snapshot)}, held, knobs=knobs)
    plan = made.plans["b1"]
    assert plan.fill_bytes == 15_000
    assert [item.action for item in plan.desired].count("fetch") == 3
    assert assets(plan) == {*list(snapshot.entries)[:3], *held["b1"]}
    assert made.boxes["b1"].mu > 1 / knobs.repay_days


def test_equal_inputs_give_equal_bytes(ground: Ground) -> None:
    """A night that is planned twice is the same night."""
    from wire.codec import encode

    snapshot = ground.synthetic(20)
    demand = {"isp-a": falling(snapshot), "isp-b": falling(snapshot)}
    backwards = {site: dict(reversed(table.items())) for site, table in reversed(demand.items())}
    one, two = night(ground, snapshot, demand), night(ground, snapshot, backwards)
    assert {n: encode(p) for n, p in one.plans.items()} == {
        n: encode(p) for n, p in two.plans.items()
    }
    assert one.sites == two.sites


def test_each_entry_vouches_for_the_catalogues_bytes(ground: Ground) -> None:
    """Size and digest are those of the entry that `.asset.json` repeats."""
    import hashlib

    snapshot = ground.synthetic(3)
    plan = night(ground, snapshot, {"isp-b": falling(snapshot)}).plans["b1"]
    for item in plan.desired:
        raw = (ground.media / "a" / str(item.asset) / ".asset.json").read_bytes()
        assert item.digest == hashlib.sha256(raw).hexdigest()
        assert item.bytes == SIZE
    assert plan.epoch == snapshot.epoch


def test_a_site_without_boxes_leaves_all_its_demand_to_the_next(ground: Ground) -> None:
    """An ISP that only peers at the exchange."""
    snapshot = ground.synthetic(3)
    ground.write_fleet([box for box in ground.boxes if box.site != "isp-b"])
    made = night(ground, snapshot, {"isp-b": falling(snapshot)})
    assert made.sites["isp-b"].offload == 0
    assert made.sites["exchange"].covered_bytes == made.sites["isp-b"].demand_bytes
