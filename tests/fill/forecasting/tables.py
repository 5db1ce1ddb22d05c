"""Made-up Top-10 tables: titles that launch, decay, return, and sequels; seeded."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np

from fill.forecasting.top10 import COLUMNS, WEEK_DAYS, Row, read_top10

CATEGORIES = ("Films (English)", "Films (Non-English)", "TV (English)", "TV (Non-English)")
FIRST = date(2021, 7, 4).toordinal()
HEADER = "\t".join(COLUMNS)


def line(week: str = "2021-07-04", category: str = CATEGORIES[0], rank: str = "1",
         show: str = "Heat", season: str = "N/A", hours: str = "1000000", runtime: str = "2.5",
         weeks: str = "1") -> str:  # fmt: skip
    """One line of the table."""
    return "\t".join((week, category, rank, show, season, hours, runtime, weeks))


def table(*lines: str) -> bytes:
    """Header and lines as a file's bytes."""
    return ("\n".join((HEADER, *lines)) + "\n").encode()


def made_up(weeks: int, seed: int = 1, titles: int = 10) -> list[Row]:
    """Ten titles a week and category, each a random launch followed by a noisy decay."""
    rng = np.random.default_rng(seed)
    lines = []
    for category in CATEGORIES:
        running: list[tuple[str, str, float, int]] = []
        for week in range(weeks):
            decayed = [
                (show, season, hours * float(np.exp(rng.normal(-0.4, 0.2))), age + 1)
                for show, season, hours, age in running
            ]
            new = [
                (f"Show {rng.integers(40)}", f"Season {week}-{n}", float(rng.lognormal(16, 1)), 1)
                for n in range(3)
            ]
            running = sorted([*decayed, *new], key=lambda title: -title[2])[:titles]
            day = date.fromordinal(FIRST + WEEK_DAYS * week).isoformat()
            lines += [
                line(day, category, str(rank), show, season, f"{hours + 1:.0f}", "1.5", str(age))
                for rank, (show, season, hours, age) in enumerate(running, 1)
            ]
    return read_top10(table(*lines), "made up")


def spoiled(rows: list[Row], since: int, seed: int, *, names: bool) -> list[Row]:
    """The same past; from the week `since` on, hours and ranks are nonsense (names too)."""
    rng = np.random.default_rng(seed)
    past = [row for row in rows if row.week < since]
    future = [row for row in rows if row.week >= since]
    swapped = rng.permutation(len(future)) if names else range(len(future))
    return past + [
        replace(
            row,
            name=replace(future[other].name, group=row.name.group, namesake=at),
            hours=float(rng.lognormal(10, 5)),
            rank=int(rng.integers(1, 11)),
            weeks_listed=int(rng.integers(1, 30)),
            runtime_h=float(rng.uniform(1, 9)),
        )
        if names
        else replace(row, hours=float(rng.lognormal(10, 5)), rank=int(rng.integers(1, 11)))
        for at, (row, other) in enumerate(zip(future, swapped, strict=True))
    ]
