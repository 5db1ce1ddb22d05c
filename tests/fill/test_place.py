"""A site's placement: feasible, close to the optimum, stable, explained by two thresholds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.plan_bound import SiteFacts, knapsack_bound, lp_bound
from fill.config import PlanKnobs
from fill.place import Box, Placed, SiteProblem, oracle_bytes, place, points, serve_bytes
from fill.rendezvous import rendezvous_order

KNOBS = PlanKnobs()
GBPS = 10**9
LINK = 10**12  # more than anybody asks for


def problem(
    boxes: list[Box],
    sizes: list[int],
    demand: list[float],
    held: dict[str, set[int]] | None = None,
    **more: object,
) -> SiteProblem:
    """A site; assets are numbered from 0, each its own family."""
    shape = (len(sizes), len(boxes))
    stored = np.zeros(shape, bool)
    for column, box in enumerate(boxes):
        for asset in (held or {}).get(box.id, ()):
            stored[asset, column] = True
    fields: dict[str, object] = {
        "boxes": tuple(boxes),
        "assets": np.arange(len(sizes), dtype=np.int32),
        "size": np.array(sizes, np.int64),
        "demand": np.array(demand, float),
        "spread": np.zeros(len(sizes)),
        "family": np.arange(len(sizes)),
        "floor": np.zeros(len(sizes), np.int64),
        "held": stored,
        "may": np.ones(shape, bool),
        "pinned": np.zeros(shape, bool),
    }
    return SiteProblem(**{**fields, **more})  # type: ignore[arg-type]  # tests name the fields


def box(name: str, disk: int = 1000, fill: int = 10**9, link: int = LINK) -> Box:
    """A box with a large budget."""
    return Box(name, disk, fill, link)


def on(placed: Placed, column: int) -> set[int]:
    """What a box is to hold."""
    return set(placed.row[placed.box == column].tolist())


ROWS = st.lists(
    st.tuples(st.integers(1, 80), st.integers(0, 10**6), st.integers(0, 15)),
    min_size=1,
    max_size=12,
)
BOXES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=4)


def drawn(boxes: list[tuple[int, int]], rows: list[tuple[int, int, int]]) -> SiteProblem:
    """The bits of a row's last number say which boxes hold it."""
    made = [box(f"b{n}", disk, fill) for n, (disk, fill) in enumerate(boxes)]
    held = {b.id: {a for a, r in enumerate(rows) if r[2] >> n & 1} for n, b in enumerate(made)}
    return problem(made, [r[0] for r in rows], [float(r[1]) for r in rows], held)


@settings(max_examples=100)
@given(BOXES, ROWS)
def test_no_box_holds_or_fetches_more_than_it_can(
    boxes: list[tuple[int, int]], rows: list[tuple[int, int, int]]
) -> None:
    """Disk and transfer bound every box; no box gets an asset twice; copies are numbered."""
    site = drawn(boxes, rows)
    placed = place(site, KNOBS)
    for column, each in enumerate(site.boxes):
        mine = placed.box == column
        assert site.size[placed.row[mine]].sum() <= each.disk_bytes
        assert site.size[placed.row[mine & ~placed.held]].sum() <= each.fill_bytes
        assert len(set(placed.row[mine])) == mine.sum()
    assert (placed.held == site.held[placed.row, placed.box]).all()
    for row in set(placed.row.tolist()):
        assert placed.number[placed.row == row].tolist() == list(range(1, placed.copies[row] + 1))


@settings(max_examples=100)
@given(BOXES, ROWS)
def test_no_placement_beats_the_bounds(
    boxes: list[tuple[int, int]], rows: list[tuple[int, int, int]]
) -> None:
    """Neither the oracle, nor the aggregate knapsack, nor the linear programme."""
    site = drawn(boxes, rows)
    placed = place(site, KNOBS)
    assert placed.served.sum() <= oracle_bytes(site, site.demand, KNOBS) * (1 + 1e-9) + 1e-6
    facts = facts_of(site)
    worth = worth_of(site, placed)
    assert worth <= lp_bound(facts) * (1 + 1e-6) + 1e-3
    assert worth <= knapsack_bound(facts) * (1 + 1e-6) + 1e-3


def facts_of(site: SiteProblem) -> SiteFacts:
    """The same site as the bounds read it."""
    serve = np.array([serve_bytes(each.link_bps, KNOBS) for each in site.boxes])
    return SiteFacts(
        site.size.astype(float),
        site.demand,
        site.held,
        np.array([float(each.disk_bytes) for each in site.boxes]),
        np.array([float(each.fill_bytes) for each in site.boxes]),
        serve,
        serve * KNOBS.copy_link_share,
        1 / KNOBS.repay_days,
        KNOBS.away_share,
    )


def worth_of(site: SiteProblem, placed: Placed) -> float:
    """What a placement is worth, transfers paid."""
    return placed.value - float(site.size[placed.row[~placed.held]].sum()) / KNOBS.repay_days


def test_the_gap_to_the_linear_programme_is_small() -> None:
    """At most half a percent, with boxes alike and unlike, full disks and short nights."""
    rng = np.random.default_rng(7)
    count = 800
    for number, (link, fill) in enumerate(product((10**9, 10**11), (0.05, 0.3))):
        size = rng.lognormal(21.5, 0.8, count).astype(np.int64)
        demand = size * np.exp(rng.normal(-2, 2, count))
        disk = int(size.sum() * 0.2)
        boxes = [Box(f"f{number}", disk // 3, int(disk * fill), link * 10)]
        boxes += [Box(f"d{number}{n}", disk, int(disk * fill), link) for n in range(2)]
        empty = [replace(each, fill_bytes=10**18) for each in boxes]
        before = demand * np.exp(rng.normal(0, 0.5, count))
        yesterday = place(problem(empty, size.tolist(), before.tolist()), KNOBS)
        held = {b.id: on(yesterday, column) for column, b in enumerate(boxes)}
        site = problem(boxes, size.tolist(), demand.tolist(), held)
        gap = 1 - worth_of(site, place(site, KNOBS)) / lp_bound(facts_of(site))
        assert -1e-6 < gap <= 0.005


def test_a_single_box_is_within_an_item_or_two_of_the_optimum() -> None:
    """Brute force over all subsets of nine assets, many times."""
    rng = np.random.default_rng(3)
    knobs = PlanKnobs(repay_days=36_500, away_share=0.0)
    for _ in range(60):
        size, demand = rng.integers(1, 50, 9), rng.integers(0, 200, 9).astype(float)
        held = rng.random(9) < 0.4
        disk, fill = int(rng.integers(20, 150)), int(rng.integers(10, 150))
        site = problem(
            [box("b", disk, fill)],
            size.tolist(),
            demand.tolist(),
            {"b": set(np.flatnonzero(held).tolist())},
        )
        best = 0.0
        for subset in product((False, True), repeat=9):
            chosen = np.array(subset)
            if size[chosen].sum() <= disk and size[chosen & ~held].sum() <= fill:
                best = max(best, float(demand[chosen].sum()))
        got = float(demand[list(on(place(site, knobs), 0))].sum())
        assert got >= best - 2 * float(demand[size <= disk].max(initial=0.0))


@settings(max_examples=100)
@given(BOXES, ROWS)
def test_what_is_above_its_threshold_is_there(
    boxes: list[tuple[int, int]], rows: list[tuple[int, int, int]]
) -> None:
    """On a single box: kept above τ, fetched above τ + μ; nothing is fetched that does not pay."""
    site = drawn(boxes[:1], rows)
    placed, knobs = place(site, KNOBS), KNOBS
    there, price = on(placed, 0), 1 / knobs.repay_days
    for row, (size, demand) in enumerate(zip(site.size, site.demand, strict=True)):
        held = bool(site.held[row, 0])
        bar = placed.tau[0] + (0.0 if held else placed.mu[0])
        if demand / size > bar + 1e-9 and size <= site.boxes[0].disk_bytes:
            assert row in there
        assert held or row not in there or demand / size > price


def test_first_copies_come_before_second_ones() -> None:
    """A second copy is worth 2 % of the demand, so it waits for every first copy that beats it."""
    demand = [1000.0 - n for n in range(20)]
    full = place(problem([box("b1"), box("b2")], [100] * 20, demand), KNOBS)
    assert full.copies.tolist() == [1] * 20
    roomy = place(problem([box("b1", 2000), box("b2", 2000)], [100] * 20, demand), KNOBS)
    assert roomy.copies.tolist() == [2] * 20


def test_an_asset_that_one_link_cannot_carry_gets_a_second_copy_early() -> None:
    """What one copy lacks in bandwidth counts in full."""
    a_day_at_250_mbps = 0.25 * GBPS / 8 * 86_400
    demand = [a_day_at_250_mbps, *([10.0] * 18)]
    boxes = [box("b1", 300, link=GBPS), box("b2", 300, link=GBPS)]
    placed = place(problem(boxes, [100] * 19, demand), KNOBS)
    assert placed.copies[0] == 2


def test_no_box_is_to_carry_more_than_its_link() -> None:
    """What is asked for beyond all links is not served, and goes on to farther sites."""
    carries = serve_bytes(GBPS, KNOBS)
    boxes = [box("b1", link=GBPS), box("b2", link=GBPS)]
    site = problem(boxes, [10] * 30, [carries / 10] * 30)
    placed = place(site, KNOBS)
    for column in range(2):
        assert placed.carried[placed.box == column].sum() <= carries * (1 + 1e-9)
    assert placed.served.sum() == pytest.approx(2 * carries)
    assert (site.demand * placed.unmet_share(site.demand, 0.0)).sum() == pytest.approx(carries)


def test_the_hot_go_to_flash_and_the_many_to_disk() -> None:
    """A small box with a large link beside a large one with a small link: together they serve all,
    which they only can if the hottest titles are on the small one."""
    demand = [float(10**6 // (n + 1)) for n in range(100)]
    link_bps = int(sum(demand) * 0.5 * 8 / 86_400 * KNOBS.peak_factor) + 1
    boxes = [box("disk", 9_000, link=link_bps), box("flash", 1_000, link=20 * link_bps)]
    placed = place(problem(boxes, [100] * 100, demand), KNOBS)
    assert set(range(5)) <= on(placed, 1)
    assert placed.served.sum() > 0.99 * sum(demand)


def test_what_is_stored_stays_where_it_is() -> None:
    """A copy that a box holds costs nothing, whatever the order of boxes says."""
    site = problem([box("b1"), box("b2", fill=0)], [100] * 8, [1000.0] * 8, {"b1": set(range(8))})
    placed = place(site, KNOBS)
    assert set(placed.box.tolist()) == {0} and placed.held.all()


def test_what_nobody_asks_for_is_kept_while_there_is_room_but_never_fetched() -> None:
    """Deleting saves nothing; fetching costs."""
    sizes, demand = [100, 100, 950], [0.0, 0.0, 5000.0]
    assert on(place(problem([box("b")], sizes[:2], demand[:2], {"b": {0}}), KNOBS), 0) == {0}
    assert on(place(problem([box("b")], sizes, demand, {"b": {0}}), KNOBS), 0) == {2}


def test_a_small_gain_does_not_move_bytes() -> None:
    """What is there stays unless the newcomer beats it by more than the price of a fetch."""
    site = problem([box("b", 10)], [10, 10], [10.0, 12.0], {"b": {0}})
    assert on(place(site, PlanKnobs(repay_days=2)), 0) == {0}
    assert on(place(site, PlanKnobs(repay_days=10)), 0) == {1}


def test_an_unsure_newcomer_is_marked_down() -> None:
    """`caution` standard deviations are taken off what a fetch is worth, not off what is held."""
    spread = np.array([8.0, 8.0])
    site = problem([box("b", 10)], [10, 10], [10.0, 12.0], {"b": {0}}, spread=spread)
    assert on(place(site, PlanKnobs(caution=1.0)), 0) == {0}
    assert on(place(site, PlanKnobs(caution=0.0)), 0) == {1}


def test_launches_pins_and_bans_come_before_demand() -> None:
    """Two copies of what nobody asked for yet; a pin on its box; what is banned leaves."""
    boxes = [box("b1", 300), box("b2", 300)]
    floor = np.array([2, 0, 0, 0, 0, 0, 0])
    may = np.ones((7, 2), bool)
    may[2] = False
    pinned = np.zeros((7, 2), bool)
    pinned[1, 1] = True
    demand = [0.0, 0.0, 10**6, 500.0, 500.0, 500.0, 500.0]
    site = problem(boxes, [100] * 7, demand, {"b1": {2}}, floor=floor, may=may, pinned=pinned)
    placed = place(site, KNOBS)
    assert placed.copies[0] == 2
    assert 1 in on(placed, 1)
    assert placed.copies[2] == 0
    assert placed.copies[3:].sum() == 3


def test_a_full_box_spills_to_the_next_in_order() -> None:
    """Rendezvous names an order, not one place."""
    placed = place(problem([box("b1", 500), box("b2", 500)], [100] * 10, [1000.0] * 10), KNOBS)
    assert Counter(placed.box.tolist()) == {0: 5, 1: 5}


@pytest.mark.parametrize("change", ["added", "removed"])
def test_a_box_that_comes_or_goes_moves_its_share_and_little_else(change: str) -> None:
    """With the same demand, at most 1.2 times the box's fair share of the bytes moves."""
    rng = np.random.default_rng(11)
    count = 4_000
    size = rng.integers(50, 150, count)
    demand = (size * np.exp(rng.normal(-1, 2, count))).tolist()
    four = [box(f"b{n}", int(size.sum() * 0.15)) for n in range(4)]
    before, after = (four[:3], four) if change == "added" else (four, four[:3])
    first = place(problem(before, size.tolist(), demand), KNOBS)
    held = {b.id: on(first, column) for column, b in enumerate(before)}
    second = place(problem(after, size.tolist(), demand, held), KNOBS)
    moved = size[second.row[~second.held]].sum()
    stored = size[first.row].sum()
    fair = stored / len(before) if change == "removed" else stored / len(after)
    assert moved <= 1.2 * max(fair, four[3].disk_bytes)
    if change == "added":
        assert (second.box[~second.held] == 3).all()


def test_equal_inputs_give_equal_placements() -> None:
    """Whatever is computed twice is the same."""
    rng = np.random.default_rng(5)
    size, demand = rng.integers(1, 80, 500).tolist(), rng.integers(0, 10**6, 500).tolist()
    site = problem([box("b1", 5000), box("b2", 4000, 500)], size, demand, {"b2": set(range(99))})
    one, two = place(site, KNOBS), place(site, KNOBS)
    assert (one.row == two.row).all() and (one.box == two.box).all()


def test_the_price_of_each_point_is_told() -> None:
    """Ten equal titles: each tenth of the demand costs one title's bytes."""
    size, demand = np.full(10, 100), np.full(10, 7.0)
    assert points(size, demand, (0.5, 0.95)) == pytest.approx([500.0, 950.0])


def test_a_new_box_takes_only_its_share() -> None:
    """Of the assets, about a quarter choose the new fourth box first; the others keep theirs."""
    three = {f"b{n}": 1.0 for n in range(3)}
    four = {**three, "b3": 1.0}
    moved = 0
    for asset in range(4000):
        before, after = rendezvous_order(asset, three), rendezvous_order(asset, four)
        assert [name for name in after if name != "b3"] == before
        moved += after[0] == "b3"
    assert 0.22 < moved / 4000 < 0.28


def test_boxes_are_asked_in_proportion_to_their_disks() -> None:
    """A box of three times the disk is first for three times as many assets."""
    first = Counter(rendezvous_order(asset, {"big": 3.0, "small": 1.0})[0] for asset in range(4000))
    assert 2.6 < first["big"] / first["small"] < 3.4
