"""Which assets make a title, and which title an asset belongs to: the catalogue's index. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wire.catalogue import Title, TitleIndex
from wire.errors import NotFoundError

MANIFEST_SUFFIXES = (".m3u8", ".mpd")
# Where a title has several manifests of one kind, these names say which is the top one.
_TOP_NAMES = ("master.m3u8", "main.m3u8", "index.m3u8", "manifest.mpd", "index.mpd")


@dataclass(frozen=True, slots=True)
class TitleTable:
    """One generation of the catalogue's index, frozen."""

    epoch: str
    by_title: Mapping[str, Title]
    by_asset: Mapping[int, str]

    def title(self, title_id: str) -> Title:
        """The title of that id; raises NotFoundError."""
        found = self.by_title.get(title_id)
        if found is None:
            raise NotFoundError(f"there is no title {title_id[:128]!r}")
        return found

    def title_of(self, asset: int) -> Title:
        """The title that an asset belongs to; raises NotFoundError."""
        title_id = self.by_asset.get(asset)
        if title_id is None:
            raise NotFoundError(f"there is no asset {asset}")
        return self.by_title[title_id]


def empty() -> TitleTable:
    """What is known before the first catalogue."""
    return TitleTable("", {}, {})


def table_of(index: TitleIndex) -> TitleTable:
    """The look-up tables of a catalogue's index; manifest assets count to their title."""
    by_asset: dict[int, str] = {}
    for title in index.titles:
        for asset in title.assets:
            by_asset[asset.id] = title.id
        if title.manifest is not None:
            by_asset[title.manifest] = title.id
    return TitleTable(index.epoch, {title.id: title for title in index.titles}, by_asset)


def manifest_name(title: Title, suffix: str) -> str:
    """The file name of a title's top manifest of one kind (".m3u8" or ".mpd"); raises
    NotFoundError where it has none."""
    names = [name for name in title.manifests if name.endswith(suffix)]
    if title.manifest is None or not names:
        raise NotFoundError(f"the title {title.id!r} has no {suffix} manifest")
    return min(names, key=lambda name: (name not in _TOP_NAMES, name))


def assets_by_name(title: Title) -> dict[str, int]:
    """Rendition folder, as the manifests name it → asset."""
    return {asset.name: asset.id for asset in title.assets}
