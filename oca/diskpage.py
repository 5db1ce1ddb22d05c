"""`oca disks` and `oca scrub-status` as pages for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BAR_CHARS = 24
SLOW_S = 0.2  # shown yellow
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def disks_page(status: Mapping[str, Any]) -> Group:
    """Every disk: whether it is used and why not, how full, how quick; `status` is /v1/disks."""
    table = Table("disk", "state", "used", "", "free", "size", "assets", "probe", box=None)
    off = []
    for disk in status["disks"]:
        live = disk["state"] == "in use"
        used = disk["bytes"] - disk["free_bytes"] if live else 0
        table.add_row(
            disk["path"],
            Text("in use", "green") if live else Text("off", "bold red"),
            size(used) if live else "-",
            ProgressBar(max(1, disk["bytes"]), used, width=BAR_CHARS),
            size(disk["free_bytes"]) if live else "-",
            size(disk["bytes"]),
            f"{disk['assets']:,}",
            _latency(disk["latency_s"]),
        )
        if not live:
            off.append(Text(f"{disk['path']}: {disk['why']}", "red"))
    if not status["stock_known"]:
        off.append(Text("the index is being built: nothing is fetched until it is", "yellow"))
    return Group(table, *off)


def scrub_page(status: Mapping[str, Any]) -> Group:
    """How far the reading of everything is; `status` is /v1/disks."""
    scrub = status["scrub"]
    if scrub is None:
        return Group(Text("the origin's tree is not read again by us"))
    table = Table("disk", "read again", "", "assets", "oldest", "scheduler", box=None)
    left = 0
    for disk in scrub["disks"]:
        left += disk["bytes"] - disk["verified_bytes"]
        name = disk["scheduler"] or "?"
        table.add_row(
            disk["path"],
            f"{size(disk['verified_bytes'])} of {size(disk['bytes'])}",
            ProgressBar(max(1, disk["bytes"]), disk["verified_bytes"], width=BAR_CHARS),
            f"{disk['verified_assets']:,} of {disk['assets']:,}",
            "never" if disk["oldest_s"] is None else f"{days(disk['oldest_s'])} ago",
            name if disk["heeds_priority"] else Text(f"{name}: no idle class", "yellow"),
        )
    return Group(table, Text(_pace(scrub, left)), Text(_bad(scrub)))


def _latency(took_s: float) -> Text:
    return Text(f"{took_s * 1000:.1f} ms", "yellow" if took_s > SLOW_S else "")


def _pace(scrub: Mapping[str, Any], left_bytes: int) -> str:
    rate, every = scrub["rate_bytes_s"], days(scrub["every_s"])
    if not rate:
        return "scrub.rate_bytes_s = 0: nothing is read again"
    now = f"asset {scrub['now']['asset']}" if scrub["now"] else "nothing, all is fresh"
    eta = f", the rest in {days(left_bytes / rate)}" if left_bytes else ""
    return (
        f"reading {now}; at {size(rate)}/s{eta}; each asset every {every}; I/O {_priority(scrub)}"
    )


def _priority(scrub: Mapping[str, Any]) -> str:
    why = scrub["io_priority"]
    return "priority idle" if why == "idle" else f"priority as usual ({why})"


def _bad(scrub: Mapping[str, Any]) -> str:
    bad = scrub["bad_files"]
    return f"{bad} rotten files set aside since the start" if bad else "no rot since the start"


def size(count: float) -> str:
    """Bytes for people: 3 digits and a decimal unit."""
    for unit in _UNITS:
        if count < 999.5 or unit == _UNITS[-1]:
            return f"{count:.3g} {unit}"
        count /= 1000
    return ""


def days(seconds: float) -> str:
    """A duration for people."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.0f} s"
