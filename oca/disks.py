"""Know a disk by its identity file, so that nothing is ever written where a disk is only missing.

`.oca-disk.json` names disk, seat and appliance. A seat whose disk is not mounted shows the bare
folder: no identity, another mount point than before. It is left alone. A seat that shows an *empty*
file system, at the same mount point, has a new disk, which is taken in by itself with a line in the
log: who changes disks in somebody else's building has no login, and empty is nothing to lose. What
is not empty and not ours is never touched. All calls block.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from oca.partfile import blame
from oca.seats import BY_HAND, TABLE_FILE, Disks, Seat, Table
from wire.codec import decode, encode
from wire.durable import sync_folder, write_durably
from wire.errors import OcaError, WireError
from wire.log import get

IDENTITY = ".oca-disk.json"
FOLDERS = ("a", "incoming", "trash", "quarantine")
"""What a disk of ours has at its top."""

_NOT_OURS = frozenset({"lost+found"})
_log = get("disks")


class DiskFault(OcaError):
    """A disk cannot be used now; the text says why, and what to do."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk says of itself."""

    version: Literal[1] = 1
    uuid: str
    seat: str
    appliance: str
    weight_bytes: int


def read_identity(root: Path) -> Identity | None:
    """Who the disk is; None when it does not say. Raises DiskFault, OSError."""
    try:
        raw = (root / IDENTITY).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return decode(Identity, raw, str(root / IDENTITY))
    except WireError as exc:
        raise DiskFault(f"{exc}; erase the disk to have it filled again") from exc


def _has_identity(root: Path) -> bool:
    return os.path.lexists(root / IDENTITY)


def mount_of(path: Path) -> str:
    """The mount point that `path` lies in, or would, once made; raises OSError."""
    place = Path(os.path.realpath(path))
    while not os.path.lexists(place):
        place = place.parent
    while not os.path.ismount(place):
        place = place.parent
    return str(place)


class Cabinet:
    """The seats of one appliance: who sits where, remembered in the run folder."""

    def __init__(
        self, paths: Sequence[str], run_dir: Path, appliance: str, *, mounts: bool
    ) -> None:
        """`mounts`: each path must be a mount point of its own."""
        self._paths, self._run_dir, self._me, self._mounts = paths, run_dir, appliance, mounts
        self._known = {seat.path: seat for seat in read_table(run_dir)}

    def open(self) -> Disks:
        """Identify every disk; those that cannot be used are switched off, and why is said.

        Raises DiskFault when none was ever used and none can be: then it is the configuration.
        """
        seats: list[Seat] = []
        # Those that know their seat come first, so that none of theirs is given away.
        for path in sorted(self._paths, key=lambda path: not _has_identity(Path(path))):
            seats.append(self.look(path, seats))
            if seats[-1].why:
                _log.error("disk cannot be used", path=path, why=seats[-1].why)
        seats.sort(key=lambda seat: self._paths.index(seat.path))
        if not self._known and not any(seat.is_live for seat in seats):
            raise DiskFault("; ".join(seat.why for seat in seats))
        self.keep(seats)
        return Disks(seats)

    def look(self, path: str, others: Sequence[Seat]) -> Seat:
        """The seat of `path` as it is now, live or with the reason why not."""
        known = self._known.get(path)
        try:
            seat = self._identify(path, known, others)
            if known is not None and known.by_hand:
                return msgspec.structs.replace(seat, by_hand=True, why=BY_HAND)
            return seat
        except (OcaError, OSError) as exc:
            why = f"{path}: {exc.strerror or exc}" if isinstance(exc, OSError) else str(exc)
            seat = known or Seat(key=secrets.token_hex(8), path=path)
            return msgspec.structs.replace(seat, why=why)

    def keep(self, seats: Sequence[Seat]) -> None:
        """Remember the seats, and let the workers see them (they look when the word rises)."""
        self._known = {seat.path: seat for seat in seats}
        write_durably(self._run_dir / TABLE_FILE, encode(Table(seats=tuple(seats))))

    def _identify(self, path: str, known: Seat | None, others: Sequence[Seat]) -> Seat:
        root = Path(path)
        mount = self._check_mount(root, known)
        if root.exists() and os.statvfs(root).f_flag & os.ST_RDONLY:
            raise DiskFault(f"{path} is read-only")
        found = read_identity(root)
        if found is None:
            return self._adopt(root, known, mount, others)
        if found.appliance != self._me:
            detail = f"is a disk of {found.appliance}; erase it, or delete {IDENTITY} to keep it"
            raise DiskFault(f"{path} {detail}")
        twin = next((seat for seat in others if found.uuid == seat.uuid), None)
        if twin is not None:
            raise DiskFault(f"{path} is the same disk as {twin.path}, or a copy of it")
        _make_folders(root)
        return Seat(
            key=found.seat,
            path=path,
            uuid=found.uuid,
            weight_bytes=found.weight_bytes,
            mount=mount,
        )

    def _check_mount(self, root: Path, known: Seat | None) -> str:
        mount = mount_of(root)
        if self._mounts and mount != os.path.realpath(root):
            raise DiskFault(f"{root} is not mounted (or set disk.mounts = false)")
        if known is not None and known.mount not in ("", mount):
            raise DiskFault(f"{root} is not mounted: it was in {known.mount}, and is in {mount}")
        return mount

    def _adopt(self, root: Path, known: Seat | None, mount: str, others: Sequence[Seat]) -> Seat:
        """Make the disk at `root` ours."""
        replaced = known is not None and known.uuid
        if replaced:
            _check_empty(root)
        with blame(root):
            root.mkdir(parents=not self._mounts, exist_ok=True)
            stat = os.statvfs(root)
        taken = {seat.key for seat in others}
        key = known.key if known is not None and known.key not in taken else secrets.token_hex(8)
        identity = Identity(
            uuid=secrets.token_hex(16),
            seat=key,
            appliance=self._me,
            weight_bytes=max(1, stat.f_blocks * stat.f_frsize),
        )
        _make_folders(root)
        with blame(root):
            write_durably(root / IDENTITY, encode(identity))
        _log.warning(
            "a new disk is taken in: its share will be fetched" if replaced else "disk taken in",
            path=str(root),
            uuid=identity.uuid,
            bytes=identity.weight_bytes,
        )
        return Seat(
            key=key,
            path=str(root),
            uuid=identity.uuid,
            weight_bytes=identity.weight_bytes,
            mount=mount,
        )


def _check_empty(root: Path) -> None:
    """Raises DiskFault when there is anything but what a new file system, or ours, has."""
    if not root.exists():
        return
    for place in root.iterdir():
        ours = place.name in FOLDERS and place.is_dir() and not any(place.iterdir())
        torn = place.name.startswith(f".{IDENTITY}.")  # of an adoption that was cut short
        if not ours and not torn and place.name not in _NOT_OURS:
            detail = f"has no {IDENTITY}, and is not empty ({place.name})"
            raise DiskFault(f"{root} {detail}; empty it to have it taken in")


def _make_folders(root: Path) -> None:
    """Raises StoreError."""
    with blame(root):
        made = [root / name for name in FOLDERS if not (root / name).is_dir()]
        for folder in made:
            folder.mkdir()
        if made:
            sync_folder(root)


def read_table(run_dir: Path) -> tuple[Seat, ...]:
    """The seats as the agent told them last; none when it never did or the file is torn."""
    try:
        return decode(Table, (run_dir / TABLE_FILE).read_bytes(), TABLE_FILE).seats
    except (OSError, WireError):
        return ()


class ToldDisks(Disks):
    """The disks as a worker uses them: what the agent told of these paths, else as configured."""

    def __init__(self, paths: Sequence[str], run_dir: Path) -> None:
        """Whoever sees the generation word rise calls `refresh`."""
        self._paths, self._run_dir = paths, run_dir
        super().__init__(self._told())

    def refresh(self) -> None:
        """Read the agent's table again."""
        self.replace(self._told())

    def _told(self) -> list[Seat]:
        told = {seat.path: seat for seat in read_table(self._run_dir)}
        return [told.get(path) or Seat(key=path, path=path) for path in self._paths]
