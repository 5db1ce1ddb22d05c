"""What people in each ISP want to watch, and an evening's requests drawn from it. Pure.

Popularity is heavy-bodied: of the 2023-H1 engagement report a stretched exponential fits, y^0.31
linear in the logarithm of the rank (DESIGN.md); Zipf does not. Sampling is systematic (one carry
runs through all assets), so a small evening already has the demand's proportions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploy.demo.films import AUDIO, FILMS, LADDER
from wire.catalogue import Asset, AssetKind, Catalogue

STRETCH = 0.31
# Of a film an average viewer watches an eighth; of those who watch, so many get each rendition.
FILM_SHARE_WATCHED = 0.125
RENDITION_SHARE = dict(zip((rung.name for rung in LADDER), (0.45, 0.33, 0.22), strict=True))
SESSION_FILES_MAX = 2
# How far local taste moves a title up or down the common chart, in ranks.
TASTE_RANKS = 40.0


@dataclass(frozen=True, slots=True)
class Session:
    """One viewer's visit: who (a source address), which asset, which of its files in order."""

    client: str
    asset: int
    files: tuple[str, ...]
    size_bytes: int


def views(rank: int, titles: int) -> float:
    """Relative views of the title at `rank` (from 1) among `titles`; the first has 1."""
    linear = 1.0 - math.log(rank) / math.log(titles + 1)
    return float(linear ** (1.0 / STRETCH))


def demand_bytes(catalogue: Catalogue, home: str) -> dict[int, float]:
    """Relative demand of viewers at home site `home`, in bytes by asset id."""
    chart = _chart([title.id for title in catalogue.titles().titles], home)
    return {
        asset.id: views(chart[asset.title], len(chart)) * _share_watched(asset) * asset.bytes
        for asset in catalogue.assets
        if asset.kind is not AssetKind.MANIFEST
    }


def scaled(demand: Mapping[int, float], total_bytes: float) -> dict[int, float]:
    """The same proportions with another sum."""
    factor = total_bytes / sum(demand.values())
    return {asset: amount * factor for asset, amount in demand.items()}


def draw(
    catalogue: Catalogue, demand: Mapping[int, float], prefix: str, seed: str
) -> list[Session]:
    """Sessions that add up to `demand` (bytes by asset), in an order drawn from `seed`.

    `prefix` is the first two bytes of the clients' addresses, as `127.16`.
    """
    sessions: list[Session] = []
    carry_bytes = 0.0
    for asset in sorted(catalogue.assets, key=lambda one: one.id):
        if asset.id not in demand:
            continue
        carry_bytes += demand[asset.id]
        for number, files in enumerate(_visits(asset)):
            size = sum(file_bytes for _, file_bytes in files)
            # Half a session over or under: rounding to nearest keeps the carry unbiased.
            if carry_bytes < size / 2:
                break
            carry_bytes -= size
            client = _address(prefix, f"{seed} {asset.id} {number}")
            sessions.append(Session(client, asset.id, tuple(name for name, _ in files), size))
    return sorted(sessions, key=lambda one: _digest(f"{seed} {one.client} {one.asset}"))


def _chart(titles: Sequence[str], home: str) -> dict[str, int]:
    """Title → rank at this home: the films first, the rest by common fame and local taste."""
    films = [film.title for film in FILMS if film.title in titles]
    if _digest(home)[4] % 2:  # a byte in which the demo's two homes differ
        films.reverse()
    rest = [title for title in titles if title not in films]
    fame = {title: at for at, title in enumerate(sorted(rest, key=_digest))}

    def place(title: str) -> float:
        return fame[title] + TASTE_RANKS * _digest(f"{home} {title}")[0] / 255

    return {title: rank for rank, title in enumerate([*films, *sorted(rest, key=place)], 1)}


def _share_watched(asset: Asset) -> float:
    if asset.name == AUDIO:
        return FILM_SHARE_WATCHED
    return FILM_SHARE_WATCHED * RENDITION_SHARE.get(asset.name, 1.0 / FILM_SHARE_WATCHED)


def _visits(asset: Asset) -> Iterator[list[tuple[str, int]]]:
    """Endless visits to an asset: a few files each, walking through it again and again."""
    files = [(file.name, file.bytes) for file in asset.files]
    at = 0
    while True:
        yield [files[(at + n) % len(files)] for n in range(min(SESSION_FILES_MAX, len(files)))]
        at = (at + SESSION_FILES_MAX) % len(files)


def _address(prefix: str, seed: str) -> str:
    raw = _digest(seed)
    return f"{prefix}.{1 + raw[0] % 250}.{1 + raw[1] % 250}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
