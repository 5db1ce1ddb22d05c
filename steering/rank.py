"""Sites in order of network proximity alone. Pure, and blind to health, load and content.

The order is prefix length, kind of site, then BGP's own decision (RFC 4271 §9.1.2.2: local
preference, AS-path length, origin code, MED between routes of one neighbour), then distance. Sites
that announced the longest prefix have rank 0; each less specific prefix that adds a site is one
rank further. After the routes come the sites that serve the client's AS, then those open to anyone,
nearest first, last those of them that nobody knows the place of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from steering.locate import Announced
from steering.policy import DEFAULT, Policy
from wire.fleet import Site
from wire.ids import SiteKind

EARTH_KM = 6371.0
_ORIGIN_CODES = ("igp", "egp", "incomplete")

Place = tuple[float, float]
"""Latitude and longitude in degrees (WGS 84)."""


class By(StrEnum):
    """What located a client at a site."""

    ROUTE = "route"
    ASN = "asn"
    GEOGRAPHY = "geography"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Around:
    """What the tables say of a client's network: its AS and its place, where they know them."""

    asn: int | None = None
    place: Place | None = None


NOWHERE = Around()


@dataclass(frozen=True, slots=True)
class RankedSite:
    """One site with its rank and what gave it. `route` is what it announced (By.ROUTE); `gone`:
    it withdrew that lately, and has no other; `detail`: the AS or the distance."""

    site: str
    kind: SiteKind
    rank: int
    by: By = By.ROUTE
    route: Announced | None = None
    gone: bool = False
    detail: str = ""

    def why(self, prefix: str) -> str:
        """What ranked it, for people; `prefix` is the one that it announced."""
        if self.route is None:
            return f"{self.by} · {self.detail or self.kind} · {self.kind}"
        return (
            f"{'withdrew ' if self.gone else ''}{prefix} · {self.kind} · "
            f"local-pref {self.route.local_pref} · AS path {self.route.path_len} · "
            f"{_ORIGIN_CODES[self.route.origin]} · MED {self.route.med}"
        )


def rank_sites(
    groups: Iterable[Sequence[Announced]],
    sites: Mapping[str, Site],
    policy: Policy = DEFAULT,
    around: Around = NOWHERE,
) -> tuple[RankedSite, ...]:
    """The sites for a client, nearest first, from what was announced for each of its prefixes
    (longest first). The origin is not among them.

    Sites that withdrew their routes keep their place, marked, unless another route remains. Ties go
    by distance to the client (or to the nearest site, where nobody knows the client's place), then
    by name, so that every replica gives the same order.
    """
    ranks = _Ranks(sites, policy, around)
    levels = [tuple(group) for group in groups]
    alive = {said.site for level in levels for said in level if not said.gone}
    for level in levels:
        ranks.add_level([said for said in level if not (said.gone and said.site in alive)])
    ranks.add_asn()
    ranks.add_open()
    return tuple(ranks.found)


class _Ranks:
    """An order as it grows."""

    def __init__(self, sites: Mapping[str, Site], policy: Policy, around: Around) -> None:
        self._sites, self._policy, self._around = sites, policy, around
        self.found: list[RankedSite] = []
        self._seen: set[str] = set()
        self._rank = 0
        self._near = around.place

    def add_level(self, level: Sequence[Announced]) -> None:
        """What was announced for one prefix."""
        fresh = [said for said in level if self._is_new(said.site)]
        self._near = self._near or self._near_first(fresh)
        for said in self._in_order(fresh):
            kind = self._sites[said.site].kind
            self._add(RankedSite(said.site, kind, self._rank, route=said, gone=said.gone))
        self._rank += any(not said.gone for said in fresh)

    def add_asn(self) -> None:
        """The sites that serve the client's AS, whatever was announced."""
        asn = self._around.asn
        if asn is not None:
            mine = [site for site in self._sites.values() if asn in site.asns]
            self._add_all(mine, By.ASN, lambda _: f"AS{asn}")

    def add_open(self) -> None:
        """The sites open to anyone: by distance, then those for which there is none."""
        near, anyone = self._near, [site for site in self._sites.values() if site.open]
        if near is not None:
            placed = [site for site in anyone if place_of(site) is not None]
            self._add_all(placed, By.GEOGRAPHY, lambda site: f"{self._km(site):.0f} km")
        self._add_all(anyone, By.DEFAULT, lambda _: "")

    def _add_all(self, sites: Iterable[Site], by: By, detail: Callable[[Site], str]) -> None:
        fresh = [site for site in sites if self._is_new(site.id)]
        kinds = self._policy.kind_rank
        if by is By.GEOGRAPHY:
            fresh.sort(key=lambda site: (self._km(site), kinds[site.kind], site.id))
        else:
            fresh.sort(key=lambda site: (kinds[site.kind], self._km(site), site.id))
        for site in fresh:
            self._add(RankedSite(site.id, site.kind, self._rank, by, detail=detail(site)))
        self._rank += bool(fresh)

    def _add(self, ranked: RankedSite) -> None:
        self._seen.add(ranked.site)
        self.found.append(ranked)

    def _is_new(self, name: str) -> bool:
        site = self._sites.get(name)
        return site is not None and site.kind is not SiteKind.ORIGIN and name not in self._seen

    def _near_first(self, fresh: Sequence[Announced]) -> Place | None:
        """Where the nearest site is: as good as the client's own place."""
        first = next(iter(self._in_order(fresh)), None)
        return None if first is None else place_of(self._sites[first.site])

    def _in_order(self, fresh: Iterable[Announced]) -> list[Announced]:
        """As BGP decides, again and again: each time among the best of what remains."""
        remaining = sorted(fresh, key=self._before_med)
        order: list[Announced] = []
        while remaining:
            best = self._before_med(remaining[0])
            tied = [said for said in remaining if self._before_med(said) == best]
            order += _by_med(tied, lambda said: (self._km(self._sites[said.site]), said.site))
            remaining = remaining[len(tied) :]
        return order

    def _before_med(self, said: Announced) -> tuple[int, int, int, int]:
        kind = self._policy.kind_rank[self._sites[said.site].kind]
        return (kind, -said.local_pref, said.path_len, said.origin)

    def _km(self, site: Site) -> float:
        there = place_of(site)
        return 0.0 if self._near is None or there is None else distance_km(self._near, there)


def _by_med(
    tied: Iterable[Announced], rest: Callable[[Announced], tuple[float, str]]
) -> list[Announced]:
    """Routes that differ at most in MED and beyond, best first. A higher MED loses only to a lower
    one of the same neighbour (RFC 4271 §9.1.2.2 c); among what is left `rest` decides."""
    lines: dict[int, list[Announced]] = {}
    for said in sorted(tied, key=lambda said: (said.med, rest(said))):
        lines.setdefault(said.neighbor, []).append(said)
    order: list[Announced] = []
    while lines:
        # All with their neighbour's lowest MED are still in; the nearest of them goes next.
        head = min((line[0] for line in lines.values()), key=rest)
        order.append(head)
        line = lines[head.neighbor]
        line.pop(0)
        if not line:
            del lines[head.neighbor]
    return order


def place_of(site: Site) -> Place | None:
    """Where a site is, if the operator said so."""
    if site.latitude_deg is None or site.longitude_deg is None:
        return None
    return site.latitude_deg, site.longitude_deg


def distance_km(one: Place, other: Place) -> float:
    """Great-circle distance in kilometres (haversine)."""
    lat1, lat2 = math.radians(one[0]), math.radians(other[0])
    half_lat, half_lon = (lat2 - lat1) / 2, math.radians(other[1] - one[1]) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_lon) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, chord)))
