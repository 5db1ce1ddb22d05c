"""The store: `a/<asset>/` exists exactly when every file of the asset is stored and verified.

An asset is gathered in `incoming/<asset>/` and appears by one rename; it leaves by one rename to
`trash/`. So the inventory is the listing of `a/`, workers share nothing with the agent, and a crash
at any instant leaves whole, verified assets plus leftovers that oca.stock finds. Every disk has
these folders; which one an asset is on: oca.seats. All calls block.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from oca.held import Held
from oca.index import Index
from oca.partfile import PartFile, StoreError, blame
from oca.seats import Disks, Seat
from wire.catalogue import Asset, File
from wire.codec import decode
from wire.durable import sync_folder, write_durably
from wire.errors import WireError
from wire.ids import ASSET_ID_MAX
from wire.log import get

ENTRY = ".asset.json"
"""The catalogue's entry, its exact bytes, in the asset's folder; dot files are never served."""

SHELF, INCOMING, TRASH = "a", "incoming", "trash"
_log = get("store")


class Store:
    """One appliance's disks. The agent is the only one who writes; several threads may.

    `read_only` is the origin's: the catalogue made its tree, nothing is ever moved in it.
    """

    def __init__(
        self, disks: Disks | Path, *, read_only: bool = False, index: Index | None = None
    ) -> None:
        """A plain folder is one disk that needs no identity, its folders are made where they are
        missing. `index` is kept up with what comes and goes. Raises StoreError."""
        self.read_only, self.index, self.reserve_bytes = read_only, index, 0
        if isinstance(disks, Disks):
            self.disks = disks
            return
        self.disks = Disks.single(disks)
        if not read_only:
            with blame(disks):
                for folder in (SHELF, INCOMING, TRASH):
                    (disks / folder).mkdir(parents=True, exist_ok=True)

    @property
    def root(self) -> Path:
        """The first disk; the origin's only one."""
        return Path(self.disks.seats[0].path)

    # --- where things are ------------------------------------------------------------------------

    def root_of(self, seat: Seat) -> Path:
        """The top folder of a disk."""
        return Path(seat.path)

    def roots(self, asset: int) -> tuple[Path, ...]:
        """The live disks in the order in which an asset is to be looked for; touches none."""
        return tuple(Path(seat.path) for seat in self.disks.where(asset))

    def disk_of(self, asset: int) -> Path | None:
        """The live disk that an asset is on; None when it is on none."""
        for root in self.roots(asset):
            if os.path.lexists(place(root, SHELF, asset)):
                return root
        return None

    def is_out(self, asset: int) -> bool:
        """Whether the disk that an asset belongs on is switched off: it cannot be fetched now."""
        return not self.disks.home(asset).is_live

    def home_of(self, asset: int) -> Path:
        """The disk that an asset is to be written to; raises StoreError while it is off."""
        seat = self.disks.home(asset)
        if not seat.is_live:
            raise StoreError(f"{seat.path} is switched off: {seat.why}", errno.ENODEV)
        return Path(seat.path)

    def shelf(self, asset: int) -> Path:
        """Where an asset is when it is whole, or will be; raises StoreError as `home_of` does."""
        return place(self.disk_of(asset) or self.home_of(asset), SHELF, asset)

    def incoming(self, asset: int) -> Path:
        """Where an asset is gathered; raises StoreError as `home_of` does."""
        return place(self.home_of(asset), INCOMING, asset)

    def rooms(self) -> dict[str, int]:
        """Bytes that may still be written to each live disk, by seat; a disk that does not say has
        none."""
        return {seat.key: _free_bytes(Path(seat.path)) for seat in self.disks.live}

    def free_bytes(self) -> int:
        """Bytes that may still be written in all."""
        return sum(self.rooms().values())

    # --- what is held ----------------------------------------------------------------------------

    def listing(self, known: Mapping[int, Held] = {}) -> dict[int, Held]:
        """Every whole asset; those `known` are only looked for, not into. A folder that is not
        whole is left out: oca.stock deals with it. Raises StoreError."""
        found: dict[int, Held] = {}
        for seat in self.disks.live:
            for asset, folder in assets_in(seat, SHELF):
                entry = known.get(asset) or whole(folder, seat.uuid)
                if entry is not None:
                    found[asset] = entry
        return found

    def entry(self, asset: int) -> bytes | None:
        """The exact bytes of a held asset's catalogue entry, or None."""
        for root in self.roots(asset):
            with suppress(OSError):
                return (place(root, SHELF, asset) / ENTRY).read_bytes()
        return None

    # --- an asset comes --------------------------------------------------------------------------

    def begin(self, raw: bytes) -> Asset:
        """Make, or take up again, the incoming folder of the asset whose catalogue entry is `raw`.

        Raises WireError when it is not an entry, StoreError when the disk refuses, is off, or has
        no room for it beside the reserve: then nothing is fetched in vain.
        """
        asset = decode(Asset, raw, "catalogue entry")
        folder = self.incoming(asset.id)
        self._check_room(asset, folder)
        with blame(folder):
            found = entry_in(folder)
            if found is None or found[1] != raw:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()  # never its parents: a disk that is gone leaves a bare mount point
                write_durably(folder / ENTRY, raw)
        return asset

    def _check_room(self, asset: Asset, folder: Path) -> None:
        """The box may have room where this disk has none. Raises StoreError (ENOSPC)."""
        root = folder.parent.parent
        paths = (
            path for file in asset.files for path in (folder / file.name, part_path(folder, file))
        )
        missing_bytes = asset.bytes - sum(max(0, size_of(path)) for path in paths)
        if missing_bytes > _free_bytes(root) - self.reserve_bytes:
            detail = f"{root}: no room for {missing_bytes} bytes beside the reserve"
            raise StoreError(detail, errno.ENOSPC, root)

    def begun(self, asset: int) -> bytes | None:
        """The catalogue entry of an incoming asset, or None. Raises StoreError."""
        found = entry_in(self.incoming(asset))
        return found[1] if found else None

    def missing(self, asset: Asset) -> list[File]:
        """The files of an incoming asset that are not there whole yet. Raises StoreError."""
        folder = self.incoming(asset.id)
        return [file for file in asset.files if size_of(folder / file.name) != file.bytes]

    def part(self, asset: Asset, file: File) -> PartFile:
        """The file on its way in; not opened yet. Raises StoreError."""
        folder = self.incoming(asset.id)
        return PartFile(part_path(folder, file), folder / file.name, file)

    def publish(self, asset: Asset) -> Held:
        """Make an incoming asset visible; raises StoreError when a file is missing."""
        seat, folder = self.disks.home(asset.id), self.incoming(asset.id)
        target = place(Path(seat.path), SHELF, asset.id)
        missing = self.missing(asset)
        if missing:
            raise StoreError(f"{folder}: {missing[0].name} is not there", errno.ENOENT)
        with blame(folder):
            sync_folder(folder)
            folder.rename(target)
            sync_folder(target.parent)
            sync_folder(folder.parent)
            raw = (target / ENTRY).read_bytes()
        held = Held(asset.bytes, hashlib.sha256(raw).hexdigest(), seat.uuid)
        if self.index is not None:
            self.index.put({asset.id: held}, time.time())
        return held

    def discard(self, asset: int) -> None:
        """Give up an incoming asset; raises StoreError. On a disk that is off it stays, and is
        found when that comes back.

        It may be on its way to the shelf at this very moment: one rename of the two wins, so that
        it is either visible whole or gone, and never emptied in sight.
        """
        for root in self.roots(asset):
            gone = self.to_trash(place(root, INCOMING, asset))
            if gone is not None:
                shutil.rmtree(gone, ignore_errors=True)

    def gathering(self) -> dict[int, int]:
        """Incoming assets and the bytes that each takes already. Raises StoreError."""
        found: dict[int, int] = {}
        for seat in self.disks.live:
            for asset, folder in assets_in(seat, INCOMING):
                with blame(folder):
                    sizes = (size_of(path) for path in folder.iterdir() if path.name != ENTRY)
                    found[asset] = sum(size for size in sizes if size > 0)
        return found

    # --- an asset leaves -------------------------------------------------------------------------

    def retract(self, asset: int) -> bool:
        """Take an asset out of sight, by one rename; False when it is not there.

        The caller raises the generation word, then empties the trash. Raises StoreError.
        """
        return any([self.retract_from(seat, asset) for seat in self.disks.where(asset)])

    def retract_from(self, seat: Seat, asset: int) -> bool:
        """Take an asset off one disk, in use or not; as `retract`. Raises StoreError."""
        if self.index is not None:
            self.index.remove((asset,), seat.uuid)  # first: a row too few is found, in time
        folder = place(Path(seat.path), SHELF, asset)
        if self.to_trash(folder) is None:
            return False
        with blame(folder):
            sync_folder(folder.parent)
        return True

    def to_trash(self, folder: Path) -> Path | None:
        """Where an asset's folder is now; None when it was not there. Raises StoreError."""
        trash = folder.parent.parent / TRASH
        with blame(folder):
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
        """Unlink what was retracted; raises StoreError, after the other disks had their turn."""
        fault: StoreError | None = None
        for seat in self.disks.live:
            try:
                empty(seat)
            except StoreError as exc:
                fault = exc
        if fault is not None:
            raise fault


def part_path(folder: Path, file: File) -> Path:
    """A file on its way in. The leading dot: no file of an asset can have this name."""
    return folder / f".{file.name}.part"


def place(root: Path, name: str, asset: int) -> Path:
    """An asset's folder in one of a disk's (SHELF, INCOMING)."""
    return root / name / str(asset)


def assets_in(seat: Seat, name: str) -> Iterator[tuple[int, Path]]:
    """The assets' folders in one of a disk's (SHELF, INCOMING), in order; raises StoreError."""
    folder = Path(seat.path) / name
    with blame(folder):
        try:
            with os.scandir(folder) as found:
                names = sorted(int(entry.name) for entry in found if _is_asset(entry.name))
        except FileNotFoundError:
            return
    for asset in names:
        yield asset, folder / str(asset)


def empty(seat: Seat) -> None:
    """Unlink what is in a disk's trash. Raises StoreError."""
    trash = Path(seat.path) / TRASH
    with blame(trash):
        for folder in trash.iterdir():
            with suppress(FileNotFoundError):  # somebody else is unlinking it
                shutil.rmtree(folder)


def whole(folder: Path, disk: str) -> Held | None:
    """What a folder on the shelf holds, None when it is not whole. Raises StoreError."""
    found = entry_in(folder)
    if found is None:
        return None
    asset, raw = found
    if all(size_of(folder / file.name) == file.bytes for file in asset.files):
        return Held(asset.bytes, hashlib.sha256(raw).hexdigest(), disk)
    return None


def entry_in(folder: Path) -> tuple[Asset, bytes] | None:
    """The catalogue's entry in a folder, None when it is not there or not one. Raises StoreError
    when the disk is at fault, which says nothing against the asset."""
    with blame(folder):
        try:
            raw = (folder / ENTRY).read_bytes()
            asset = decode(Asset, raw, str(folder / ENTRY))
        except (FileNotFoundError, NotADirectoryError, WireError):
            return None
    return (asset, raw) if str(asset.id) == folder.name else None


def _free_bytes(root: Path) -> int:
    try:
        stat = os.statvfs(root)
    except OSError:
        return 0
    return stat.f_bavail * stat.f_frsize


def _is_asset(name: str) -> bool:
    return (
        name.isascii() and name.isdigit() and str(int(name)) == name and int(name) <= ASSET_ID_MAX
    )


def size_of(path: Path) -> int:
    """Bytes of a file, -1 when it is not there. Raises StoreError when the disk is at fault."""
    with blame(path):
        try:
            return path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return -1
