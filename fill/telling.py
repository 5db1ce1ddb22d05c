"""The commands `fill simulate` and `fill report`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table

from fill.commands import bar
from fill.config import DAY_S
from fill.explain import amount
from fill.files import Files, read_files
from fill.generation import Summary
from fill.inquiry import offload
from fill.ledger import ASKED, Ledger
from fill.plots import Points
from fill.tables import percent
from fill.told import config_option, faults_told, out
from wire.durable import write_durably
from wire.errors import NotFoundError
from wire.offload import OffloadReport

if TYPE_CHECKING:
    from fill.replay import SiteDay

_file = click.Path(dir_okay=False, path_type=Path)
COLUMNS = ("planned", "realised", "foreseen", "oracle", "lru")


@click.command()
@config_option
@click.option("--days", type=click.IntRange(1, 366), default=14, show_default=True,
              help="How many of the last days are replayed.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Order of plays for the LRU.")
@click.option("--out", "out_file", type=_file, help="Write every site and day as JSON.")
@faults_told
def simulate(config: Path, days: int, seed: int, out_file: Path | None) -> None:
    """Replay the last days of demand: what plans would have served, beside an oracle and LRU.

    Each night is foreseen and planned from the days before it alone, with today's boxes and
    settings. The oracle knew the day; the LRU cache has the same disks and fills itself by misses.
    What a site lacks comes to the next (embedded, pni, ix, transit), in plans and caches alike.
    Nothing is published. Files that cannot be read are refused with row and field.

    \b
    Example:  fill simulate --config fill.toml --days 7 --out simulated.json
    """
    from fill.replay import totals
    from fill.simulate import replay, run

    replayed = replay(read_files(config), days, cache=True, seed=seed)
    count = (replayed.span.last - replayed.span.first + 1) * len(replayed.places)
    with bar("sites and days", count) as progress:
        found = run(replayed, progress)
    judged = f"{count // len(replayed.places)} days replayed"
    table = Table(title=f"{judged}: share that sites serve of the bytes that come to them")
    table.add_column("site")
    for column in (
        "from nearer",
        *COLUMNS,
        "forecast regret",
        "planner gap",
        "churn at most",
        "WAPE",
    ):
        table.add_column(column, justify="right")
    sites = totals(found, lambda each: each.site)
    whole = totals(found, lambda _: "all")
    for name, each in [*sites.items(), *whole.items()]:
        shares = [getattr(each, column) for column in COLUMNS]
        regret, gap = each.oracle - each.foreseen, each.foreseen - each.realised
        cells = [each.taken_bytes / each.bytes, *shares, regret, gap, each.churn, each.wape]
        table.add_row(str(name), *(percent(cell) for cell in cells))
    out.print(table)
    click.echo(_by_anybody(whole["all"]))
    if out_file is not None:
        write_durably(out_file, msgspec.json.format(msgspec.json.encode(found)))
        click.echo(f"{out_file}: {len(found)} sites and days")


def _by_anybody(whole: SiteDay) -> str:
    """How much of everything some site served, and how much their caches would have."""
    own = max(whole.own_bytes, 1.0)
    plans, caches = (
        percent(1.0 - left / own) for left in (whole.own_left_bytes, whole.own_left_lru_bytes)
    )
    asked = amount(whole.own_bytes)
    return f"of {asked} asked for, sites served {plans} (caches: {caches}), the origin the rest"


@click.command()
@config_option
@click.option("--out", "out_file", type=_file, required=True, help="The HTML file.")
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True,
              help="Days that are replayed for the forecast's error.")  # fmt: skip
@faults_told
def report(config: Path, out_file: Path, days: int) -> None:
    """Write one HTML page: coverage, offload, churn, use of the window, forecast error.

    It needs no network and no other file. Files that cannot be read are refused with row and field.

    \b
    Example:  fill report --config fill.toml --out report.html
    """
    from fill.report import Facts, page
    from fill.simulate import replay, run

    files = read_files(config)
    with bar("sites and days") as progress:
        try:
            found = run(replay(files, days, cache=True), progress)
        except NotFoundError:  # a fleet's first day: the page says that there is nothing yet
            found = []
    generations, coverage, disks = _generations(files)
    facts = Facts(int(time.time()), generations, coverage, disks, _counted(files), found)
    write_durably(out_file, page(facts).encode())
    click.echo(f"{out_file}: {len(generations)} generations, {len(found)} sites and days")


def _generations(
    files: Files,
) -> tuple[list[Summary], dict[str, Points], dict[str, float]]:
    """Kept generations; for each site of the one in force its coverage curve and its disks' share
    of the catalogue."""
    ledger = Ledger(files.state)
    current = ledger.current()
    kept = [ledger.summary(number) for number in ledger.numbers() if number <= current]
    if not kept:
        return [], {}, {}
    entries = files.read_catalogue().entries
    whole = sum(entry.asset.bytes for entry in entries.values()) or 1
    asked = ledger.table(current, ASKED).to_pydict()
    by_site: dict[str, list[tuple[float, int]]] = {}
    for site, asset, own in zip(asked["site"], asked["asset"], asked["own_bytes"], strict=True):
        if own > 0 and asset in entries:
            by_site.setdefault(site, []).append((own, max(entries[asset].asset.bytes, 1)))
    disks: dict[str, float] = {}
    for box in kept[-1].boxes.values():
        disks[box.site] = disks.get(box.site, 0.0) + box.usable_bytes / whole
    return kept, {site: _curve(rows, whole) for site, rows in sorted(by_site.items())}, disks


def _curve(rows: list[tuple[float, int]], whole_bytes: int) -> Points:
    """(Share of the catalogue's bytes, share of demand) of the most asked-for assets."""
    total = sum(own for own, _ in rows)
    points, covered, size_bytes = [(0.0, 0.0)], 0.0, 0
    for own, size in sorted(rows, key=lambda row: -row[0] / row[1]):
        covered, size_bytes = covered + own, size_bytes + size
        points.append((size_bytes / whole_bytes, covered / total))
    return points


def _counted(files: Files) -> OffloadReport | None:
    if not files.history.exists():
        return None
    return offload(files, int(time.time()) - DAY_S)
