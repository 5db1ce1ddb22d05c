"""What an appliance reported to hold, kept from report to report. Pure.

A full report replaces everything; a delta applies to the report it names, and to no other: a gap
is answered by asking for a full one, so the picture heals by itself.
"""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec import UNSET
from pyroaring import BitMap

from fill.arrays import Ints
from wire.errors import ConflictError
from wire.ids import ApplianceId, Count, Epoch
from wire.reports import DiskTold, Inventory, InventoryReply, pack_bitmap, unpack_bitmap


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The last inventory of one appliance: its number, its assets as a bitmap in base64, and its
    disks as long as one of them is switched off."""

    appliance: ApplianceId
    epoch: Epoch
    boot: Count
    seq: Count
    assets: str
    disks: tuple[DiskTold, ...] = ()


def take(
    stored: Stored | None, message: Inventory, epoch: str
) -> tuple[Stored | None, InventoryReply]:
    """The inventory after `message`, and the reply. `None` instead: nothing is to be written.

    Raises ConflictError for another catalogue's world, WireError for a broken bitmap.
    """
    if message.epoch != epoch:
        raise ConflictError(
            f"this inventory belongs to the catalogue {message.epoch}, fill's is {epoch}"
        )
    known = stored if stored and stored.epoch == epoch else None
    what = f"inventory of {message.appliance}"
    added = unpack_bitmap(message.added, f"{what}: added")
    removed = unpack_bitmap(message.removed, f"{what}: removed")
    reply = InventoryReply(boot=message.boot, seq=message.seq)
    if known and known.boot == message.boot and known.seq >= message.seq:
        return None, InventoryReply(boot=known.boot, seq=known.seq)  # an old one, or sent again
    if message.base_seq is None:
        return _stored(message, pack_bitmap(added)), reply
    if known is None or (known.boot, known.seq) != (message.boot, message.base_seq):
        held = (known.boot, known.seq) if known else (0, 0)
        return None, InventoryReply(boot=held[0], seq=held[1], send_full=True)
    assets = (unpack_bitmap(known.assets, what) | added) - removed
    return _stored(message, pack_bitmap(assets)), reply


def ids_of(stored: Stored, next_id: int) -> Ints:
    """The asset ids of a stored inventory, rising, of those below `next_id`: a megabyte of bitmap
    may name four billion that never were."""
    held = unpack_bitmap(stored.assets, f"inventory of {stored.appliance}")
    return np.array((held & BitMap(range(next_id))).to_array(), np.int32)


def _stored(message: Inventory, assets: str) -> Stored:
    return Stored(
        appliance=message.appliance,
        epoch=message.epoch,
        boot=message.boot,
        seq=message.seq,
        assets=assets,
        disks=() if message.disks is UNSET else message.disks,
    )
