"""`fill catalogue DIR`: make the catalogue of a folder of encodes, and publish it by renames.

Order matters: assets first (`DIR/a/<asset>/`, hard links and `.asset.json`), then the catalogue
that names them. Whoever reads the catalogue finds everything it names, even after a crash.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fill.catalogue import Entry, Snapshot, assign_ids, read_catalogue, write_catalogue
from fill.ledger import alone
from fill.scan import Known, hash_files, hashed_of, scan_tree
from fill.titles import check_title, describe
from wire.catalogue import AssetKind
from wire.durable import sync_folder, write_durably
from wire.errors import WireError

CATALOGUE_NAME = "catalogue.json"
ENTRY_NAME = ".asset.json"
SCAN_NAME = ".catalogue-scan"
BUILD_NAME = ".catalogue-build"
FAULTS_SHOWN_MAX = 20


class CatalogueFaults(WireError):
    """The manifests of a tree do not hold; every fault is told, up to a screenful."""

    def __init__(self, faults: list[WireError]) -> None:
        """`faults` has at least one element."""
        first = faults[0]
        super().__init__(first.what, first.where, first.detail)
        lines = [str(fault) for fault in faults[:FAULTS_SHOWN_MAX]]
        if len(faults) > FAULTS_SHOWN_MAX:
            lines.append(f"… and {len(faults) - FAULTS_SHOWN_MAX} more")
        self.args = ("\n".join(lines),)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one run did: the catalogue, the new ids, and the ids that are gone from it."""

    snapshot: Snapshot
    new: tuple[int, ...]
    retired: tuple[int, ...]
    withdrawn: tuple[int, ...]


def make_catalogue(
    root: Path, *, total: Callable[[int], None], done: Callable[[int], None], prune: bool = False
) -> Ingested:
    """Scan `root`, check, hash, assign ids and publish; `total` and `done` get byte counts.

    Retired assets stay in `a/` until `prune`, for boxes that still fill from it; one whose source
    file was overwritten in place is withdrawn at once, as its bytes are no longer its own. Raises
    WireError (nothing is published then), and UnavailableError while another one is at work there.
    """
    if not root.is_dir():
        raise WireError(str(root), "", "there is no such folder")
    with alone(root):
        return _make_catalogue(root, total, done, prune)


def _make_catalogue(
    root: Path, total: Callable[[int], None], done: Callable[[int], None], prune: bool
) -> Ingested:
    scanned = scan_tree(root)
    checked = {title.title: check_title(title) for title in scanned.titles}
    faults = [fault for each in checked.values() for fault in each.faults]
    if faults:
        raise CatalogueFaults(faults)
    total(sum((root / path).stat().st_size for path in scanned.paths))
    known = hash_files(root, scanned.paths, _read_scan(root), done)
    previous = _read_previous(root)
    found = [
        item
        for title in scanned.titles
        for item in describe(title, checked[title.title], hashed_of(title, known))
    ]
    store = root / "a"
    store.mkdir(exist_ok=True)
    snapshot = assign_ids(found, previous, _used_below(store))
    new = tuple(number for number in snapshot.entries if number not in previous.entries)
    retired = tuple(number for number in previous.entries if number not in snapshot.entries)
    _publish(root, snapshot, previous)
    withdrawn = _withdraw(root, snapshot, previous, known, prune)
    write_durably(root / SCAN_NAME, msgspec.msgpack.encode(known))
    return Ingested(snapshot, new, retired, withdrawn)


def _read_previous(root: Path) -> Snapshot:
    path = root / CATALOGUE_NAME
    if not path.exists():
        return Snapshot(secrets.token_hex(8), 1, {})
    return read_catalogue(path.read_bytes(), str(path))


def _read_scan(root: Path) -> Mapping[str, Known]:
    try:
        raw = (root / SCAN_NAME).read_bytes()
        return msgspec.msgpack.decode(raw, type=dict[str, Known])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}  # it only saves time


def _stored(store: Path) -> list[int]:
    return [int(each.name) for each in store.iterdir() if each.name.isdigit()]


def _used_below(store: Path) -> int:
    """One above the highest number in `a/`: a crash may have left assets no catalogue names."""
    return max(_stored(store), default=0) + 1


def _publish(root: Path, snapshot: Snapshot, previous: Snapshot) -> None:
    build, store = root / BUILD_NAME, root / "a"
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir()
    for number, entry in snapshot.entries.items():
        if number not in previous.entries or not (store / str(number) / ENTRY_NAME).exists():
            shutil.rmtree(store / str(number), ignore_errors=True)
            _build(root, build / str(number), entry)
            (build / str(number)).rename(store / str(number))
    sync_folder(store)
    build.rmdir()
    raw = write_catalogue(snapshot)
    path = root / CATALOGUE_NAME
    if not path.exists() or path.read_bytes() != raw:
        write_durably(path, raw)


def _build(root: Path, folder: Path, entry: Entry) -> None:
    """Fill `folder` with one asset: links to the encoder's files, then its entry."""
    source = _source(root, entry)
    folder.mkdir()
    for file in entry.asset.files:
        try:
            os.link(source / file.name, folder / file.name, follow_symlinks=True)
        except OSError:  # another file system behind a symbolic link
            shutil.copyfile(source / file.name, folder / file.name)
    write_durably(folder / ENTRY_NAME, entry.raw)


def _withdraw(
    root: Path, snapshot: Snapshot, previous: Snapshot, known: Mapping[str, Known], prune: bool
) -> tuple[int, ...]:
    """Remove from `a/` what no catalogue names (a crash left it), what changed, what is pruned."""
    gone = []
    for number in _stored(root / "a"):
        if number in snapshot.entries:
            continue
        retired = previous.entries.get(number)
        overwritten = retired is not None and _was_overwritten(root, retired, known)
        if prune or number >= previous.next_id or overwritten:
            build = root / BUILD_NAME
            (root / "a" / str(number)).rename(build)
            shutil.rmtree(build)
            gone.append(number)
    sync_folder(root / "a")
    return tuple(sorted(gone))


def _was_overwritten(root: Path, entry: Entry, known: Mapping[str, Known]) -> bool:
    """Whether a published file shares its inode with an encoder's file that has other bytes now."""
    folder, source = root / "a" / str(entry.asset.id), _source(root, entry)
    for file in entry.asset.files:
        now = known.get(str((source / file.name).relative_to(root)))
        mine = folder / file.name
        if now is None or now.sha256 == file.sha256 or not mine.exists():
            continue
        if mine.stat().st_ino == now.inode:
            return True
    return False


def _source(root: Path, entry: Entry) -> Path:
    """Where the encoder put the files of an asset."""
    asset = entry.asset
    title = root / asset.title
    return title if asset.kind is AssetKind.MANIFEST else title / asset.name
