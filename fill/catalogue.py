"""The catalogue's arithmetic: which scanned folder is which asset, under which id. Pure.

Bytes decide the id: an asset keeps its id, and its published entry byte for byte, as long as its
files stay the same; anything else is a new asset under a new number. Numbers are never reused.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import msgspec

from wire.catalogue import Asset, AssetKind, Catalogue, File
from wire.codec import decode, encode
from wire.errors import WireError
from wire.ids import ASSET_ID_MAX, AssetId, Count, Epoch, FileName, TitleId

MANIFEST_NAME = "manifest"
RETIRED_MAX = 200_000  # the latest: demand is looked at for weeks, not for ever


@dataclass(frozen=True)
class Entry:
    """One asset of the catalogue and the exact bytes of its entry, which `.asset.json` repeats."""

    asset: Asset
    raw: bytes

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the entry's bytes, in hex: what a plan vouches for."""
        return hashlib.sha256(self.raw).hexdigest()


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """What a number stood for that is in the catalogue no more: its demand goes on to an heir."""

    id: AssetId
    title: TitleId
    name: FileName
    kind: AssetKind
    bytes: Count


@dataclass(frozen=True)
class Snapshot:
    """One state of the catalogue: entries and what was `retired` by id, in the order of ids."""

    epoch: str
    next_id: int
    entries: Mapping[int, Entry]
    retired: Mapping[int, Retired] = field(default_factory=dict)

    def catalogue(self) -> Catalogue:
        """The same as a wire value."""
        assets = tuple(entry.asset for entry in self.entries.values())
        return Catalogue(epoch=self.epoch, next_id=self.next_id, assets=assets)


@dataclass(frozen=True, slots=True)
class Found:
    """One folder as scanned: everything of its entry but the number."""

    title: str
    name: str
    kind: AssetKind
    modified_s: int
    files: tuple[File, ...]
    bitrate_bps: int


class _RawCatalogue(msgspec.Struct, frozen=True, kw_only=True):
    version: Literal[1] = 1
    epoch: Epoch
    next_id: AssetId
    assets: tuple[msgspec.Raw, ...]
    retired: tuple[Retired, ...] = ()


def read_catalogue(raw: bytes, what: str) -> Snapshot:
    """Read and cross-check `catalogue.json`; raises WireError naming the entry at fault."""
    outer = decode(_RawCatalogue, raw, what)
    entries: dict[int, Entry] = {}
    for index, piece in enumerate(outer.assets):
        entry = bytes(piece)
        asset = decode(Asset, entry, f"{what}: assets[{index}]")
        if asset.id in entries:
            raise WireError(what, f"assets[{index}].id", f"{asset.id} is there twice")
        if asset.id >= outer.next_id:
            raise WireError(what, f"assets[{index}].id", f"{asset.id} is not below next_id")
        names = [file.name for file in asset.files]
        if len(set(names)) != len(names):
            raise WireError(what, f"assets[{index}].files", "a file name is there twice")
        entries[asset.id] = Entry(asset, entry)
    retired = {each.id: each for each in outer.retired if each.id not in entries}
    return Snapshot(outer.epoch, outer.next_id, dict(sorted(entries.items())), retired)


def write_catalogue(snapshot: Snapshot) -> bytes:
    """The bytes of `catalogue.json`: every entry exactly as its `.asset.json` has it."""
    pieces = tuple(msgspec.Raw(entry.raw) for entry in snapshot.entries.values())
    return encode(
        _RawCatalogue(
            epoch=snapshot.epoch,
            next_id=snapshot.next_id,
            assets=pieces,
            retired=tuple(snapshot.retired.values()),
        )
    )


def titles_of(catalogue: Snapshot) -> dict[str, tuple[int, ...]]:
    """Title → its assets."""
    found: dict[str, list[int]] = {}
    for number, entry in catalogue.entries.items():
        found.setdefault(entry.asset.title, []).append(number)
    return {title: tuple(assets) for title, assets in found.items()}


def heirs(snapshot: Snapshot) -> dict[int, tuple[int, float]]:
    """Retired id → the asset of today that is asked for instead, and its bytes beside the old ones.

    The same rendition of the title, else the title's asset of that kind which is nearest in size;
    titles that are gone have none.
    """
    titles: dict[tuple[str, AssetKind], list[Asset]] = {}
    for entry in snapshot.entries.values():
        titles.setdefault((entry.asset.title, entry.asset.kind), []).append(entry.asset)
    found = {}
    for old in snapshot.retired.values():
        near = titles.get((old.title, old.kind))
        if near and old.bytes and old.kind is not AssetKind.MANIFEST:
            heir = min(near, key=lambda asset: _unlike(asset, old))
            found[old.id] = (heir.id, heir.bytes / old.bytes)
    return found


def _unlike(asset: Asset, old: Retired) -> tuple[bool, float, int]:
    far = abs(math.log(max(asset.bytes, 1) / old.bytes))
    return asset.name != old.name, far, asset.id


def assign_ids(found: Iterable[Found], previous: Snapshot, used_below: int = 0) -> Snapshot:
    """The next catalogue. New assets get numbers from `previous.next_id` (or `used_below`) on, in
    the order of title and name, so that neighbours in a title are neighbours in a bitmap.

    Raises WireError when the numbers run out.
    """
    known: dict[tuple[str, str, AssetKind], list[Entry]] = {}
    for entry in previous.entries.values():
        asset = entry.asset
        known.setdefault((asset.title, asset.name, asset.kind), []).append(entry)
    next_id = max(previous.next_id, used_below)
    entries: dict[int, Entry] = {}
    for item in sorted(found, key=lambda item: (item.title, item.name, item.kind)):
        earlier = known.get((item.title, item.name, item.kind), [])
        same = [old for old in earlier if old.asset.files == item.files]
        if same:
            entries[same[0].asset.id] = same[0]
        elif next_id >= ASSET_ID_MAX:
            raise WireError("catalogue", "next_id", "all asset numbers are used up")
        else:
            entries[next_id] = _new_entry(item, next_id)
            next_id += 1
    return Snapshot(
        previous.epoch, next_id, dict(sorted(entries.items())), _retired(previous, entries)
    )


def _retired(previous: Snapshot, entries: Mapping[int, Entry]) -> dict[int, Retired]:
    known = dict(previous.retired)
    for number, entry in previous.entries.items():
        if number not in entries:
            asset = entry.asset
            known[number] = Retired(
                id=number, title=asset.title, name=asset.name, kind=asset.kind, bytes=asset.bytes
            )
    return dict(sorted(known.items())[-RETIRED_MAX:])


def _new_entry(item: Found, number: int) -> Entry:
    asset = Asset(
        id=number,
        title=item.title,
        name=item.name,
        kind=item.kind,
        modified_s=item.modified_s,
        files=item.files,
        bitrate_bps=item.bitrate_bps,
    )
    return Entry(asset, encode(asset))
