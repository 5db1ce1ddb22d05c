"""How the story looks on a terminal: bars, tables and the verdict. Plain words, few figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.demo import layout
from deploy.demo.playback import Stall
from deploy.demo.screening import Accident, Viewer
from deploy.demo.tally import Bytes, Check, by_serving_site, offload

BAR_WIDTH = 30
BUFFER_MARKS = 10


def megabytes(size_bytes: float) -> str:
    """`12.3 MB`."""
    return f"{size_bytes / 1e6:.1f} MB"


def percent(share: float) -> str:
    """`93.4 %`."""
    return f"{100 * share:.1f} %"


def byte_bars(console: Console) -> Progress:
    """Progress bars that count bytes."""
    return Progress(
        TextColumn("  {task.description:<26}"),
        BarColumn(BAR_WIDTH),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def share_bars(console: Console) -> Progress:
    """Progress bars that count parts of a hundred."""
    return Progress(
        TextColumn("  {task.description:<26}"),
        BarColumn(BAR_WIDTH),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
    )


def fleet_table(total_bytes: int, planned: Mapping[str, tuple[int, int]]) -> Table:
    """Every box: where it stands, its disk, and what the plan puts there (assets, bytes)."""
    table = Table(
        "box", "stands", "disk", "of all bytes", "plan", "assets", box=None, pad_edge=True
    )
    for box in layout.BOXES:
        disk = layout.disk_bytes(box, total_bytes)
        assets, size = planned[box.id]
        place = next(place for place in layout.PLACES if place.id == box.site)
        table.add_row(
            box.id,
            place.words,
            megabytes(disk),
            percent(disk / total_bytes),
            megabytes(size),
            str(assets),
        )
    return table


def offload_table(counted: Bytes, promised: Mapping[str, float] | None) -> Table:
    """Per home site: bytes by serving site, and the offload, realised and planned."""
    table = Table("viewers in", box=None, pad_edge=True)
    for place in layout.PLACES:
        table.add_column(f"from {place.name}", justify="right")
    table.add_column("offload", justify="right")
    if promised is not None:
        table.add_column("planned", justify="right")
    for isp in layout.ISPS:
        sums = by_serving_site(counted, isp.site, layout.SITE_OF)
        row = [isp.name, *(megabytes(sums.get(place.id, 0)) for place in layout.PLACES)]
        row.append(percent(offload(counted, isp.site, layout.SITE_OF)))
        if promised is not None:
            row.append(percent(promised[isp.site]))
        table.add_row(*row)
    return table


def covered_table(rows: Iterable[tuple[str, str, str, str]]) -> Table:
    """Who covered for whom: the lost box, whose viewers, who served them then, how much."""
    table = Table("lost", "viewers in", "served then by", "bytes", box=None, pad_edge=True)
    for row in rows:
        table.add_row(*row)
    return table


def screening_view(
    viewers: Sequence[Viewer], accidents: Sequence[Accident], film_s: float
) -> RenderableType:
    """The four viewers live: position, buffer, who serves them, how they fared."""
    table = Table("viewer", "film", "position", "", "buffer", "served by", "stalls", box=None)
    for viewer in viewers:
        player = viewer.player
        now_s = player.now_s()
        position_s, level_s = player.clock.position_s(now_s), player.clock.level_s(now_s)
        last = next((one for one in reversed(player.diary.got) if one.kind == "video"), None)
        marks = max(0, min(BUFFER_MARKS, round(level_s)))
        table.add_row(
            viewer.isp.name,
            viewer.film,
            ProgressBar(total=film_s, completed=min(position_s, film_s), width=BAR_WIDTH),
            f"{position_s:5.1f} s",
            "■" * marks + "·" * (BUFFER_MARKS - marks),
            layout.BOX_OF_HOST[last.host] if last else "–",
            _stalls(player.stalls),
        )
    return Group(table, *(_accident_line(one) for one in accidents))


def _stalls(stalls: Sequence[Stall]) -> str:
    return f"{sum(one.duration_s for one in stalls):.1f} s" if stalls else "none"


def _accident_line(accident: Accident) -> Text:
    if not accident.happened:
        return Text(
            f"  later: {accident.what} a box in {accident.isp} while it serves", style="dim"
        )
    done = {"kill": "killed (kill -9)", "freeze": "frozen (SIGSTOP)"}[accident.what]
    return Text(
        f"  {accident.at_s:5.1f} s: {accident.box} was {done} after {accident.got_bytes:,} of "
        f"{accident.want_bytes:,} bytes of a segment",
        style="bold yellow",
    )


def checks_table(checks: Iterable[Check]) -> Table:
    """Every promise with its verdict and figures."""
    table = Table("", "check", "figures", box=None, pad_edge=True)
    for check in checks:
        mark = Text("✓", style="green") if check.held else Text("✗", style="bold red")
        table.add_row(mark, Text(check.name), Text(check.figures, style="dim"))
    return table
