"""Number the inventories and say what changed since the one that a receiver has. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import UNSET
from pyroaring import BitMap

from wire.reports import DiskTold, Inventory, pack_bitmap


class Ledger:
    """The present inventory and its number, which grows with every change."""

    def __init__(self) -> None:
        """Number 1 is the first one that `update` gives."""
        self.seq = 0
        self.offered = BitMap()
        self.disks: tuple[DiskTold, ...] = ()

    def update(self, offered: BitMap, disks: tuple[DiskTold, ...] = ()) -> int:
        """The number of this inventory: the present one when nothing changed."""
        if offered != self.offered or disks != self.disks or not self.seq:
            self.seq += 1
            self.offered, self.disks = offered, disks
        return self.seq


@dataclass(slots=True)
class Seen:
    """What one receiver has: inventory number (0: none) and content."""

    seq: int = 0
    offered: BitMap = field(default_factory=BitMap)


def report(ledger: Ledger, seen: Seen, appliance: str, epoch: str, boot: int) -> Inventory:
    """What to send to a receiver that has `seen`: a delta, or everything when it has nothing."""
    if not seen.seq:
        added, removed, base = ledger.offered, BitMap(), None
    else:
        added, removed, base = (
            ledger.offered - seen.offered,
            seen.offered - ledger.offered,
            seen.seq,
        )
    return Inventory(
        appliance=appliance,
        epoch=epoch,
        boot=boot,
        seq=ledger.seq,
        base_seq=base,
        added=pack_bitmap(added),
        removed=pack_bitmap(removed) if removed else "",
        disks=ledger.disks or UNSET,
    )
