"""The fleet as last believed, on this replica's own disk: a restart answers from it at once.

`fleet.json` has the small part of every box and is written every few seconds; `boxes/<id>.json`
has a box's inventory and routes and is written when they changed.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Literal

import msgspec

from steering.record import SavedReports
from steering.view import SavedBox, View
from wire.codec import decode, encode
from wire.durable import write_durably
from wire.errors import WireError
from wire.log import get
from wire.reports import unpack_bitmap

_log = get("snapshot")


class SavedFleet(msgspec.Struct, frozen=True, kw_only=True):
    """`fleet.json`: every box's small part, and when it was written (Unix seconds)."""

    version: Literal[1] = 1
    saved_s: float
    boxes: tuple[SavedBox, ...]


class SnapshotStore:
    """Writes the view to disk, and reads it back after a restart."""

    def __init__(self, folder: Path, view: View) -> None:
        """`folder` is made when it is not there."""
        self._file, self._boxes, self._view = folder / "fleet.json", folder / "boxes", view

    def load(self) -> None:
        """Go on from the last snapshot; a file that cannot be read is left out, and said so."""
        self._boxes.mkdir(parents=True, exist_ok=True)
        try:
            saved = decode(SavedFleet, self._file.read_bytes(), str(self._file))
        except FileNotFoundError:
            _log.info("no snapshot yet: the view begins empty")
            return
        except (OSError, WireError) as exc:
            _log.warning("the snapshot is not used", why=str(exc))
            return
        reports: dict[str, SavedReports] = {}
        for box in saved.boxes:
            report = self._load_box(box.appliance)
            if report is not None:
                reports[box.appliance] = report
        age_s = time.time() - saved.saved_s
        self._view.restore(saved.boxes, reports, age_s, time.monotonic())
        _log.info("going on from the snapshot", stale_s=round(age_s, 1), boxes=len(saved.boxes))

    async def run(self, every_s: float) -> None:
        """Save every so many seconds until cancelled; a disk that refuses is said and retried."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.save()
            except OSError as exc:
                _log.error("the snapshot was not written", why=str(exc))

    async def save(self) -> None:
        """Write what changed, durably, off the loop; raises OSError."""
        fresh = sorted(self._view.fresh_reports)
        self._view.fresh_reports.clear()
        reports = {name: self._view.records[name].save() for name in fresh}
        boxes = SavedFleet(saved_s=time.time(), boxes=tuple(self._view.save(time.monotonic())))
        try:
            await asyncio.to_thread(self._write, reports, boxes)
        except OSError:
            self._view.fresh_reports.update(fresh)
            raise

    def _write(self, reports: dict[str, SavedReports], boxes: SavedFleet) -> None:
        for name, report in reports.items():
            write_durably(self._boxes / f"{name}.json", encode(report))
        write_durably(self._file, encode(boxes))

    def _load_box(self, name: str) -> SavedReports | None:
        path = self._boxes / f"{name}.json"
        try:
            report = decode(SavedReports, path.read_bytes(), str(path))
            unpack_bitmap(report.inventory, str(path))
            return report
        except FileNotFoundError:
            return None
        except (OSError, WireError) as exc:
            _log.warning("a box's reports are not used", appliance=name, why=str(exc))
            return None
