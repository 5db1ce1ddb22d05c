"""Tables for people at a terminal. Pure: what is printed, not the printing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from rich.table import Table

from fill.brakes import Wants
from fill.explain import amount
from fill.generation import SiteSummary, Summary
from wire.offload import OffloadReport


def site_table(summary: Summary) -> Table:
    """Planned offload and its bound, site by site."""
    table = Table(title=f"Generation {summary.generation}: sites")
    table.add_column("site")
    table.add_column("kind")
    for name in ("demand a day", "planned", "at best", "taken from nearer", "of that served"):
        table.add_column(name, justify="right")
    table.add_column("to fetch", justify="right")
    table.add_column("fullest box", justify="right")
    for name, site in sorted(summary.sites.items()):
        boxes = [box for box in summary.boxes.values() if box.site == name]
        fullest = max((share(box.planned_bytes, box.usable_bytes) or 0 for box in boxes), default=0)
        table.add_row(
            name,
            site.kind,
            amount(site.demand_bytes),
            percent(site.offload),
            percent(site.oracle),
            amount(site.taken_bytes),
            percent(share(site.covered_bytes, site.taken_bytes)),
            amount(sum(box.fetch_bytes for box in boxes)),
            percent(fullest),
        )
    return table


def box_table(summary: Summary) -> Table:
    """What each box is to hold, fetch and drop, and its prices."""
    table = Table(title=f"Generation {summary.generation}: boxes")
    table.add_column("box")
    table.add_column("site")
    for name in ("plan", "full", "keep", "fetch", "drop", "to fetch", "τ", "μ"):
        table.add_column(name, justify="right")
    for name, box in sorted(summary.boxes.items()):
        table.add_row(
            name,
            box.site if box.state == "in_service" else f"{box.site} ({box.state})",
            str(box.generation),
            percent(share(box.planned_bytes, box.usable_bytes)),
            str(box.keep),
            str(box.fetch),
            str(box.drop),
            amount(box.fetch_bytes),
            f"{box.tau:.3g}",
            f"{box.mu:.3g}",
        )
    return table


def offload_table(report: OffloadReport) -> Table:
    """Who served the clients of each home site."""
    table = Table(title="Bytes to players, by home site")
    table.add_column("home")
    table.add_column("bytes", justify="right")
    table.add_column("served by")
    table.add_column("offload", justify="right")
    table.add_column("planned", justify="right")
    for home, row in sorted(report.homes.items()):
        served = sorted(row.by_site.items(), key=lambda pair: (-pair[1], pair[0]))
        told = ", ".join(f"{site} {amount(count)}" for site, count in served)
        table.add_row(
            home or "(unknown)",
            amount(row.bytes),
            told,
            percent(row.realised),
            percent(row.planned),
        )
    return table


@dataclass(frozen=True, slots=True)
class Held:
    """What boxes are to hold in one generation; `plans`: the generation of each one's plan."""

    plans: Mapping[str, int]
    wants: Mapping[str, Wants]


def diff_table(old: Held, new: Held, title: str) -> Table:
    """What each box gains and loses between two generations."""
    table = Table(title=title)
    table.add_column("box")
    for name in ("plans", "new", "new bytes", "gone", "gone bytes", "same"):
        table.add_column(name, justify="right")
    none = Wants(np.zeros(0, np.int32), np.zeros(0, np.int64))
    for name in sorted(old.plans.keys() | new.plans.keys()):
        before, after = old.wants.get(name, none), new.wants.get(name, none)
        gained = ~np.isin(after.assets, before.assets)
        lost = ~np.isin(before.assets, after.assets)
        numbers = [str(held.plans.get(name, "-")) for held in (old, new)]
        table.add_row(
            name,
            " → ".join(numbers),
            str(int(gained.sum())),
            amount(float(after.bytes[gained].sum())),
            str(int(lost.sum())),
            amount(float(before.bytes[lost].sum())),
            str(int((~gained).sum())),
        )
    return table


def price_table(summary: Summary) -> Table:
    """What each further point of offload costs: bytes of disk that one copy of the most asked for
    takes, beside the disks that are there."""
    table = Table(title="Disk for a share of demand (one copy of what is asked for most)")
    table.add_column("site")
    shares = list(next((site.points for site in summary.sites.values() if site.points), {}))
    for name in (*shares, "next point", "disks", "plan"):
        table.add_column(name, justify="right")
    for name, site in sorted(summary.sites.items()):
        if not site.demand_bytes:
            continue
        disks = sum(box.usable_bytes for box in summary.boxes.values() if box.site == name)
        table.add_row(
            name,
            *(amount(size) for size in site.points.values()),
            _next_point(site),
            amount(disks),
            percent(site.offload),
        )
    return table


def _next_point(site: SiteSummary) -> str:
    """Bytes of disk for one more point above what is planned."""
    known = sorted((float(name.rstrip("%")), size) for name, size in site.points.items())
    have = 100.0 * (site.offload or 0.0)
    for (low, less), (high, more) in pairwise(known):
        if have < high:
            return amount((more - less) / (high - low))
    return "-"


def schedule_lines(summary: Summary) -> list[str]:
    """When the transfers end, and what will not make it."""
    told = summary.schedule
    if told is None:
        return []
    hours, bound = told.makespan_s / 3600, told.makespan_bound_s / 3600
    since = "the plan, in the sites' own windows" if told.own_hours else "the window opens"
    lines = [
        f"transfers: {amount(told.upstream_bytes)} into sites (at least "
        f"{amount(told.upstream_bound_bytes)}), {amount(told.peer_bytes)} between neighbours; "
        f"done {hours:.2f} h after {since} (no night could end before {bound:.2f} h)"
    ]
    if told.late:
        cost = sum(told.late_cost_bytes.values())
        lines.append(
            f"will not make it tonight: {told.late} transfers, {amount(told.late_bytes)} are "
            f"missing at the end of the window; {amount(cost)} will be asked for a day meanwhile"
        )
    return lines


def share(part: float, whole: float) -> float | None:
    """`part` of `whole`, 0 to 1; None when there is no whole."""
    return part / whole if whole else None


def percent(value: float | None) -> str:
    """A share as people read it."""
    return "-" if value is None else f"{value:.1%}"
