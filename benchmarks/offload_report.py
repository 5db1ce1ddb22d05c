"""What `make bench-offload` found, as a page: each claim with its figure, met or not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from fill.replay import SiteDay

BELOW_ORACLE = 0.015
ABOVE_LRU = 0.01
OFFLOAD_FROM_HALF = 0.95
CHURN_MAX = 0.05
LAUNCHES_MIN = 0.01


@dataclass(frozen=True, slots=True)
class Row:
    """One world with one size of disk. `rates` is the offload of whoever knows the expected plays
    but not the dice; `launches` the least share of a day that its launches had."""

    world: str
    disk: float
    titles: int
    rates: float
    launches: float
    days: Sequence[SiteDay]
    whole: SiteDay
    worst: SiteDay

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "world": self.world,
            "disk": self.disk,
            "rates": self.rates,
            "launches": self.launches,
            "whole": asdict(self.whole),
            "days": [asdict(day) for day in self.days],
            "claims": claims(self),
        }


def claims(row: Row) -> dict[str, bool]:
    """Every claim, and whether it holds."""
    whole = row.whole
    return {
        "≥ oracle − 1.5": whole.realised >= whole.oracle - BELOW_ORACLE,
        "≥ LRU + 1": whole.realised >= whole.lru + ABOVE_LRU,
        "≥ 95 %": row.disk < 0.5 or whole.realised >= OFFLOAD_FROM_HALF,
        "churn ≤ 5 %": row.worst.churn <= CHURN_MAX + 1e-9,
        "launches ≥ 1 %": row.launches >= LAUNCHES_MIN,
    }


def judged(row: Row) -> bool:
    """Whether all claims hold."""
    return all(claims(row).values())


def page(rows: Sequence[Row], others: Sequence[Row], real: bool, took_s: float) -> str:
    """The page (Markdown)."""
    source = "the 2023-H1 report" if real else "quantiles of the 2023-H1 report (it is not here)"
    lines = [
        "# Offload of plans, beside LRU and an oracle",
        "",
        f"Popularity from {source}; {len(rows) + len(others)} runs in {took_s:.0f} s. "
        "`make bench-offload`.",
        "",
        "| titles | disk | planned | **realised** | oracle | LRU | churn, worst night | claims |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(row) for row in rows),
        "",
        "Where the points between oracle and plan go. *Dice*: what knowing the day's real plays is",
        "worth to whoever knew every asset's expected ones. *Forecast regret*: what the forecast",
        "loses beside those. *Planner gap*: what whole assets and the churn limit lose on the",
        "forecast. *Possible above LRU*: by whoever knows the expected plays; no plan that is made",
        "before the day can be better.",
        "",
        "| titles | disk | dice | forecast regret | planner gap | above LRU | possible above LRU |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_parts(row) for row in rows),
        "",
        *(_sizes(rows, others) if others else ()),
    ]
    return "\n".join(lines)


def _sizes(rows: Sequence[Row], others: Sequence[Row]) -> list[str]:
    """How two of the claims hang on the number of titles, which is not given."""
    like = [row for row in rows if (row.world, row.disk) == (others[0].world, others[0].disk)]
    return [
        "The report tells how hours fall to its 18,214 titles; how many of them a catalogue has",
        "is not told, so its curve is thinned out evenly. With 50,000 plays a day that number",
        "decides what can be had at all on the largest disk: the more titles, the more of them",
        "nobody plays on a day, so a cache holds nearly all that is played, and whoever knew the",
        "day holds all of it. What is *possible* above LRU sinks below a point at about a thousand",
        "titles, for whoever plans before the day, however well; plans stay as near to it. So with",
        'all titles, on 60 % of a larger catalogue, "a point above LRU" does not hold, and cannot.',
        "With the curve of what is available everywhere (as one site's clients have it: the others",
        "are not for all of them), all claims hold at the default of 2,000 titles before launches;",
        "with 2,500 and 3,200 of them (4 days were run) some do not.",
        "",
        "| titles (launches included) | disk | below oracle | above LRU | possible above LRU |",
        "| --- | --- | --- | --- | --- |",
        *(_size(row) for row in (*like, *others)),
        "",
    ]


def _size(row: Row) -> str:
    whole = row.whole
    parts = (whole.oracle - whole.realised, whole.realised - whole.lru, row.rates - whole.lru)
    told = " | ".join(f"{part * 100:.2f}" for part in parts)
    return f"| {row.titles:,} ({row.world}) | {row.disk:.0%} | {told} |"


def _row(row: Row) -> str:
    whole, missed = row.whole, [name for name, held in claims(row).items() if not held]
    shares = (whole.planned, whole.realised, whole.oracle, whole.lru, row.worst.churn)
    planned, realised, oracle, lru, churn = (f"{share:.2%}" for share in shares)
    told = "all hold" if not missed else "**not** " + ", ".join(missed)
    return (
        f"| {row.world} | {row.disk:.0%} | {planned} | **{realised}** | {oracle} | {lru} | "
        f"{churn} | {told} |"
    )


def _parts(row: Row) -> str:
    whole = row.whole
    parts = (
        whole.oracle - row.rates,
        row.rates - whole.foreseen,
        whole.foreseen - whole.realised,
        whole.realised - whole.lru,
        row.rates - whole.lru,
    )
    told = " | ".join(f"{part * 100:+.2f}" for part in parts)
    return f"| {row.world} | {row.disk:.0%} | {told} |"
