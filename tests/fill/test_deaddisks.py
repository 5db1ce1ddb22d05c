"""A box with a disk switched off: what belongs there is planned elsewhere, and its room is less."""

from __future__ import annotations

import random

import numpy as np
from pyroaring import BitMap

from fill.deaddisks import live_share, storable
from fill.inventory import Stored
from oca.seats import Disks, Seat
from tests.fill.ground import Ground
from wire.codec import encode
from wire.durable import write_durably
from wire.reports import DiskTold, pack_bitmap

DISKS = tuple(DiskTold(key=f"seat{n}", bytes=1000, live=n > 0) for n in range(8))


def box_of(disks: tuple[DiskTold, ...]) -> Disks:
    """The disks as the box itself has them."""
    return Disks([Seat(key=d.key, path=f"/{d.key}", weight_bytes=d.bytes) for d in disks])


def test_the_planner_knows_where_a_box_puts_an_asset() -> None:
    """Disk by disk as the box does it, for ids of any size and disks of any."""
    chance = random.Random(3)
    for count in (1, 2, 5, 64):
        disks = tuple(
            DiskTold(key=chance.randbytes(8).hex(), bytes=chance.randint(1, 10**14), live=n % 2 > 0)
            for n in range(count)
        )
        ids = np.array([0, 1, 2**31 - 1, *chance.sample(range(2**31), 500)], np.int32)
        live, box = {disk.key: disk.live for disk in disks}, box_of(disks)
        expected = [live[box.home(int(asset)).key] for asset in ids]
        assert storable(ids, disks).tolist() == expected
    assert storable(ids, ()).all() and live_share(()) == 1.0
    assert live_share(DISKS) == 7 / 8


def test_the_share_of_a_dead_disk_goes_to_its_neighbours(ground: Ground) -> None:
    """Nothing is planned that the box could not store, what it lost is planned for another box of
    the site, and no brake takes the loss for a plan that has gone mad."""
    ids = sorted(ground.synthetic(150, 1_000).entries)
    ground.demand(*(("2026-11-22", "isp-a", asset, 10**6 // (asset + 1)) for asset in ids))
    ground.fill("plan")
    files, box = ground.files, box_of(DISKS)
    before = {item.asset for item in planned(ground)["a1"]}
    lost = {asset for asset in ids if box.home(asset).key == "seat0"}
    assert lost & before
    told = Stored(
        appliance="a1", epoch=files.read_catalogue().epoch, boot=1, seq=1,
        assets=pack_bitmap(BitMap(before - lost)), disks=DISKS,
    )  # fmt: skip
    files.inventory("a1").parent.mkdir()
    write_durably(files.inventory("a1"), encode(told))
    ground.fill("plan")
    after = planned(ground)
    assert not {item.asset for item in after["a1"]} & lost
    room = next(b.disk_bytes for b in ground.boxes if b.id == "a1") * live_share(DISKS)
    assert 0 < sum(item.bytes for item in after["a1"]) <= room
    assert min(lost & before) in {item.asset for item in after["a2"]}


def planned(ground: Ground):  # type: ignore[no-untyped-def]
    """Box → what the plan in force wants there."""
    return {name: plan.desired for name, plan in ground.plans().items()}
