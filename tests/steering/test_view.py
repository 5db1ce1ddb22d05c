"""The view of the fleet: order, gaps, epochs, silence, refusals, saving and going on."""

from __future__ import annotations

import pytest
from pyroaring import BitMap

from steering.locate import RouteTable
from steering.view import Silence, View
from wire.errors import ConflictError, NotFoundError, WireError
from wire.fleet import Fleet, read_fleet
from wire.keys import new_private_pem, parse_private_key, public_text
from wire.reports import Heartbeat, Inventory, Route, Routes, pack_bitmap
from wire.steer import Reason

EPOCH, OTHER = "00000000000000aa", "00000000000000bb"
KEY = public_text(parse_private_key(new_private_pem(), "k", "k"))
NAMES = ["a", "b", "c", "d", "e"]


def fleet(drained: str = "") -> Fleet:
    """Five boxes in one site, and the origin."""
    text = '[[site]]\nid = "isp"\nkind = "embedded"\n[[site]]\nid = "origin"\nkind = "origin"\n'
    for name in [*NAMES, "origin"]:
        site = "origin" if name == "origin" else "isp"
        state = "drained" if name == drained else "in_service"
        text += (
            f'[[appliance]]\nid = "{name}"\nsite = "{site}"\npublic_key = "{KEY}"\n'
            f'hosts = ["127.0.0.1"]\ndisks_bytes = [1]\nlink_bps = 1000000\n'
            f'origin_asns = [64500]\nstate = "{state}"\n'
        )
    return read_fleet(text.encode())


def view() -> View:
    """A view of a known catalogue, heartbeats every 10 s."""
    made = View(fleet(), Silence(10.0, 3))
    made.set_epoch(EPOCH)
    return made


def beat(name: str, seq: int, boot: int = 1, **more: object) -> Heartbeat:
    """A heartbeat of a box that is well."""
    values = {"appliance": name, "epoch": EPOCH, "boot": boot, "seq": seq, "health": 1.0, **more}
    return Heartbeat(**values)  # type: ignore[arg-type]


def inventory(seq: int, assets: list[int], base: int | None = None, **more: object) -> Inventory:
    """An inventory of box a."""
    values = {
        "appliance": "a", "epoch": EPOCH, "boot": 1, "seq": seq, "base_seq": base,
        "added": pack_bitmap(BitMap(assets)), **more,
    }  # fmt: skip
    return Inventory(**values)  # type: ignore[arg-type]


def routes(seq: int, *prefixes: str, asn: int = 64500) -> Routes:
    """Routes of box a."""
    found = tuple(Route(prefix=prefix, as_path=(asn,)) for prefix in prefixes)
    return Routes(appliance="a", epoch=EPOCH, boot=1, seq=seq, routes=found)


def reasons(seen: View, now_s: float) -> dict[str, str | None]:
    """Box → letter of why it is not offered (None: it is)."""
    boxes = seen.snapshot(now_s).boxes["isp"]
    return {box.id: box.passed.value if box.passed else None for box in boxes}


def held(seen: View) -> list[int]:
    """What box a holds."""
    return list(seen.records["a"].inventory)


def test_box_silent_for_three_heartbeats_is_not_offered_and_comes_back() -> None:
    """Up to 30 s it is offered, after that not, and its next heartbeat brings it back at once."""
    seen = view()
    for name in NAMES:
        seen.heartbeat(beat(name, 1), 100.0)
    for name in NAMES[1:]:
        seen.heartbeat(beat(name, 2), 125.0)
    assert reasons(seen, 130.0)["a"] is None
    assert reasons(seen, 130.1) == {"a": "H", "b": None, "c": None, "d": None, "e": None}
    seen.heartbeat(beat("a", 2), 131.0)
    assert reasons(seen, 131.1)["a"] is None


def test_silence_of_more_than_half_is_our_own_fault_and_is_said() -> None:
    """With 2 of 5 silent they are passed over; with 3 of 5 all are offered, and marked stale."""
    seen = view()
    for name in NAMES:
        seen.heartbeat(beat(name, 1), 100.0)
    for name in NAMES[2:]:
        seen.heartbeat(beat(name, 2), 120.0)
    assert not seen.snapshot(140.0).stale
    assert list(reasons(seen, 140.0).values()) == ["H", "H", None, None, None]
    for name in NAMES[3:]:
        seen.heartbeat(beat(name, 3), 149.0)
    assert seen.snapshot(150.5).stale and seen.state(150.5).stale
    assert set(reasons(seen, 150.5).values()) == {None}
    seen.heartbeat(beat("a", 2), 151.0)
    assert list(reasons(seen, 151.1).values()) == [None, "H", "H", None, None]


def test_boxes_never_heard_of_are_no_majority_and_the_drained_do_not_count() -> None:
    """A box that reports in a new fleet is offered; silence of the drained is normal."""
    seen = View(fleet(drained="b"), Silence(10.0, 3))
    seen.heartbeat(beat("a", 1), 100.0)
    seen.heartbeat(beat("b", 1), 100.0)
    seen.heartbeat(beat("c", 1), 100.0)
    seen.heartbeat(beat("a", 2), 150.0)
    assert reasons(seen, 151.0) == {"a": None, "b": "D", "c": "H", "d": "H", "e": "H"}


def test_older_heartbeat_is_refused_and_the_same_again_changes_nothing() -> None:
    """Order is (boot, seq): a retry is not a sign of life, a new boot begins anew."""
    seen = view()
    seen.heartbeat(beat("a", 5), 100.0)
    seen.heartbeat(beat("a", 5, health=0.0), 120.0)
    assert seen.state(120.0).boxes[0].silent_s == 20.0
    with pytest.raises(ConflictError, match="older"):
        seen.heartbeat(beat("a", 4), 121.0)
    assert seen.state(121.0).boxes[0].refused == {"heartbeat": 1}
    seen.heartbeat(beat("a", 1, boot=2, health=0.0, why="disk"), 122.0)
    assert seen.state(122.0).boxes[0].why == "disk"
    with pytest.raises(NotFoundError):
        seen.heartbeat(beat("zz", 1), 122.0)


def test_other_epoch_is_refused_and_shown_and_voids_what_was_held() -> None:
    """A report about another catalogue is no report; a new catalogue makes old inventories void."""
    seen = view()
    seen.inventory(inventory(1, [1, 2]))
    with pytest.raises(ConflictError, match=OTHER):
        seen.inventory(inventory(2, [3], epoch=OTHER))
    state = seen.state(0.0).boxes[0]
    assert state.assets == 2 and state.refused == {"inventory: other epoch": 1}
    assert OTHER in state.last_refusal
    seen.set_epoch(OTHER)
    assert seen.state(0.0).boxes[0].assets == 0
    assert seen.heartbeat(beat("a", 1, epoch=OTHER, inventory_seq=1), 1.0).send_inventory


def test_delta_after_a_gap_asks_for_the_whole_and_changes_nothing() -> None:
    """A delta counts only on the very inventory it was made from."""
    seen = view()
    assert seen.inventory(inventory(1, [1, 2, 3])).seq == 1
    removed = pack_bitmap(BitMap([1]))
    assert not seen.inventory(inventory(2, [7], base=1, removed=removed)).send_full
    assert held(seen) == [2, 3, 7]
    reply = seen.inventory(inventory(5, [9], base=4))
    assert reply.send_full and reply.seq == 2 and held(seen) == [2, 3, 7]
    assert seen.inventory(inventory(3, [9], base=2, boot=2)).send_full
    assert seen.inventory(inventory(6, [9])).seq == 6
    assert held(seen) == [9]
    with pytest.raises(ConflictError):
        seen.inventory(inventory(5, [1]))


def test_inventory_that_is_no_bitmap_leaves_the_last_good_one() -> None:
    """The refusal is counted and shown."""
    seen = view()
    seen.inventory(inventory(1, [1]))
    with pytest.raises(WireError, match="roaring"):
        seen.inventory(inventory(2, [], added="AAAA"))
    assert held(seen) == [1] and seen.records["a"].refused["inventory"] == 1


def test_heartbeat_reply_asks_for_what_is_missing() -> None:
    """Nothing held: send both. Held as told: nothing. After a new boot: both again."""
    seen = view()
    first = seen.heartbeat(beat("a", 1, inventory_seq=1, routes_seq=1), 0.0)
    assert first.send_inventory and first.send_routes
    seen.inventory(inventory(1, [1]))
    seen.routes(routes(1, "10.0.0.0/8"))
    calm = seen.heartbeat(beat("a", 2, inventory_seq=1, routes_seq=1), 1.0)
    assert not calm.send_inventory and not calm.send_routes
    again = seen.heartbeat(beat("a", 1, boot=2, inventory_seq=1, routes_seq=1), 2.0)
    assert again.send_inventory and again.send_routes


def test_bad_routes_are_dropped_one_by_one_and_counted() -> None:
    """The good ones of the same report count; a foreign AS attracts nobody."""
    seen = view()
    report = routes(1, "10.1.0.0/16", "10.1.2.128/25", "10.0.0.0/7", "nonsense", "2001:db8::/49")
    reply, changed = seen.routes(report)
    assert reply.taken == 1 and changed
    assert reply.dropped == {
        "longer than /24": 1, "shorter than /8": 1, "not a prefix": 1, "longer than /48": 1
    }  # fmt: skip
    masks = ("10.0.0.0/255.255.0.0", "10.0.0.0/0.0.255.255", "fe80::%eth0/48", "10.0.0.0")
    reply, _ = seen.routes(routes(2, *masks))  # none of these would be found in the table
    assert reply.taken == 0 and reply.dropped == {"not a prefix": 4}
    reply, _ = seen.routes(routes(3, "10.1.0.0/16", asn=666))
    assert reply.taken == 0 and reply.dropped == {"origin AS not allowed": 1}
    assert seen.state(0.0).boxes[0].refused == {"route: origin AS not allowed": 1}


def test_same_routes_again_do_not_ask_for_a_new_table() -> None:
    """Only a change is worth building for."""
    seen = view()
    assert seen.routes(routes(1, "10.1.0.0/16"))[1]
    assert not seen.routes(routes(2, "10.1.0.0/16"))[1]
    assert seen.routes(routes(3, "10.2.0.0/16"))[1]


def test_snapshot_is_the_same_object_until_something_changes() -> None:
    """Decisions share one frozen state; a report makes a new one and leaves the old one alone."""
    seen = view()
    seen.heartbeat(beat("a", 1), 100.0)
    seen.inventory(inventory(1, [1]))
    old = seen.snapshot(101.0)
    assert seen.snapshot(102.0) is old
    seen.inventory(inventory(2, [2], base=1))
    new = seen.snapshot(103.0)
    assert list(new.boxes["isp"][0].holds) == [1, 2] and list(old.boxes["isp"][0].holds) == [1]


@pytest.mark.parametrize(
    "more, letter",
    [
        ({"draining": True}, Reason.DRAINING),
        ({"health": 0.0}, Reason.HEALTH),
        ({"admit": 0.0}, Reason.LOAD),
    ],
)
def test_what_a_box_says_of_itself_is_obeyed(more: dict[str, object], letter: Reason) -> None:
    """Draining, unwell or full: not offered, with the letter."""
    seen = view()
    seen.heartbeat(beat("a", 1, **more), 0.0)
    assert reasons(seen, 1.0)["a"] == letter.value


def test_operator_drains_a_box_here_and_takes_it_back() -> None:
    """The drain of one replica is an operator's word, like the fleet file's."""
    seen = view()
    seen.heartbeat(beat("a", 1), 0.0)
    seen.drain("a", True)
    assert reasons(seen, 1.0)["a"] == "D"
    seen.drain("a", False)
    assert reasons(seen, 1.1)["a"] is None


def restored(seen: View, saved_s: float, age_s: float, now_s: float) -> View:
    """Another view that goes on from what the first one saved."""
    held = {name: record.save_inventory() for name, record in seen.records.items()}
    routes = {name: record.save_routes() for name, record in seen.records.items()}
    again = view()
    again.restore(
        seen.save(saved_s),
        routes,
        lambda name: BitMap.deserialize(held[name].assets),
        age_s,
        now_s,
    )
    again.set_table(RouteTable.build(again.sources(now_s)))
    return again


def test_restart_goes_on_from_what_was_saved() -> None:
    """Inventories, routes, drains and order survive; the time in between counts as silence."""
    seen = view()
    for name in NAMES:
        seen.heartbeat(beat(name, 7), 100.0)
    seen.inventory(inventory(3, [1, 2]))
    seen.routes(routes(2, "10.1.0.0/16"))
    seen.set_table(RouteTable.build(seen.sources(0.0)))
    seen.drain("b", True)
    again = restored(seen, 102.0, 5.0, 9000.0)
    state = again.state(9000.0)
    assert state.boxes[0].silent_s == 7.0 and state.boxes[0].assets == 2
    assert again.prefixes == 1
    assert reasons(again, 9000.0) == {"a": None, "b": "D", "c": None, "d": None, "e": None}
    with pytest.raises(ConflictError):
        again.heartbeat(beat("a", 6), 9001.0)
    assert not again.heartbeat(beat("a", 8, inventory_seq=3, routes_seq=2), 9001.0).send_inventory


def test_long_absence_makes_all_stale_and_heartbeats_heal_it() -> None:
    """After an hour away everything is offered as it was, and said to be stale."""
    seen = view()
    for name in NAMES:
        seen.heartbeat(beat(name, 1), 100.0)
    again = restored(seen, 100.0, 3600.0, 50.0)
    assert again.snapshot(50.0).stale and set(reasons(again, 50.0).values()) == {None}
    for name in NAMES[:3]:
        again.heartbeat(beat(name, 2), 60.0)
    assert not again.snapshot(61.0).stale
    assert list(reasons(again, 61.0).values()) == [None, None, None, "H", "H"]
