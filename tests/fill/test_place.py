"""A site's placement: feasible, stable, and copies in the order of what they are worth."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fill.config import PlanKnobs
from fill.place import Box, Wanted, copy_value, oracle_bytes, place_site
from fill.rendezvous import rendezvous_order

KNOBS = PlanKnobs()
GBPS = 10**9
BOXES = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 300), st.sets(st.integers(0, 11))),
    min_size=1,
    max_size=4,
).map(
    lambda rows: [
        Box(f"b{n}", disk, fill, GBPS, frozenset(held)) for n, (disk, fill, held) in enumerate(rows)
    ]
)
WANTED = st.lists(
    st.tuples(st.integers(1, 80), st.integers(0, 10**6)), min_size=1, max_size=12
).map(lambda rows: [Wanted(n, size, float(demand)) for n, (size, demand) in enumerate(rows)])


@settings(max_examples=200)
@given(BOXES, WANTED)
def test_no_box_holds_or_fetches_more_than_it_can(boxes: list[Box], wanted: list[Wanted]) -> None:
    """Disk and transfer bound every box; no box gets an asset twice; copies are numbered."""
    placement = place_site(boxes, wanted, KNOBS)
    sizes = {item.asset: item.size_bytes for item in wanted}
    copies = [copy for each in placement.copies.values() for copy in each]
    for box in boxes:
        mine = [copy for copy in copies if copy.box == box.id]
        assert sum(sizes[copy.asset] for copy in mine) <= box.disk_bytes
        assert sum(sizes[c.asset] for c in mine if c.asset not in box.held) <= box.fill_bytes
        assert all(copy.held == (copy.asset in box.held) for copy in mine)
        assert max(Counter(copy.asset for copy in mine).values(), default=0) <= 1
    for each in placement.copies.values():
        assert [copy.number for copy in each] == list(range(1, len(each) + 1))


@settings(max_examples=100)
@given(BOXES, WANTED)
def test_equal_inputs_give_equal_placements(boxes: list[Box], wanted: list[Wanted]) -> None:
    """Whatever the order in which assets are listed."""
    one = place_site(boxes, wanted, KNOBS)
    two = place_site(boxes, list(reversed(wanted)), KNOBS)
    assert dict(sorted(one.copies.items())) == dict(sorted(two.copies.items()))


@settings(max_examples=100)
@given(BOXES, WANTED)
def test_the_oracle_is_an_upper_bound(boxes: list[Box], wanted: list[Wanted]) -> None:
    """No placement serves more than all disks as one with nothing to pay."""
    placement = place_site(boxes, wanted, KNOBS)
    served = sum(
        item.demand_bytes * placement.served_share(item, KNOBS.peak_factor) for item in wanted
    )
    assert served <= oracle_bytes(boxes, wanted) + 1e-6


def box(name: str, disk: int = 1000, held: frozenset[int] = frozenset(), **more: int) -> Box:
    """A box with a large budget."""
    return Box(name, disk, more.get("fill", 10**6), more.get("link", GBPS), held)


def test_first_copies_come_before_second_ones() -> None:
    """A second copy is worth 2 % of the demand, so it waits for every first copy that beats it."""
    wanted = [Wanted(n, 100, 1000.0 - n) for n in range(20)]
    full = place_site([box("b1"), box("b2")], wanted, KNOBS)
    assert all(len(copies) == 1 for copies in full.copies.values())
    assert len(full.copies) == 20
    roomy = place_site([box("b1", 2000), box("b2", 2000)], wanted, KNOBS)
    assert all(len(copies) == 2 for copies in roomy.copies.values())


def test_an_asset_that_one_link_cannot_carry_gets_a_second_copy_early() -> None:
    """What one copy lacks in bandwidth counts in full."""
    a_day_at_400_mbps = 0.4 * GBPS / 8 * 86_400
    hot = Wanted(1, 100, a_day_at_400_mbps)
    one = copy_value(1, hot.demand_bytes, 0.5 * GBPS, KNOBS)
    two = copy_value(2, hot.demand_bytes, 0.5 * GBPS, KNOBS)
    assert two > 0.5 * one
    cold = [Wanted(n, 100, 10.0) for n in range(2, 20)]
    placed = place_site([box("b1", 300), box("b2", 300)], [hot, *cold], KNOBS)
    assert len(placed.copies[1]) == 2


def test_what_is_stored_stays_where_it_is() -> None:
    """A copy that a box holds costs nothing, whatever the order of boxes says."""
    wanted = [Wanted(n, 100, 1000.0) for n in range(8)]
    held = frozenset(range(8))
    placed = place_site([box("b1", held=held), box("b2", fill=0)], wanted, KNOBS)
    assert {copy.box for each in placed.copies.values() for copy in each} == {"b1"}
    assert all(copy.held for each in placed.copies.values() for copy in each)


def test_what_nobody_asks_for_is_kept_while_there_is_room_but_never_fetched() -> None:
    """Deleting saves nothing; fetching costs."""
    wanted = [Wanted(1, 100, 0.0), Wanted(2, 100, 0.0), Wanted(3, 950, 5000.0)]
    placed = place_site([box("b1", 1000, frozenset({1}))], wanted[:2], KNOBS)
    assert set(placed.copies) == {1}
    crowded = place_site([box("b1", 1000, frozenset({1}))], wanted, KNOBS)
    assert set(crowded.copies) == {3}


def test_a_full_box_spills_to_the_next_in_order() -> None:
    """Rendezvous names an order, not one place."""
    wanted = [Wanted(n, 100, 1000.0) for n in range(10)]
    placed = place_site([box("b1", 500), box("b2", 500)], wanted, KNOBS)
    used = Counter(copy.box for each in placed.copies.values() for copy in each)
    assert used == {"b1": 5, "b2": 5}


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
