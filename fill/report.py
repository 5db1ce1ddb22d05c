"""`fill report`: one HTML page about generations, offload and the forecast; it needs no network.

Pure: everything is handed in as values. Plots are SVG in the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

from fill.explain import amount
from fill.generation import Summary
from fill.plots import Points, bars, lines
from fill.replay import SiteDay
from wire.offload import OffloadReport

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SITES_SHOWN = 8  # lines that can be told apart; tables have all sites
NIGHTS_SHOWN = 30


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report is made of: kept generations (the last is in force), coverage by site (share of
    the catalogue's bytes → share of demand), bytes as counted, and the last days replayed."""

    made_s: int
    generations: Sequence[Summary]
    coverage: Mapping[str, Points]
    disks: Mapping[str, float]
    counted: OffloadReport | None
    days: Sequence[SiteDay]


def page(facts: Facts) -> str:
    """The page."""
    made = datetime.fromtimestamp(facts.made_s, UTC)
    sections = [
        ("Coverage", COVERAGE, _coverage(facts)),
        ("Offload by site", OFFLOAD, _offload(facts)),
        ("Offload day by day", REPLAYED, _replayed(facts)),
        ("Churn", CHURN, _churn(facts)),
        ("Fill window", WINDOW, _window(facts)),
        ("Forecast error", ERROR, _errors(facts)),
    ]
    body = "".join(
        f"<section><h2>{escape(title)}</h2><p>{told}</p>{drawn}</section>"
        for title, told, drawn in sections
    )
    number = facts.generations[-1].generation if facts.generations else 0
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>fill: generation {number}</title><style>{STYLE}</style></head><body>"
        f"<h1>Generation {number}</h1><p>Made {made:%Y-%m-%d %H:%M} UTC by fill report.</p>"
        f"{body}</body></html>\n"
    )


COVERAGE = (
    "How much of tomorrow's demand the most asked-for bytes cover, as planned for; the table says "
    "what share of the catalogue each site's disks hold."
)
OFFLOAD = (
    "Share of each home site's bytes that its own boxes serve: planned, at best with its disks, "
    "and as counted in the last day."
)
REPLAYED = (
    "The last days replayed with today's boxes: what plans of the night before would have served, "
    "what the best disk would have for whoever knew the day, and an LRU cache of the same size."
)
CHURN = "Bytes that each generation fetches and drops, beside the disks of all boxes."
WINDOW = (
    "How much of what a box may pull in one night its plan makes it pull, generation by generation."
)
ERROR = (
    "WAPE: bytes of error for each byte asked for, by site and day, over (site, asset). Much of it "
    "is chance: an asset played three times a day on average is played once or six times."
)


def _coverage(facts: Facts) -> str:
    largest = sorted(facts.coverage, key=lambda site: -facts.disks.get(site, 0.0))[:SITES_SHOWN]
    curves = {site: facts.coverage[site] for site in largest}
    marks = [
        (site, f"{facts.disks.get(site, 0.0):.0%}", f"{_at(curve, facts.disks.get(site, 0.0)):.1%}")
        for site, curve in facts.coverage.items()
    ]
    drawn = lines(curves, "share of the catalogue's bytes", "share of demand", percent=True)
    return drawn + _table(("site", "disks", "would cover"), marks)


def _offload(facts: Facts) -> str:
    if not facts.generations:
        return bars({}, "")
    groups, rows = {}, []
    for name, site in sorted(facts.generations[-1].sites.items()):
        counted = facts.counted.homes.get(name) if facts.counted else None
        realised = counted.realised if counted else None
        shares = {"planned": site.offload, "at best": site.oracle, "counted": realised}
        groups[name] = {key: share for key, share in shares.items() if share is not None}
        rows.append((name, amount(site.demand_bytes), *map(_percent, shares.values())))
    shown = dict(list(groups.items())[: 3 * SITES_SHOWN])
    names = ("site", "demand a day", "planned", "at best", "counted")
    return bars(shown, "offload", percent=True) + _table(names, rows)


def _replayed(facts: Facts) -> str:
    days = sorted({day.day for day in facts.days})
    series: dict[str, list[tuple[float, float]]] = {}
    for name in ("planned", "realised", "oracle", "lru"):
        for at, day in enumerate(days):
            mine = [each for each in facts.days if each.day == day]
            whole = sum(each.bytes for each in mine) or 1.0
            share = sum(getattr(each, name) * each.bytes for each in mine) / whole
            series.setdefault(name, []).append((at - len(days) + 1.0, share))
    return lines(series, "days before the last", "offload", percent=True)


def _churn(facts: Facts) -> str:
    fetched, dropped = [], []
    for summary in facts.generations[-NIGHTS_SHOWN:]:
        disks = sum(box.usable_bytes for box in summary.boxes.values()) or 1
        number = float(summary.generation)
        fetched.append((number, sum(b.fetch_bytes for b in summary.boxes.values()) / disks))
        dropped.append((number, sum(b.drop_bytes for b in summary.boxes.values()) / disks))
    series = {"fetched": fetched, "dropped": dropped} if fetched else {}
    return lines(series, "generation", "share of disks", percent=True)


def _window(facts: Facts) -> str:
    series: dict[str, list[tuple[float, float]]] = {}
    for summary in facts.generations[-NIGHTS_SHOWN:]:
        used = [
            box.fetch_bytes / box.fill_bytes for box in summary.boxes.values() if box.fill_bytes
        ]
        if used:
            number = float(summary.generation)
            series.setdefault("fullest box", []).append((number, max(used)))
            series.setdefault("mean", []).append((number, sum(used) / len(used)))
    told = ""
    timed = facts.generations[-1].schedule if facts.generations else None
    if timed is not None:
        told = (
            f"<p>Tonight: {amount(timed.upstream_bytes)} from outside the sites, "
            f"{amount(timed.peer_bytes)} from peers; the last transfer ends after "
            f"{timedelta(seconds=round(timed.makespan_s))} of "
            f"{timedelta(seconds=timed.window_s)}; {timed.late} transfers will be late.</p>"
        )
    return lines(series, "generation", "share of the window", percent=True) + told


def _errors(facts: Facts) -> str:
    series: dict[str, list[tuple[float, float]]] = {}
    last = max((each.day for each in facts.days), default=0)
    for each in facts.days:
        if each.site in series or len(series) < SITES_SHOWN:
            series.setdefault(each.site, []).append((float(each.day - last), each.wape))
    rows = [
        (each.site, f"{EPOCH + timedelta(days=each.day):%Y-%m-%d}", amount(each.bytes),
         f"{each.wape:.1%}", f"{each.realised:.2%}", f"{each.oracle:.2%}", f"{each.churn:.2%}")
        for each in facts.days
    ]  # fmt: skip
    names = ("site", "day", "bytes", "WAPE", "realised", "oracle", "churn")
    return lines(series, "days before the last", "WAPE", percent=True) + _table(names, rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<details><summary>figures</summary><table><tr>{head}</tr>{body}</table></details>"


def _at(curve: Points, share: float) -> float:
    below = [y for x, y in curve if x <= share]
    return below[-1] if below else 0.0


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


STYLE = """
:root{color-scheme:light dark;--k0:#1f77b4;--k1:#e0711a;--k2:#2a9d4a;--k3:#c23b3b;--k4:#8a63c0;
--k5:#8c6a4f;--k6:#d05fa8;--k7:#7d8791}
body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em}
svg{width:100%;height:auto}text{font-size:11px;fill:currentColor}h2{margin-top:1.8em}
.grid{stroke:currentColor;opacity:.15}.line{fill:none;stroke-width:2}
.line.c0{stroke:var(--k0)}.line.c1{stroke:var(--k1)}.line.c2{stroke:var(--k2)}
.line.c3{stroke:var(--k3)}.line.c4{stroke:var(--k4)}.line.c5{stroke:var(--k5)}
.line.c6{stroke:var(--k6)}.line.c7{stroke:var(--k7)}
.bar.c0,.dot.c0{fill:var(--k0)}.bar.c1,.dot.c1{fill:var(--k1)}.bar.c2,.dot.c2{fill:var(--k2)}
.dot.c3{fill:var(--k3)}.dot.c4{fill:var(--k4)}.dot.c5{fill:var(--k5)}.dot.c6{fill:var(--k6)}
.dot.c7{fill:var(--k7)}i.c0{background:var(--k0)}i.c1{background:var(--k1)}
i.c2{background:var(--k2)}i.c3{background:var(--k3)}i.c4{background:var(--k4)}
i.c5{background:var(--k5)}i.c6{background:var(--k6)}i.c7{background:var(--k7)}
.key{margin-right:1.2em}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}
table{border-collapse:collapse}td,th{padding:.1em .8em;text-align:right}
td:first-child,th:first-child{text-align:left}.none{opacity:.6}
"""
