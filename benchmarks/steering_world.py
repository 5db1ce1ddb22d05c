"""A fleet of full size: the Internet's prefixes, 10,000 appliances, a million assets. Seeded.

The prefixes are the real ones of `asn-ipv4.csv.gz` and `asn-ipv6.csv.gz`. Each network is announced
to one of 50 exchanges (48 boxes each), every second one also to the embedded site of its AS (950
sites of 8 boxes), so that a decision has one or two sites to look at and 8 to 56 boxes.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from wire.catalogue import AssetKind, Title, TitleAsset, TitleIndex
from wire.fleet import Appliance, Fleet, Site
from wire.ids import ORIGIN_ID, SiteKind
from wire.keys import SigningKey, parse_private_key, public_text
from wire.reports import Route

Bits = npt.NDArray[np.bool_] | npt.NDArray[np.uint8]
EPOCH = "00000000000000bb"
EXCHANGES, EXCHANGE_BOXES = 50, 48
EMBEDDED, EMBEDDED_BOXES = 950, 8
ASSETS, LADDER = 1_000_000, 20
HELD_BITS = (True, False, True, True, False)
HELD_SHARE = 13 / 32
"""Of all assets in each box: 0.40625."""
_V4_BITS_MAX, _V6_BITS_MAX = 24, 48


@dataclass(frozen=True, slots=True)
class Size:
    """How large a world is: boxes of an exchange and of an embedded site are the same in all."""

    exchanges: int = EXCHANGES
    embedded: int = EMBEDDED
    assets: int = ASSETS

    @property
    def boxes(self) -> int:
        """Appliances in all, without the origin."""
        return self.exchanges * EXCHANGE_BOXES + self.embedded * EMBEDDED_BOXES


FULL = Size()


def prefixes(data: Path) -> Iterator[tuple[str, int]]:
    """(prefix, AS) of the whole Internet, as far as steering takes them: up to /24 and /48."""
    for name in ("asn-ipv4.csv.gz", "asn-ipv6.csv.gz"):
        with gzip.open(data / name, "rt", newline="") as lines:
            for first, last, asn, *_ in csv.reader(lines):
                yield from ((prefix, int(asn)) for prefix in _cidrs(first, last))


def _cidrs(first_text: str, last_text: str) -> Iterator[str]:
    """The prefixes that a range is made of (ipaddress takes ten times as long)."""
    address = ipaddress.IPv6Address if ":" in first_text else ipaddress.IPv4Address
    width, longest = (128, _V6_BITS_MAX) if ":" in first_text else (32, _V4_BITS_MAX)
    first, last = int(address(first_text)), int(address(last_text))
    while first <= last:
        size = (last - first + 1).bit_length() - 1
        bits = min(size, (first & -first).bit_length() - 1) if first else size
        if width - bits <= longest:
            yield f"{address(first)}/{width - bits}"
        first += 1 << bits


def fleet(size: Size, keys: dict[str, SigningKey], port: int = 8080) -> Fleet:
    """All sites and boxes; boxes share what keys there are, `keys` is by number as text."""
    sites = [Site(id=f"x{n}", kind=SiteKind.IX) for n in range(size.exchanges)]
    sites += [Site(id=f"e{n}", kind=SiteKind.EMBEDDED) for n in range(size.embedded)]
    sites.append(Site(id="origin", kind=SiteKind.ORIGIN))
    public = [public_text(key) for key in keys.values()]
    boxes = [
        _box(f"{site.id}-b{n}", site.id, public, number)
        for number, (site, n) in enumerate(
            (site, n)
            for site in sites[:-1]
            for n in range(EXCHANGE_BOXES if site.kind is SiteKind.IX else EMBEDDED_BOXES)
        )
    ]
    boxes.append(_box(ORIGIN_ID, "origin", public, 0))
    return Fleet(scheme="http", port=port, sites=tuple(sites), appliances=tuple(boxes))


def _box(name: str, site: str, public: list[str], number: int) -> Appliance:
    return Appliance(
        id=name,
        site=site,
        public_key=public[number % len(public)],
        hosts=(f"{name}.cdn.example.net",),
        disks_bytes=(10**14,),
        link_bps=(10 + 10 * (number % 3)) * 10**9,
    )


def fleet_text(made: Fleet) -> str:
    """The fleet file (TOML) of these sites and boxes."""
    lines = [f'scheme = "{made.scheme}"', f"port = {made.port}"]
    for site in made.sites:
        lines += ["[[site]]", f'id = "{site.id}"', f'kind = "{site.kind.value}"']
    for box in made.appliances:
        lines += [
            "[[appliance]]",
            f'id = "{box.id}"',
            f'site = "{box.site}"',
            f'public_key = "{box.public_key}"',
            f'hosts = ["{box.hosts[0]}"]',
            f"disks_bytes = [{box.disks_bytes[0]}]",
            f"link_bps = {box.link_bps}",
        ]
    return "\n".join(lines) + "\n"


def box_keys(pems: Sequence[str]) -> dict[str, SigningKey]:
    """Signing keys by number."""
    return {str(n): parse_private_key(pem.encode(), str(n), "key") for n, pem in enumerate(pems)}


def announcements(data: Path, size: Size) -> Iterator[tuple[str, Route]]:
    """(site, route) of every prefix: its exchange, and for every second AS an embedded site."""
    for prefix, asn in prefixes(data):
        spread = hashlib.blake2b(str(asn).encode(), digest_size=8).digest()
        mixed = int.from_bytes(spread)
        yield (
            f"x{mixed % size.exchanges}",
            Route(prefix=prefix, as_path=(64_500, asn), local_pref=100, med=mixed % 3),
        )
        if mixed >> 32 & 1:
            site = f"e{(mixed >> 33) % size.embedded}"
            yield site, Route(prefix=prefix, as_path=(asn,), local_pref=200)


def titles(size: Size) -> TitleIndex:
    """Titles of LADDER assets each, ids in a row as the catalogue gives them."""
    made = []
    for number in range(size.assets // LADDER):
        first = number * LADDER
        assets = tuple(
            TitleAsset(
                id=first + n, name=f"r{n}", kind=AssetKind.VIDEO if n < 16 else AssetKind.AUDIO
            )
            for n in range(LADDER)
        )
        made.append(Title(id=f"t{number}", assets=assets))
    return TitleIndex(epoch=EPOCH, titles=tuple(made))


def independent(size: Size, rng: np.random.Generator) -> BitMap:
    """What a box holds when each asset is a coin's throw: nothing to share, nothing in a row."""
    words = np.zeros(-(-size.assets // 64), np.uint64)
    for either in HELD_BITS:  # a coin of 13/32, 64 at a time (Knuth and Yao 1976)
        coins = rng.integers(0, 2**64, len(words), np.uint64)
        words = words | coins if either else words & coins
    return _bitmap(np.unpackbits(words.view(np.uint8), count=size.assets, bitorder="little"))


def planned(size: Size, rng: np.random.Generator) -> BitMap:
    """What a box holds when a plan gave it whole ladders, as the planner does."""
    ladders = rng.random(size.assets // LADDER, dtype=np.float32) < HELD_SHARE
    return _bitmap(np.repeat(ladders, LADDER))


def _bitmap(held: Bits) -> BitMap:
    """By way of the portable serialization (RoaringFormatSpec), which takes a tenth of the time."""
    bits = np.packbits(held, bitorder="little")
    containers = -(-len(held) // 65_536)
    words = np.zeros(containers * 8_192, np.uint8)
    words[: len(bits)] = bits
    blocks = words.reshape(containers, 8_192)
    counts = np.bitwise_count(blocks.view(np.uint64)).sum(axis=1).astype(np.uint32)
    keys = np.arange(containers, dtype=np.uint32)
    head = 8 + 8 * containers
    parts = [
        np.array([12_346, containers], "<u4").tobytes(),
        ((counts - 1) << 16 | keys).astype("<u4").tobytes(),
        (head + keys * 8_192).astype("<u4").tobytes(),
        words.tobytes(),
    ]
    made = BitMap.deserialize(b"".join(parts))
    made.run_optimize()
    return made
