"""The night's transfers: one copy into a site, then neighbours, within rates; the late are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.plan_check import BoxFacts, Verdict, check
from benchmarks.plan_check import Night as NightFacts
from fill.arrays import AssetArrays, Ints, from_table
from fill.config import PlanKnobs
from fill.ledger import PLAN, SCHEDULE
from fill.planfile import plan_table, rows_of_table, schedule_table, write_table
from fill.planner import plan_night
from fill.rows import Action, Rows, rows_of
from fill.schedule import Schedule, schedule
from fill.sitework import Inputs
from fill.summing import forecast_of
from wire.fleet import Appliance, Fleet, Site
from wire.ids import ORIGIN_ID, SiteKind

MB = 10**6
KNOBS = PlanKnobs(reserve_share=0.0, fill_bps=80 * MB, window_s=3_600, fill_link_share=0.5)


def fleet(boxes: int = 3, sites: int = 2, origin_bps: int = 10**11) -> Fleet:
    """ISPs of equal boxes, an exchange, the origin."""
    kinds = {f"isp-{n}": SiteKind.EMBEDDED for n in range(sites)}
    kinds |= {"exchange": SiteKind.IX, "origin": SiteKind.ORIGIN}

    def box(name: str, site: str, link_bps: int = 10**9) -> Appliance:
        return Appliance(
            id=name,
            site=site,
            public_key="ed25519:x",
            hosts=("h",),
            disks_bytes=(40_000 * MB,),
            link_bps=link_bps,
        )

    return Fleet(
        sites=tuple(Site(id=name, kind=kind) for name, kind in kinds.items()),
        appliances=(
            *(box(f"i{s}-{b}", f"isp-{s}") for s in range(sites) for b in range(boxes)),
            box("x-0", "exchange"),
            box(ORIGIN_ID, "origin", origin_bps),
        ),
    )


def planned(
    world: Fleet, assets: int, held: dict[str, Ints] | None = None, hot: int = 0
) -> tuple[Rows, AssetArrays]:
    """A plan for `assets` of 100 MB, everywhere asked for; the first `hot` by more than one link
    carries, so that every box gets them."""
    ids = np.arange(assets, dtype=np.int32)
    catalogue = AssetArrays(ids, np.full(assets, 100 * MB, np.int64), ids.astype(np.int64))
    most = 10**9 / 8 * 86_400 / KNOBS.peak_factor
    wanted = {n: most if n < hot else 1e9 - n for n in range(assets)}
    table = {site.id: wanted for site in world.sites if site.kind is SiteKind.EMBEDDED}
    demand = from_table(table, [site.id for site in world.sites])
    return rows_of(plan_night(Inputs(catalogue, world, demand, held or {}, KNOBS))), catalogue


def checked(
    folder: Path, world: Fleet, timed: Schedule, sizes: AssetArrays, held: dict[str, Ints]
) -> Verdict:
    """What the independent checker says of the tables."""
    write_table(folder / PLAN, plan_table(timed.rows))
    write_table(folder / SCHEDULE, schedule_table(timed))
    kinds = {site.id: site.kind for site in world.sites}
    facts = NightFacts(
        boxes={
            box.id: BoxFacts(
                box.site,
                float(box.disk_bytes),
                min(KNOBS.fill_bps, box.link_bps * 0.5) / 8,
                box.link_bps * 0.5 / 8,
                kinds[box.site] is not SiteKind.EMBEDDED,
            )
            for box in world.appliances
        },
        held={name: ids.astype(np.int64) for name, ids in held.items()},
        size=sizes.size,
        window_s=KNOBS.window_s,
        slot_s=timed.slot_s,
        origin=ORIGIN_ID,
    )
    return check(folder, facts)


def test_one_copy_comes_into_a_site_and_neighbours_pass_it_on(tmp_path: Path) -> None:
    """Assets that all three boxes want cross the site's border once; the night is as short as the
    boxes' rates allow, but for a slot or two."""
    world = fleet()
    rows, sizes = planned(world, 100, hot=20)
    timed = schedule(world, KNOBS, rows)
    verdict = checked(tmp_path, world, timed, sizes, {})
    assert verdict.faults == [] and verdict.late == 0
    assert verdict.upstream_bytes == verdict.upstream_bound_bytes < verdict.fetched_bytes
    assert verdict.makespan_s <= 1.1 * verdict.makespan_bound_s


def test_what_another_site_holds_comes_from_there(tmp_path: Path) -> None:
    """The exchange lends what it keeps; the origin sends nothing of that."""
    world = fleet()
    held = {"x-0": np.arange(30, dtype=np.int32)}
    rows, sizes = planned(world, 30, held)
    timed = schedule(world, KNOBS, rows)
    assert checked(tmp_path, world, timed, sizes, held).faults == []
    senders = {rows.boxes[number] for number in timed.source.tolist()}
    assert ORIGIN_ID not in senders and "x-0" in senders


def test_a_thin_origin_is_shared_out_and_what_is_late_has_its_price(tmp_path: Path) -> None:
    """Min-cost flow with an unmet arc: the origin's link is full in every slot, nobody exceeds a
    rate, and what the window does not hold is told by site."""
    world = fleet(origin_bps=20 * MB)
    rows, sizes = planned(world, 100)
    timed = schedule(world, KNOBS, rows)
    verdict = checked(tmp_path, world, timed, sizes, {})
    assert verdict.faults == []
    carried = 20 * MB * 0.5 / 8 * KNOBS.window_s
    sent = timed.bytes[timed.source == rows.boxes.index(ORIGIN_ID)].sum()
    assert 0.97 * carried <= sent <= carried * 1.0001
    told = forecast_of(timed, rows, world)
    assert told.late == verdict.late > 0
    assert told.late_bytes == verdict.fetched_bytes - timed.bytes.sum()
    assert set(told.late_cost_bytes) <= {"isp-0", "isp-1", "exchange"}
    assert sum(told.late_cost_bytes.values()) > 0


def test_a_full_lender_is_helped_by_the_origin(tmp_path: Path) -> None:
    """Six boxes want from one exchange more than its link gives: the rest comes from the origin at
    the same time, as the flow finds it cheaper than not at all."""
    world = fleet()
    thin = replace_link(world, "x-0", 100 * MB)
    held = {"x-0": np.arange(60, dtype=np.int32)}
    rows, sizes = planned(thin, 60, held)
    timed = schedule(thin, KNOBS, rows)
    verdict = checked(tmp_path, thin, timed, sizes, held)
    assert verdict.faults == [] and verdict.late == 0
    assert {rows.boxes[number] for number in timed.source.tolist()} >= {"x-0", ORIGIN_ID}


def replace_link(world: Fleet, name: str, link_bps: int) -> Fleet:
    """The fleet with another link for one box."""
    from msgspec.structs import replace as with_

    return with_(
        world,
        appliances=tuple(
            with_(box, link_bps=link_bps) if box.id == name else box for box in world.appliances
        ),
    )


@pytest.mark.parametrize("fault", ["early", "twice", "fast", "room", "kept"])
def test_the_checker_sees_what_is_wrong(tmp_path: Path, fault: str) -> None:
    """A checker that never complains proves nothing: five plans that cannot be carried out."""
    world = fleet()
    held = {"i0-0": np.arange(10, dtype=np.int32)}
    rows, sizes = planned(world, 60, held, hot=10)
    timed = schedule(world, KNOBS, rows)
    if fault == "early":
        timed = replace(timed, slot=np.zeros_like(timed.slot))
    elif fault == "twice":
        timed = replace(timed, bytes=timed.bytes * 2)
    elif fault == "fast":
        timed = replace(timed, slot_s=timed.slot_s / 10)
    elif fault == "room":
        world = small(world)
    else:
        held = {"i0-0": np.arange(11, dtype=np.int32)}
    assert checked(tmp_path, world, timed, sizes, held).faults


def small(world: Fleet) -> Fleet:
    """The fleet with disks of 200 MB."""
    from msgspec.structs import replace as with_

    boxes = tuple(with_(box, disks_bytes=(200 * MB,)) for box in world.appliances)
    return with_(world, appliances=boxes)


def test_a_plan_is_the_same_after_a_trip_through_its_table() -> None:
    """Every column, sources included; boxes may be numbered anew."""
    rows, _ = planned(fleet(), 40, {"i0-0": np.arange(50, dtype=np.int32)}, hot=5)
    back = rows_of_table(plan_table(rows))
    names = np.array(rows.boxes), np.array(back.boxes)
    assert (names[0][rows.box] == names[1][back.box]).all()
    assert (names[0][rows.source] == names[1][back.source]).all()
    for column in ("asset", "action", "bytes", "value", "rank", "number", "start", "outside"):
        assert (getattr(rows, column) == getattr(back, column)).all()
    assert (rows.action == Action.DROP).any()
