"""`make bench-offload`: what plans serve of made-up but lifelike demand, beside LRU and an oracle.

    python -m benchmarks.offload [--days N] [--disks 0.4,0.5,0.6] [--results DIR]

The audience is `benchmarks.offload_world`, which the planner knows nothing of. What the planner is
told: bytes by site, asset and day of the 28 days before, sizes, launch days, predecessors.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.offload_report import Row, judged, page
from benchmarks.offload_world import OLD_DAYS, SLOTS, Floats, Ints, Spec, World, make_world
from fill.config import PlanKnobs
from fill.forecasting.tomorrow import OLD, Assets, SiteRows
from fill.place import Box
from fill.replay import Place, Replay, SiteDay, Span, totals

REPORT = Path("../shared/data/netflix-engagement-2023h1.csv.gz")
DAY_ZERO = 20_006  # a Thursday of 2024; any will do
CHURN = 0.05  # of the disk, a night: what the window is made to carry
BESIDE_DAYS, BESIDE_DISK = 4, 0.6
LINK_BPS = 10**12  # links are not what this is about
KNOBS = PlanKnobs(reserve_share=0.0, away_share=0.0)


@click.command()
@click.option("--days", default=14, show_default=True, help="Days that are judged.")
@click.option("--disks", default="0.4,0.5,0.6", show_default=True, help="Shares of the catalogue.")
@click.option("--titles", default=2_000, show_default=True, help="Old titles in the catalogue.")
@click.option("--beside", default="800,4000", show_default=True, help="Other sizes of catalogue.")
@click.option("--seed", default=6, show_default=True)
@click.option("--report", default=str(REPORT), show_default=True, help="Netflix's 2023-H1 report.")
@click.option("--results", default="benchmarks/results", show_default=True)
def main(
    days: int, disks: str, titles: int, beside: str, seed: int, report: str, results: str
) -> None:
    """Replay days in both worlds with each disk; write and print what was found."""
    rows: list[Row] = []
    started_s = time.monotonic()
    for name, hours in worlds(Path(report)).items():
        world = make_world(Spec(seed=seed, titles_old=titles, days=days), hours)
        played = [world.day(day) for day in range(world.spec.all_days)]
        rows.extend(run(name, world, played, float(disk)) for disk in disks.split(","))
    others = [_beside(Path(report), int(count), seed) for count in beside.split(",") if count]
    text = page(rows, others, Path(report).exists(), time.monotonic() - started_s)
    folder = Path(results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "offload.md").write_text(text)
    (folder / "offload.json").write_text(json.dumps([row.as_dict() for row in rows], indent=1))
    click.echo(text)
    sys.exit(0 if all(judged(row) for row in rows if row.world == "available everywhere") else 1)


def _beside(report: Path, titles: int, seed: int) -> Row:
    """The largest disk and the longest tail for a few days, with another number of titles."""
    name, hours = list(worlds(report).items())[-1]
    world = make_world(Spec(seed=seed, titles_old=titles, days=BESIDE_DAYS), hours)
    played = [world.day(day) for day in range(world.spec.all_days)]
    return run(name, world, played, BESIDE_DISK)


def worlds(report: Path) -> dict[str, Floats | None]:
    """Hours in falling order of what every site's clients can watch, and of all titles."""
    if not report.exists():
        return {"from quantiles of the report": None}
    with gzip.open(report, "rt", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    hours = np.array([float(row["Hours Viewed"].replace(",", "")) for row in rows])
    everywhere = np.array([row["Available Globally?"].strip() == "Yes" for row in rows])
    return {
        "available everywhere": np.sort(hours[everywhere])[::-1],
        "all titles": np.sort(hours)[::-1],
    }


def run(name: str, world: World, played: Sequence[Ints], disk: float) -> Row:
    """Replay one world with boxes whose disk is that share of the catalogue of the first day."""
    spec = world.spec
    out = np.repeat(world.launch < spec.warm_days, SLOTS)
    capacity = int(disk * world.size_bytes[out].sum())
    box = (capacity, int(CHURN * capacity), LINK_BPS)
    places = [
        Place(f"site-{site}", site // spec.sites_per_region, (Box(f"box-{site}", *box),), rows)
        for site, rows in enumerate(rows_of(world, played))
    ]
    first = DAY_ZERO + spec.warm_days
    replay = Replay(
        assets_of(world),
        places,
        spec.regions,
        KNOBS,
        Span(first, first + spec.days - 1),
        sequence=lambda day, site, _: _sequence(world, played, day - DAY_ZERO, site),
    )
    total, what = spec.days * spec.sites, f"{name}, {disk:.0%}"
    steps = track(
        replay.days(), what, total, console=Console(stderr=True), disable=not sys.stderr.isatty()
    )
    found = list(steps)
    whole = totals(found, lambda _: "all")["all"]
    return Row(
        world=name,
        disk=disk,
        titles=len(world.launch),
        rates=_by_rates(world, played, capacity),
        launches=_launch_share(world, played),
        days=found,
        whole=whole,
        worst=_worst(found),
    )


def rows_of(world: World, played: Sequence[Ints]) -> list[SiteRows]:
    """What every site counted, day by day."""
    sites = []
    for site in range(world.spec.sites):
        at = [np.flatnonzero(counts[site]) for counts in played]
        sites.append(
            SiteRows(
                np.repeat(DAY_ZERO + np.arange(len(at)), [len(each) for each in at]).astype("i4"),
                np.concatenate(at).astype(np.int32),
                np.concatenate(
                    [c[site][a] * world.size_bytes[a] for c, a in zip(played, at, strict=True)]
                ),
            )
        )
    return sites


def assets_of(world: World) -> Assets:
    """What the planner is told of the titles: no popularity, no taste, no split."""
    count = len(world.size_bytes)
    title = np.arange(count) // SLOTS
    launch = np.where(world.launch < -OLD_DAYS, OLD, DAY_ZERO + world.launch)
    return Assets(
        id=np.arange(count, dtype=np.int32),
        size_bytes=world.size_bytes,
        title=title.astype(np.int32),
        slot=(np.arange(count) % SLOTS).astype(np.int32),
        launch_day=launch[title].astype(np.int32),
        like=world.like[title].astype(np.int32),
    )


def _sequence(
    world: World, played: Sequence[Ints], day: int, site: int
) -> tuple[list[int], Floats]:
    order = world.sequence(day, site, played[day][site])
    return order.tolist(), world.size_bytes[order]


def _by_rates(world: World, played: Sequence[Ints], capacity: int) -> float:
    """Offload of whoever knows how often each asset is expected to be played, but not the dice."""
    served = asked = 0.0
    for day in range(world.spec.warm_days, world.spec.all_days):
        for rate, counts in zip(world.plays(day), played[day], strict=True):
            order = np.argsort(-rate, kind="stable")
            room = capacity - (np.cumsum(world.size_bytes[order]) - world.size_bytes[order])
            part = np.clip(room / world.size_bytes[order], 0.0, 1.0)
            sizes = counts * world.size_bytes
            served += float((sizes[order] * part).sum())
            asked += float(sizes.sum())
    return served / asked


def _launch_share(world: World, played: Sequence[Ints]) -> float:
    """The least share, over the judged days, of a day's bytes that its own launches had."""
    shares = []
    for day in range(world.spec.warm_days, world.spec.all_days):
        sizes = played[day] * world.size_bytes
        new = np.repeat(world.launch == day, SLOTS)
        shares.append(float(sizes[:, new].sum() / sizes.sum()))
    return min(shares)


def _worst(found: Sequence[SiteDay]) -> SiteDay:
    return max(found, key=lambda each: each.churn)


if __name__ == "__main__":
    main()
