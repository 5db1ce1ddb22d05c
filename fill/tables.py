"""Tables for people at a terminal. Pure: what is printed, not the printing."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from fill.explain import amount
from fill.generation import Summary
from wire.offload import OffloadReport
from wire.plan import Plan


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


def diff_table(old: Mapping[str, Plan], new: Mapping[str, Plan], title: str) -> Table:
    """What each box gains and loses between two generations."""
    table = Table(title=title)
    table.add_column("box")
    for name in ("plans", "new", "new bytes", "gone", "gone bytes", "same"):
        table.add_column(name, justify="right")
    for name in sorted(old.keys() | new.keys()):
        before = {i.asset: i.bytes for i in old[name].desired} if name in old else {}
        after = {i.asset: i.bytes for i in new[name].desired} if name in new else {}
        gained = [asset for asset in after if asset not in before]
        lost = [asset for asset in before if asset not in after]
        numbers = [str(plans[name].generation) if name in plans else "-" for plans in (old, new)]
        table.add_row(
            name,
            " → ".join(numbers),
            str(len(gained)),
            amount(sum(after[asset] for asset in gained)),
            str(len(lost)),
            amount(sum(before[asset] for asset in lost)),
            str(len(after) - len(gained)),
        )
    return table


def share(part: float, whole: float) -> float | None:
    """`part` of `whole`, 0 to 1; None when there is no whole."""
    return part / whole if whole else None


def percent(value: float | None) -> str:
    """A share as people read it."""
    return "-" if value is None else f"{value:.1%}"
