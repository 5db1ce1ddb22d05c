"""Find out what the disks hold, and clean up what a crash left: at a start, when a disk comes back.

With rows in the index a listing of names is enough; folders without a row are looked into, rows
without a folder go. What is not whole goes back to `incoming/`, where every byte is checked again.
All calls block.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from oca.held import Held
from oca.partfile import StoreError, blame
from oca.seats import Seat
from oca.store import (
    INCOMING,
    SHELF,
    Store,
    assets_in,
    empty,
    entry_in,
    part_path,
    place,
    whole,
)
from wire.durable import sync_folder
from wire.log import get

QUARANTINE = "quarantine"
QUARANTINE_MAX = 16
"""Rotten files kept on a disk: enough to see a pattern, and bad sectors stay taken a while."""
BATCH = 1000
"""Folders looked into between two words to whoever waits, and two transactions of the index."""

Tell = Callable[[dict[int, Held]], None]
_log = get("store")


def recover(store: Store) -> dict[int, Held]:
    """Everything that the disks in use hold; a disk that fails at that is switched off."""
    if store.read_only:
        return store.listing()
    held: dict[int, Held] = {}
    for seat in store.disks.live:
        try:
            merge(store, held, take_stock(store, seat))
        except StoreError as exc:
            store.disks.switch_off(seat, str(exc))
    return held


def is_known(store: Store, seat: Seat) -> bool:
    """Whether the index has all of a disk, so that taking stock of it is quick."""
    return store.index is not None and store.index.is_complete(seat.uuid)


def take_stock(store: Store, seat: Seat, tell: Tell = lambda _found: None) -> dict[int, Held]:
    """What one disk holds, in use or not; cleans up there, and brings the index up to date.

    `tell` hears of what was not in the index, bit by bit. Raises StoreError.
    """
    empty(seat)
    rows = store.index.held(seat.uuid) if store.index is not None else {}
    names = dict(assets_in(seat, SHELF))
    held = {asset: row for asset, row in rows.items() if asset in names}
    if store.index is not None:
        store.index.remove(rows.keys() - held.keys(), seat.uuid)
    fresh: dict[int, Held] = {}
    for asset in sorted(names.keys() - held.keys()):
        found = whole(names[asset], seat.uuid)
        if found is None:
            send_back(store, seat, asset)
        else:
            fresh[asset] = found
        if len(fresh) >= BATCH:
            _note(store, fresh, held, tell)
            fresh = {}
    _note(store, fresh, held, tell)
    _clear_incoming(store, seat, held)
    if store.index is not None:
        store.index.complete(seat.uuid)
    return held


def _note(store: Store, fresh: dict[int, Held], held: dict[int, Held], tell: Tell) -> None:
    if fresh:
        held.update(fresh)
        tell(fresh)
        if store.index is not None:
            store.index.put(fresh)


def merge(store: Store, held: dict[int, Held], found: Mapping[int, Held]) -> None:
    """Add what one disk holds to what the others do; what is there twice goes from the disk where
    it is looked for later. Raises StoreError."""
    for asset, entry in found.items():
        other = held.get(asset)
        if other is None or other.disk == entry.disk:
            held[asset] = entry
            continue
        first = next(s.uuid for s in store.disks.where(asset) if s.uuid in (entry.disk, other.disk))
        loser = other.disk if entry.disk == first else entry.disk
        held[asset] = entry if entry.disk == first else other
        seat = next(seat for seat in store.disks.seats if seat.uuid == loser)
        _log.warning("an asset is on two disks, one copy goes", asset=asset, path=seat.path)
        store.retract_from(seat, asset)


def send_back(store: Store, seat: Seat, asset: int) -> None:
    """Not whole after all: what is left of it is checked again, byte by byte, on resume. On a disk
    where it does not belong any more it goes. Raises StoreError."""
    root = Path(seat.path)
    folder, target = place(root, SHELF, asset), place(root, INCOMING, asset)
    if store.index is not None:
        store.index.remove((asset,), seat.uuid)
    found = entry_in(folder)
    strange = store.disks.home(asset).key != seat.key
    with blame(folder):
        if found is None or strange or target.exists():
            shutil.rmtree(folder)
            return
        for file in found[0].files:
            if (folder / file.name).exists():
                (folder / file.name).rename(part_path(folder, file))
        folder.rename(target)
        sync_folder(target.parent)
        sync_folder(folder.parent)


def set_aside(store: Store, seat: Seat, asset: int, names: Iterable[str]) -> None:
    """Move rotten files of an asset out of sight, for whoever wants to look at them; the rest goes
    back to `incoming/`. The oldest of QUARANTINE_MAX leave. Raises StoreError."""
    root = Path(seat.path)
    if store.index is not None:
        store.index.remove((asset,), seat.uuid)
    folder, aside = place(root, SHELF, asset), root / QUARANTINE
    with blame(aside):
        aside.mkdir(exist_ok=True)
        for name in names:
            if name:
                with suppress(FileNotFoundError):
                    (folder / name).rename(aside / f"{asset}-{name}")
                    os.utime(aside / f"{asset}-{name}")
        sync_folder(aside)
        kept = sorted(aside.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in kept[QUARANTINE_MAX:]:
            old.unlink()
    send_back(store, seat, asset)


def _clear_incoming(store: Store, seat: Seat, held: Mapping[int, Held]) -> None:
    """Drop what is on its way in for nothing, or where it does not belong."""
    for asset, folder in assets_in(seat, INCOMING):
        strange = store.disks.home(asset).key != seat.key
        if strange or asset in held or entry_in(folder) is None:
            with blame(folder):
                shutil.rmtree(folder)
