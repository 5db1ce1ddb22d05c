"""The fleet and the crowd of `steering simulate`: regions of one exchange and its ISPs. Pure.

A region is an exchange of 40 boxes and 20 ISPs with an embedded site of 8 boxes each: 50 regions
are 10,000 appliances. In the first regions three ISPs are struck: one loses a box, one gets a
crowd, one loses its whole site and gets it back. The crowd is made of groups: viewers of one
network who watch one title, so that they are sent to the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steering.address import Client
from steering.arrays import Array
from steering.locate import RouteTable
from wire.fleet import Appliance, Fleet, Site
from wire.ids import ORIGIN_ID, SiteKind
from wire.reports import Route

ISPS, ISP_BOXES, EXCHANGE_BOXES = 20, 8, 40
ISP_BOX_BPS, EXCHANGE_BOX_BPS = 10 * 10**9, 20 * 10**9
LOST, CROWD, DARK = 0, 1, 2
"""Which ISP of a struck region meets what."""
USUAL, QUIET = 0.7, 0.3
"""Demand at a struck site before anything happens, and at all others, as shares of capacity."""
CROWD_EXTRA = 0.42
"""What the crowd adds: 1.12 of what the site can send, so a quarter has to go elsewhere."""
QUIET_GROUPS = 3  # a box, elsewhere
_ISP_BLOCKS = 48  # /24 networks of one ISP
_KEY = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


@dataclass(frozen=True, slots=True)
class Scale:
    """How large: regions, struck ones among them, and groups of viewers a box of a struck ISP."""

    regions: int = 50
    struck: int = 8
    groups: int = 100

    @property
    def boxes(self) -> int:
        """Appliances in all."""
        return self.regions * (EXCHANGE_BOXES + ISPS * ISP_BOXES)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Groups of viewers, by number: where they are, what they watch, how much that takes, and when
    they begin (seconds; 0: they are there from the start)."""

    clients: list[Client]
    titles: list[str]
    bps: Array
    begin_s: Array


@dataclass(frozen=True, slots=True)
class World:
    """All of it. `site_of`: number of each box's site; struck sites by (region, ISP)."""

    fleet: Fleet
    table: RouteTable
    crowd: Crowd
    link_bps: Array
    site_of: Array
    sites: list[str]
    scale: Scale

    def boxes_of(self, region: int, isp: int) -> Array:
        """The numbers of the boxes of an ISP."""
        return np.flatnonzero(self.site_of == self.sites.index(isp_name(region, isp)))


def isp_name(region: int, isp: int) -> str:
    """The site of an ISP."""
    return f"r{region}-isp{isp}"


def build(scale: Scale, from_s: float, over_s: float, rng: np.random.Generator) -> World:
    """A world in which the crowds come within `over_s`, beginning at `from_s`."""
    sites = [Site(id=f"r{n}-ix", kind=SiteKind.IX) for n in range(scale.regions)]
    sites += [
        Site(id=isp_name(n, isp), kind=SiteKind.EMBEDDED)
        for n in range(scale.regions)
        for isp in range(ISPS)
    ]
    boxes = [_box(site, n) for site in sites for n in range(_count(site))]
    names = [site.id for site in sites]
    number = {name: at for at, name in enumerate(names)}
    origin_site = Site(id="origin", kind=SiteKind.ORIGIN)
    origin = _appliance(ORIGIN_ID, "origin", 10**13)
    return World(
        fleet=Fleet(sites=(*sites, origin_site), appliances=(*boxes, origin)),
        table=RouteTable(_routes(scale)),
        crowd=_crowd(scale, from_s, over_s, rng),
        link_bps=np.array([box.link_bps for box in boxes], float),
        site_of=np.array([number[box.site] for box in boxes]),
        sites=names,
        scale=scale,
    )


def _count(site: Site) -> int:
    return EXCHANGE_BOXES if site.kind is SiteKind.IX else ISP_BOXES


def _box(site: Site, n: int) -> Appliance:
    bps = EXCHANGE_BOX_BPS if site.kind is SiteKind.IX else ISP_BOX_BPS
    return _appliance(f"{site.id}-{n}", site.id, bps)


def _appliance(name: str, site: str, link_bps: int) -> Appliance:
    return Appliance(
        id=name, site=site, public_key=_KEY, hosts=(name,), disks_bytes=(1,), link_bps=link_bps
    )


def _block(region: int, isp: int, n: int) -> int:
    """The first address of a /24."""
    return (10 << 24) + (((region * ISPS + isp) * 64 + n) << 8)


def _routes(scale: Scale) -> list[tuple[str, Route]]:
    """Each ISP announces its /18 to its own site and to the exchange."""
    found = []
    for region in range(scale.regions):
        for isp in range(ISPS):
            start = _block(region, isp, 0)
            prefix = ".".join(str(start >> shift & 255) for shift in (24, 16, 8, 0)) + "/18"
            found.append((isp_name(region, isp), Route(prefix=prefix)))
            found.append((f"r{region}-ix", Route(prefix=prefix)))
    return found


def _crowd(scale: Scale, from_s: float, over_s: float, rng: np.random.Generator) -> Crowd:
    clients: list[Client] = []
    titles: list[str] = []
    bps: list[float] = []
    begin_s: list[float] = []

    def add(region: int, isp: int, count: int, share: float, comes: bool) -> None:
        each = share * ISP_BOXES * ISP_BOX_BPS / count
        for n in range(count):
            clients.append(Client(4, _block(region, isp, n % _ISP_BLOCKS) + 1, ""))
            titles.append(f"t{rng.integers(10**9)}")
            bps.append(each)
            begin_s.append(from_s + over_s * (n + 1) / count if comes else 0.0)

    for region in range(scale.regions):
        for isp in range(ISPS):
            struck = region < scale.struck and isp in (LOST, CROWD, DARK)
            many = ISP_BOXES * (scale.groups if struck else QUIET_GROUPS)
            add(region, isp, many, USUAL if struck else QUIET, False)
            if struck and isp == CROWD:
                add(region, isp, int(many * CROWD_EXTRA / USUAL), CROWD_EXTRA, True)
    return Crowd(clients, titles, np.array(bps), np.array(begin_s))
