"""A fleet, a catalogue and a week of counts for the planner's benchmark, from one seed.

Every site asks for every asset, each in its own measure (so demands are sites × assets, before and
after the forecast); popularity with a heavy body; four assets a title;
sites of 1 to 8 boxes, one in four with a flash box (a third of the disk, four times the link);
one site in twelve is an exchange that takes over from its own group of ISPs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fill.arrays import AssetArrays
from fill.config import PlanKnobs
from fill.forecasting.tomorrow import OLD, Assets, SiteRows
from wire.fleet import Appliance, Fleet, Site
from wire.ids import SiteKind

DAYS = 7
LADDER = 4
GROUP = 12
LINK_BPS = 20 * 10**9
PATTERN = (3, 5, 2, 8, 4, 1, 6, 3)  # boxes a site: 4 on the mean
DISK_SHARE = 0.55  # a site's disks ÷ the bytes of all that its clients ask for
NOISE = 0.25


@dataclass(frozen=True, slots=True)
class World:
    """What a night of the benchmark starts from; `counts` (rows, DAYS): bytes by site, one block of
    `asked` rows each; `at` (sites, asked): which assets."""

    fleet: Fleet
    assets: AssetArrays
    described: Assets
    behind: dict[str, tuple[str, ...]]
    at: NDArray[np.int32]
    counts: NDArray[np.float32]

    def rows(self, site: int) -> SiteRows:
        """A week of one site, as the forecast reads it."""
        many = self.at.shape[1]
        block = self.counts[site * many : (site + 1) * many]
        day = np.repeat(np.arange(DAYS, dtype=np.int32), many)
        at = np.tile(self.at[site], DAYS)
        return SiteRows(day, at, block.T.ravel().astype(np.float64))


def make_world(sites: int, asked: int, seed: int = 1) -> World:
    """`sites` sites that ask for `asked` assets each."""
    rng = np.random.default_rng(seed)
    many = asked = asked // LADDER * LADDER
    title = np.arange(many, dtype=np.int32) // LADDER
    size = (
        np.repeat(rng.lognormal(21.0, 0.6, many // LADDER), LADDER)
        * np.tile([2.0, 1.0, 0.5, 0.1], many // LADDER)
    ).astype(np.int64) + 1
    level = np.repeat(np.exp(rng.normal(-2.5, 2.0, many // LADDER)), LADDER)
    assets = AssetArrays(np.arange(many, dtype=np.int32), size, (title * LADDER).astype(np.int64))
    described = Assets(
        assets.ids,
        size.astype(float),
        title,
        np.tile(np.arange(LADDER, dtype=np.int32), many // LADDER),
        np.full(many, OLD, np.int32),
        np.full(many, -1, np.int32),
    )
    at = np.empty((sites, asked), np.int32)
    counts = np.empty((sites * asked, DAYS), np.float32)
    week = 1.0 + 0.3 * np.sin(np.arange(DAYS))
    for site in range(sites):
        mine = at[site] = np.arange(many, dtype=np.int32)
        local = size[mine] * level[mine] * np.exp(rng.normal(0, 0.7, asked))
        noise = np.exp(rng.normal(0, NOISE, (asked, DAYS)))
        counts[site * asked : (site + 1) * asked] = local[:, None] * week * noise
    fleet, behind = _fleet(sites, counts, asked, size[at].sum(axis=1), rng)
    return World(fleet, assets, described, behind, at, counts)


def _fleet(
    sites: int,
    counts: NDArray[np.float32],
    asked: int,
    wanted: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[Fleet, dict[str, tuple[str, ...]]]:
    places, boxes = [], []
    behind: dict[str, tuple[str, ...]] = {}
    group: list[str] = []
    for number in range(sites):
        name, exchange = f"s{number:03d}", number % GROUP == GROUP - 1
        kind = SiteKind.IX if exchange else SiteKind.EMBEDDED
        places.append(Site(id=name, kind=kind, region=f"r{number % 5}"))
        if exchange:
            behind[name], group = tuple(group), []
        else:
            group.append(name)
        count = PATTERN[number % len(PATTERN)]
        disk = int(wanted[number] * DISK_SHARE / count)
        day = float(counts[number * asked : (number + 1) * asked].sum(axis=0).mean())
        link = max(LINK_BPS, int(day * 8 / 86_400 * 3.0 * 1.6 / count))
        for box in range(count):
            flash = number % 4 == 0 and box == 0 and count > 1
            boxes.append(
                Appliance(
                    id=f"{name}-{box}",
                    site=name,
                    public_key=f"ed25519:{number}.{box}",
                    hosts=(f"{name}-{box}.example",),
                    disks_bytes=(disk // 3 if flash else disk,),
                    link_bps=link * (4 if flash else 1),
                )
            )
    places.append(Site(id="origin", kind=SiteKind.ORIGIN))
    boxes.append(
        Appliance(
            id="origin",
            site="origin",
            public_key="ed25519:o",
            hosts=("origin.example",),
            disks_bytes=(2**50,),
            link_bps=2 * 10**12,
        )
    )
    return Fleet(sites=tuple(places), appliances=tuple(boxes)), behind


def knobs() -> PlanKnobs:
    """The planner's settings in the benchmark: the defaults, but for whole disks."""
    return PlanKnobs(reserve_share=0.05)
