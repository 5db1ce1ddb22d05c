"""The catalogue: titles, their assets (one encode each), and the files of each asset.

Assets are immutable: a re-encode is a new asset with a new id. ETag, Last-Modified and media type
come from here, so they are the same on every box and `If-Range` survives a failover.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wire.ids import AssetId, Count, Epoch, FileName, Sha256Hex, TitleId

CHUNK_BYTES = 8 * 1024 * 1024
"""File bytes per xxh3-128 checksum: small enough to re-fetch alone, large enough to read fast."""

FILES_MAX = 20_000  # one episode has ~1,200 files; a day of 4 s segments has 21,600: split it
Xxh3Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
MediaType = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\Z")]


class AssetKind(StrEnum):
    """What an asset carries; `manifest` assets stay at the origin, steering rewrites them."""

    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    DATA = "data"
    MANIFEST = "manifest"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file: what fill trusts is `sha256`; `chunks` (xxh3-128 per CHUNK_BYTES) finds bit rot."""

    name: FileName
    bytes: Count
    sha256: Sha256Hex
    chunks: tuple[Xxh3Hex, ...]
    media_type: MediaType

    @property
    def etag(self) -> str:
        """The strong validator (RFC 9110 §8.8.3), quotes included: the same on every box."""
        return f'"{self.sha256[:32]}"'


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One encode of one title; `name` is its folder in the title and in the manifests' URIs."""

    id: AssetId
    title: TitleId
    name: FileName
    kind: AssetKind
    modified_s: Count
    files: Annotated[tuple[File, ...], Meta(min_length=1, max_length=FILES_MAX)]
    bitrate_bps: Count = 0

    @property
    def bytes(self) -> int:
        """All its files together."""
        return sum(file.bytes for file in self.files)


class TitleAsset(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What steering needs to know of an asset. A million of them are in no cycle, so the collector
    need not look at them."""

    id: AssetId
    name: FileName
    kind: AssetKind


class Title(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a person watches: its assets, and the asset that holds its manifests (if it has one),
    with the names of those manifests' files."""

    id: TitleId
    assets: tuple[TitleAsset, ...]
    manifest: AssetId | None = None
    manifests: tuple[FileName, ...] = ()


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there is (`DIR/catalogue.json`, by `fill catalogue`). `next_id` never falls."""

    version: Literal[1] = 1
    epoch: Epoch
    next_id: AssetId
    assets: tuple[Asset, ...]

    def titles(self) -> TitleIndex:
        """The part of the catalogue that steering polls."""
        found: dict[str, list[Asset]] = {}
        for asset in self.assets:
            found.setdefault(asset.title, []).append(asset)
        return TitleIndex(
            epoch=self.epoch, titles=tuple(_title(name, group) for name, group in found.items())
        )


class TitleIndex(msgspec.Struct, frozen=True, kw_only=True):
    """Titles → assets, without files: `GET /v1/catalogue/titles` of `fill serve`."""

    version: Literal[1] = 1
    epoch: Epoch
    titles: tuple[Title, ...]


def _title(title_id: str, group: list[Asset]) -> Title:
    newest = max(
        (asset for asset in group if asset.kind is AssetKind.MANIFEST),
        key=lambda asset: asset.id,
        default=None,
    )
    return Title(
        id=title_id,
        assets=tuple(
            TitleAsset(id=asset.id, name=asset.name, kind=asset.kind)
            for asset in group
            if asset.kind is not AssetKind.MANIFEST
        ),
        manifest=newest.id if newest else None,
        manifests=tuple(file.name for file in newest.files) if newest else (),
    )
