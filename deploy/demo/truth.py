"""What every file must be, hashed from the encoder's own output: nobody between is trusted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wire.catalogue import AssetKind, Catalogue

_ASSET_URL = re.compile(r"/a/(\d+)(?:;[^/]*)?/([^/?#]+)$")


@dataclass(frozen=True, slots=True)
class Named:
    """An asset as people call it, and its files' SHA-256 (hex) by name."""

    title: str
    name: str
    sha256: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Truth:
    """The files of every asset, by asset id."""

    assets: Mapping[int, Named]

    def wrong(self, url: str, body: bytes) -> str | None:
        """What is wrong with `body` as the content of `url`; None when it is right."""
        place = locate(url)
        if place is None:
            return f"{url} is no file of an asset"
        asset, file = place
        named = self.assets.get(asset)
        want = named.sha256.get(file) if named else None
        if want is None:
            return f"asset {asset} has no file {file}"
        if hashlib.sha256(body).hexdigest() != want:
            return f"asset {asset}, file {file}: these are not its bytes"
        return None


def locate(url: str) -> tuple[int, str] | None:
    """Asset id and file name of a data-plane URL, token or not; None for any other."""
    found = _ASSET_URL.search(url)
    return (int(found[1]), found[2]) if found else None


def read_truth(media: Path, catalogue: Catalogue) -> Truth:
    """Hash the encoder's tree; the catalogue only says which folder has which id."""
    assets = {}
    for asset in catalogue.assets:
        folder = media / asset.title
        if asset.kind is not AssetKind.MANIFEST:
            folder /= asset.name
        hashes = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir())
            if path.is_file()
        }
        assets[asset.id] = Named(asset.title, asset.name, hashes)
    return Truth(assets)
