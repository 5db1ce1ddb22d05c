"""The fleet as last believed, on this replica's own disk: a restart answers from it at once.

`fleet.msgpack` has the small part of every box and is written every few seconds. A box's inventory
and routes are files of their own, written when they changed: 10,000 inventories are a gigabyte, so
after a start they are read as they are asked for, and the rest behind the answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from pyroaring import BitMap

from steering.record import SavedInventory, SavedRoutes
from steering.shelved import Shelved
from steering.view import SavedBox, View
from wire.durable import write_durably
from wire.errors import WireError
from wire.log import get

T = TypeVar("T")
AT_ONCE = 32  # inventories read between two looks at the loop: ~3 ms
_log = get("snapshot")


class SavedFleet(msgspec.Struct, frozen=True, kw_only=True):
    """`fleet.msgpack`: every box's small part, and when it was written (Unix seconds)."""

    version: Literal[2] = 2
    saved_s: float
    boxes: tuple[SavedBox, ...]


class SnapshotStore:
    """Writes the view to disk, and reads it back after a restart."""

    def __init__(self, folder: Path, view: View) -> None:
        """`folder` is made when it is not there."""
        self._file, self._boxes, self._view = folder / "fleet.msgpack", folder / "boxes", view

    def load(self) -> None:
        """Go on from the last snapshot; a file that cannot be read is left out, and said so."""
        self._boxes.mkdir(parents=True, exist_ok=True)
        try:
            saved = msgspec.msgpack.decode(self._file.read_bytes(), type=SavedFleet)
        except FileNotFoundError:
            _log.info("no snapshot yet: the view begins empty")
            return
        except (OSError, msgspec.DecodeError) as exc:
            _log.warning("the snapshot is not used", why=str(exc))
            return
        routes = dict(self._routes())
        age_s, now_s = time.time() - saved.saved_s, time.monotonic()
        self._view.restore(saved.boxes, routes, self._held, age_s, now_s)
        _log.info("going on from the snapshot", stale_s=round(age_s, 1), boxes=len(saved.boxes))

    async def unshelve(self) -> None:
        """Read every inventory that nobody asked for yet, a few at a time."""
        names = [
            name for name, box in self._view.records.items() if isinstance(box.inventory, Shelved)
        ]
        for begin in range(0, len(names), AT_ONCE):
            some = names[begin : begin + AT_ONCE]
            read = await asyncio.to_thread(self._read_all, some)
            for name, assets in zip(some, read, strict=True):
                self._view.unshelve(name, assets)

    async def run(self, every_s: float) -> None:
        """Save every so many seconds until cancelled; a disk that refuses is said and retried."""
        await self.unshelve()
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.save()
            except OSError as exc:
                _log.error("the snapshot was not written", why=str(exc))

    async def save(self) -> None:
        """Write what changed, durably, off the loop; raises OSError."""
        view = self._view
        inventories, view.fresh_inventories = view.fresh_inventories, set()
        routes, view.fresh_routes = view.fresh_routes, set()
        files: dict[str, SavedInventory | SavedRoutes] = {}
        for name in inventories & view.records.keys():
            files[f"{name}.inventory"] = view.records[name].save_inventory()
        for name in routes & view.records.keys():
            files[f"{name}.routes"] = view.records[name].save_routes()
        boxes = SavedFleet(saved_s=time.time(), boxes=tuple(view.save(time.monotonic())))
        try:
            await asyncio.to_thread(self._write, files, boxes)
        except OSError:
            view.fresh_inventories |= inventories
            view.fresh_routes |= routes
            raise

    def _write(self, files: dict[str, SavedInventory | SavedRoutes], boxes: SavedFleet) -> None:
        # What a box holds before what is said of it: a crash between leaves more, never less.
        for name, value in files.items():
            write_durably(self._boxes / name, msgspec.msgpack.encode(value))
        write_durably(self._file, msgspec.msgpack.encode(boxes))

    def _routes(self) -> Iterator[tuple[str, SavedRoutes]]:
        for path in self._boxes.glob("*.routes"):
            found = self._read(path, SavedRoutes)
            if found is not None and path.stem in self._view.records:
                yield path.stem, found

    def _read_all(self, names: Sequence[str]) -> list[BitMap | None]:
        return [self._assets(name) for name in names]

    def _held(self, name: str) -> BitMap:
        return self._assets(name) or BitMap()

    def _assets(self, name: str) -> BitMap | None:
        """What a box held; None when it cannot be read."""
        found = self._read(self._boxes / f"{name}.inventory", SavedInventory)
        try:
            return None if found is None else BitMap.deserialize(found.assets)
        except ValueError as exc:
            _log.warning("a box's inventory is not used", appliance=name, why=str(exc))
            return None

    def _read(self, path: Path, kind: type[T]) -> T | None:
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, WireError) as exc:
            _log.warning("a box's report is not used", file=path.name, why=str(exc))
            return None
