"""Sites in order of network proximity alone. Pure, and blind to health, load and content.

The order is prefix length, kind of site, then BGP's own decision (RFC 4271 §9.1.2.2: local
preference, AS-path length, origin code, MED), then distance. Sites that announced the longest
prefix have rank 0; each less specific prefix that adds a site is one rank further.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steering.locate import Announced, Level
from steering.policy import DEFAULT, Policy
from wire.fleet import Site
from wire.ids import SiteKind

EARTH_KM = 6371.0
_ORIGIN_CODES = ("igp", "egp", "incomplete")


@dataclass(frozen=True, slots=True)
class RankedSite:
    """One site with its rank and what gave it: the prefix it announced, and how (None: origin)."""

    site: str
    kind: SiteKind
    rank: int
    prefix: str
    route: Announced | None

    @property
    def why(self) -> str:
        """What ranked it, for people."""
        if self.route is None:
            return "the origin: last resort"
        return (
            f"{self.prefix} · {self.kind} · local-pref {self.route.local_pref} · "
            f"AS path {self.route.path_len} · {_ORIGIN_CODES[self.route.origin]} · "
            f"MED {self.route.med}"
        )


def rank_sites(
    levels: Sequence[Level], sites: Mapping[str, Site], policy: Policy = DEFAULT
) -> tuple[RankedSite, ...]:
    """The sites that announced the client's prefixes, nearest first. The origin is not among them.

    Ties are broken by distance to the nearest site (as good as the client's own place until there
    are tables of geography), then by name, so that every replica gives the same order.
    """
    ranked: list[RankedSite] = []
    seen: set[str] = set()
    near: Site | None = None
    rank = 0
    for level in levels:
        fresh = [said for said in level.sites if said.site not in seen and _ranks(said, sites)]
        if not fresh:
            continue
        fresh.sort(key=lambda said: (*_proximity(said, sites, policy), said.site))
        near = near or sites[fresh[0].site]
        fresh.sort(key=lambda said: (*_proximity(said, sites, policy), _km(near, sites[said.site])))
        for said in fresh:
            seen.add(said.site)
            kind = sites[said.site].kind
            ranked.append(RankedSite(said.site, kind, rank, level.prefix, said))
        rank += 1
    return tuple(ranked)


def _ranks(said: Announced, sites: Mapping[str, Site]) -> bool:
    site = sites.get(said.site)
    return site is not None and site.kind is not SiteKind.ORIGIN


def _proximity(said: Announced, sites: Mapping[str, Site], policy: Policy) -> tuple[int, ...]:
    return (policy.kind_rank[sites[said.site].kind], *said.key)


def _km(one: Site | None, other: Site) -> float:
    """Great-circle distance in kilometres (haversine); 0 where a place is not known."""
    if one is None or one.latitude_deg is None or one.longitude_deg is None:
        return 0.0
    if other.latitude_deg is None or other.longitude_deg is None:
        return 0.0
    lat1, lat2 = math.radians(one.latitude_deg), math.radians(other.latitude_deg)
    half_lat = (lat2 - lat1) / 2
    half_lon = math.radians(other.longitude_deg - one.longitude_deg) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_lon) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, chord)))
