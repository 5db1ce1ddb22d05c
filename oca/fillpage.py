"""What an operator sees of a fill: bars, rates, what waits and why, from /v1/status. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

ROWS_MAX = 12
BAR_WIDTH = 24

Status = Mapping[str, Any]


def bytes_text(count: float) -> str:
    """1.5 GB: decimal, as disks and links are sold."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def bps_text(bps: float) -> str:
    """1.2 Gb/s."""
    return bytes_text(bps)[:-1] + "b/s" if bps else "-"


def seconds_text(seconds: float | None) -> str:
    """1:02:03, or a dash when nobody knows."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def page(status: Status) -> RenderableType:
    """Everything, one block below the other."""
    blocks: list[RenderableType] = [summary(status)]
    if status["progress"]:
        blocks.append(running(status["progress"]))
    waiting = [item for item in status["next"] if item["asset"] not in set(status["running"])]
    if waiting:
        blocks.append(queue(waiting, status["left"] - len(status["running"])))
    if status["sources"]:
        blocks.append(sources(status["sources"]))
    return Group(*blocks)


def summary(status: Status) -> Table:
    """The plan, the window, the budget, and how long it will take."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    done, left = status["held_bytes"], status["left_bytes"]
    table.add_row("plan", _plan_text(status))
    table.add_row(
        "stored",
        _bar(done, done + left),
        f"{status['held']} assets, {bytes_text(done)}; {status['left']} to come, "
        f"{bytes_text(left)}",
    )
    table.add_row("now", _now_text(status), f"left: {seconds_text(status['eta_s'])}")
    table.add_row("window", _window_text(status))
    budget = status["budget"]
    table.add_row(
        "budget",
        _bar(budget["plan_spent_bytes"], budget["plan_bytes"]),
        f"{bytes_text(budget['plan_spent_bytes'])} of {bytes_text(budget['plan_bytes'])} (plan)",
    )
    if budget["night_bytes"]:
        spent = f"{bytes_text(budget['night_spent_bytes'])} of {bytes_text(budget['night_bytes'])}"
        bar = _bar(budget["night_spent_bytes"], budget["night_bytes"])
        table.add_row("", bar, f"{spent} (night of {budget['night']})")
    if status["no_room_for"]:
        table.add_row("no room for", f"{len(status['no_room_for'])} assets of the plan")
    return table


def _plan_text(status: Status) -> str:
    if status["plan_refused"]:
        return f"generation {status['generation']}; REFUSED: {status['plan_refused']}"
    return f"generation {status['generation']}" if status["generation"] else "none yet"


def _now_text(status: Status) -> str:
    if status["paused"]:
        return f"paused: {status['paused']}"
    text = bps_text(status["bps"])
    if status["limit_bps"]:
        text += f" of {bps_text(status['limit_bps'])}"
    return f"{text}, yielding: {status['yields']}" if status["yields"] else text


def _window_text(status: Status) -> str:
    text = status["window"] + (f" ({status['timezone']})" if status["timezone"] else "")
    minutes = status["opens_in_min"]
    return f"{text}, opens in {minutes // 60}:{minutes % 60:02}" if minutes else text


def running(items: Sequence[Status]) -> Table:
    """One bar for each asset under way."""
    table = _table("asset", "", "", "rate", "left", "from")
    for item in sorted(items, key=lambda item: -item["have_bytes"] / max(1, item["bytes"])):
        table.add_row(
            str(item["asset"]),
            _bar(item["have_bytes"], item["bytes"]),
            f"{bytes_text(item['have_bytes'])} / {bytes_text(item['bytes'])}",
            bps_text(item["bps"]),
            seconds_text(item["eta_s"]),
            ", ".join(item["sources"]) or "-",
        )
    return table


def queue(items: Sequence[Status], total: int) -> Table:
    """What comes next, and why it has not come yet."""
    table = _table("next", "size", "why not yet")
    for item in items[:ROWS_MAX]:
        table.add_row(str(item["asset"]), bytes_text(item["bytes"]), item["why"] or "its turn")
    if total > ROWS_MAX:
        table.add_row(f"… {total - min(len(items), ROWS_MAX)} more", "", "")
    return table


def sources(known: Mapping[str, Status]) -> Table:
    """Who was asked, how they fared, and who is struck off."""
    table = _table("source", "came", "at once", "faults", "state")
    for name, source in sorted(known.items()):
        faults = ", ".join(f"{fault} {count}" for fault, count in source["faults"].items())
        state = Text("well", style="green")
        if source["not_asked_s"]:
            word = "STRUCK OFF" if source["struck_off"] else "not asked"
            text = f"{word} for {seconds_text(source['not_asked_s'])}: {source['why']}"
            state = Text(text, style="red")
        at_once = f"{source['at_once']} of {source['at_once_max']}"
        table.add_row(name, bytes_text(source["bytes"]), at_once, faults or "-", state)
    return table


def _bar(done: float, total: float) -> ProgressBar:
    return ProgressBar(total=max(1.0, total), completed=min(done, total), width=BAR_WIDTH)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table
