"""The store: `a/<asset>/` exists exactly when every file of the asset is stored and verified.

An asset is gathered in `incoming/<asset>/` and appears by one rename; it leaves by one rename to
`trash/`. So the inventory is the listing of `a/`, workers share nothing with the agent, and a crash
at any instant leaves whole, verified assets plus leftovers that `recover` finds. All calls block.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from oca.held import Held
from oca.partfile import PartFile, StoreError, blame
from wire.catalogue import Asset, File
from wire.codec import decode
from wire.durable import sync_folder, write_durably
from wire.errors import WireError
from wire.ids import ASSET_ID_MAX

ENTRY = ".asset.json"
"""The catalogue's entry, its exact bytes, in the asset's folder; dot files are never served."""

SHELF, INCOMING, TRASH = "a", "incoming", "trash"


class Store:
    """One appliance's disks. The agent is the only one who writes; several threads may.

    `read_only` is the origin's: the catalogue made its tree, nothing is ever moved in it.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        """The folders are made where they are missing; raises StoreError."""
        self.root, self.read_only = root, read_only
        if read_only:
            return
        with blame(root):
            for folder in (SHELF, INCOMING, TRASH):
                (root / folder).mkdir(parents=True, exist_ok=True)

    def disk_of(self, asset: int) -> Path:
        """The root of the disk that an asset lives on. THE seam for several disks."""
        return self.root

    def shelf(self, asset: int) -> Path:
        """Where an asset is when it is whole."""
        return self.disk_of(asset) / SHELF / str(asset)

    def incoming(self, asset: int) -> Path:
        """Where an asset is gathered."""
        return self.disk_of(asset) / INCOMING / str(asset)

    def disks(self) -> list[Path]:
        """Every disk's root."""
        return [self.root]

    def free_bytes(self) -> int:
        """Bytes that may still be written, by the file systems' word; raises StoreError."""
        with blame(self.root):
            found = [os.statvfs(disk) for disk in self.disks()]
        return sum(stat.f_bavail * stat.f_frsize for stat in found)

    # --- what is held ----------------------------------------------------------------------------

    def listing(self, known: Mapping[int, Held] = {}) -> dict[int, Held]:
        """Every whole asset; those `known` are only looked for, not into. A folder that is not
        whole is left out: `recover` deals with it."""
        found: dict[int, Held] = {}
        for folder in self._folders(SHELF):
            entry = known.get(int(folder.name)) or self._whole(folder)
            if entry is not None:
                found[int(folder.name)] = entry
        return found

    def recover(self) -> dict[int, Held]:
        """Once at start: empty the trash, send what is not whole back to `incoming/`, drop what
        cannot be resumed there. Returns what is held; raises StoreError."""
        if self.read_only:
            return self.listing()
        self.empty_trash()
        held: dict[int, Held] = {}
        for folder in self._folders(SHELF):
            entry = self._whole(folder)
            if entry is None:
                self._send_back(folder)
            else:
                held[int(folder.name)] = entry
        for folder in self._folders(INCOMING):
            if int(folder.name) in held or self._entry(folder) is None:
                with blame(folder):
                    shutil.rmtree(folder)
        return held

    def entry(self, asset: int) -> bytes | None:
        """The exact bytes of a held asset's catalogue entry, or None."""
        try:
            return (self.shelf(asset) / ENTRY).read_bytes()
        except OSError:
            return None

    def _folders(self, name: str) -> Iterator[Path]:
        for disk in self.disks():
            with blame(disk / name):
                try:
                    folders = sorted((disk / name).iterdir())
                except FileNotFoundError:
                    continue
            yield from (folder for folder in folders if _is_asset(folder.name))

    def _entry(self, folder: Path) -> tuple[Asset, bytes] | None:
        try:
            raw = (folder / ENTRY).read_bytes()
            asset = decode(Asset, raw, str(folder / ENTRY))
        except (OSError, WireError):
            return None
        return (asset, raw) if str(asset.id) == folder.name else None

    def _whole(self, folder: Path) -> Held | None:
        found = self._entry(folder)
        if found is None:
            return None
        asset, raw = found
        if all(_size(folder / file.name) == file.bytes for file in asset.files):
            return Held(asset.bytes, hashlib.sha256(raw).hexdigest())
        return None

    def _send_back(self, folder: Path) -> None:
        """Not whole after all: what is left of it is checked again, byte by byte, on resume."""
        target = self.disk_of(int(folder.name)) / INCOMING / folder.name
        found = self._entry(folder)
        with blame(folder):
            if found is None or target.exists():
                shutil.rmtree(folder)
                return
            for file in found[0].files:
                if (folder / file.name).exists():
                    (folder / file.name).rename(part_path(folder, file))
            folder.rename(target)
            sync_folder(target.parent)
            sync_folder(folder.parent)

    # --- an asset comes --------------------------------------------------------------------------

    def begin(self, raw: bytes) -> Asset:
        """Make, or take up again, the incoming folder of the asset whose catalogue entry is `raw`.

        Raises WireError when it is not an entry, StoreError when the disk refuses.
        """
        asset = decode(Asset, raw, "catalogue entry")
        folder = self.incoming(asset.id)
        with blame(folder):
            found = self._entry(folder)
            if found is None or found[1] != raw:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                write_durably(folder / ENTRY, raw)
        return asset

    def begun(self, asset: int) -> bytes | None:
        """The catalogue entry of an incoming asset, or None."""
        found = self._entry(self.incoming(asset))
        return found[1] if found else None

    def missing(self, asset: Asset) -> list[File]:
        """The files of an incoming asset that are not there whole yet."""
        folder = self.incoming(asset.id)
        return [file for file in asset.files if _size(folder / file.name) != file.bytes]

    def part(self, asset: Asset, file: File) -> PartFile:
        """The file on its way in; not opened yet."""
        folder = self.incoming(asset.id)
        return PartFile(part_path(folder, file), folder / file.name, file)

    def publish(self, asset: Asset) -> Held:
        """Make an incoming asset visible; raises StoreError when a file is missing."""
        folder, target = self.incoming(asset.id), self.shelf(asset.id)
        missing = self.missing(asset)
        if missing:
            raise StoreError(f"{folder}: {missing[0].name} is not there", errno.ENOENT)
        with blame(folder):
            sync_folder(folder)
            folder.rename(target)
            sync_folder(target.parent)
            sync_folder(folder.parent)
            raw = (target / ENTRY).read_bytes()
        return Held(asset.bytes, hashlib.sha256(raw).hexdigest())

    def discard(self, asset: int) -> None:
        """Give up an incoming asset; raises StoreError.

        It may be on its way to the shelf at this very moment: one rename of the two wins, so that
        it is either visible whole or gone, and never emptied in sight.
        """
        gone = self._to_trash(self.incoming(asset))
        if gone is not None:
            shutil.rmtree(gone, ignore_errors=True)

    def gathering(self) -> dict[int, int]:
        """Incoming assets and the bytes that each takes already."""
        found: dict[int, int] = {}
        for folder in self._folders(INCOMING):
            sizes = (_size(path) for path in folder.iterdir() if path.name != ENTRY)
            found[int(folder.name)] = sum(size for size in sizes if size > 0)
        return found

    # --- an asset leaves -------------------------------------------------------------------------

    def retract(self, asset: int) -> bool:
        """Take an asset out of sight, by one rename; False when it is not there.

        The caller raises the generation word, then empties the trash. Raises StoreError.
        """
        folder = self.shelf(asset)
        if self._to_trash(folder) is None:
            return False
        with blame(folder):
            sync_folder(folder.parent)
        return True

    def _to_trash(self, folder: Path) -> Path | None:
        """Where an asset's folder is now; None when it was not there. Raises StoreError."""
        trash = self.disk_of(int(folder.name)) / TRASH
        with blame(folder):
            trash.mkdir(exist_ok=True)
            target = trash / folder.name
            for number in range(1, 1000):
                if not target.exists():
                    break
                target = trash / f"{folder.name}.{number}"
            try:
                folder.rename(target)
            except FileNotFoundError:
                return None
        return target

    def empty_trash(self) -> None:
        """Unlink what was retracted; raises StoreError."""
        for disk in self.disks():
            with blame(disk / TRASH):
                if (disk / TRASH).exists():
                    for folder in (disk / TRASH).iterdir():
                        with suppress(FileNotFoundError):  # somebody else is unlinking it
                            shutil.rmtree(folder)


def part_path(folder: Path, file: File) -> Path:
    """A file on its way in. The leading dot: no file of an asset can have this name."""
    return folder / f".{file.name}.part"


def _is_asset(name: str) -> bool:
    return (
        name.isascii() and name.isdigit() and str(int(name)) == name and int(name) <= ASSET_ID_MAX
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
