"""What is known of every title at the end of a week, fed week by week, never looking ahead. Pure.

No look-ahead by construction: a `Chronicle` is told one week after the other, and describes a
title from that week and the ones before. What it says of a launch uses names only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import median

from fill.forecasting.top10 import WEEK_DAYS, Group, Name, Row

SURGE = 1.4  # more than that over the week before, by a title past its launch: new episodes
GONE_WEEKS = 4  # whoever returns after that long starts anew
SHOW_AGES = 4  # seasons of a show are compared at the same age, up to this one
REFERENCE_LAUNCHES = 40  # a group's usual launch is the median of so many latest ones
HALF_RUNTIME = 0.65
HALVES_APART_WEEKS = 4
FESTIVE = ((12, 23), (1, 2))  # the days between which everybody is at home
ABSENT = math.nan

FOLLOWING = (
    "film", "english", "weeks_since_release", "log_hours", "log_of_top", "rank", "trend",
    "trend_before", "runtime_h", "returned", "limited", "season_number", "newest_season_age",
    "festive_days", "festive_days_next", "week_of_year", "log_of_peak", "show_trend", "special",
)  # fmt: skip
LAUNCHING = (
    "film", "english", "season_number", "limited", "special", "runtime_h", "week_of_year",
    "festive_days", "last_launch", "last_peak", "seasons_seen", "weeks_since_launch", "show_now",
)  # fmt: skip


@dataclass(slots=True)
class _Run:
    """One title's run: `since` counts weeks from its release or its latest new episodes."""

    week: int
    hours: float
    since: int
    peak: float
    trend: float = ABSENT
    trend_before: float = ABSENT
    returned: bool = False
    recent: list[float] = field(default_factory=list)
    premiere_hours: float = ABSENT
    runtime_h: float = ABSENT


@dataclass(frozen=True, slots=True)
class _Step:
    """How one season of a show went on from one week to the next."""

    name: Name
    since: int
    log_ratio: float


@dataclass(frozen=True, slots=True)
class _Premiere:
    week: int
    name: Name
    hours: float


@dataclass(frozen=True, slots=True)
class Known:
    """A title at the end of a week: features in the order of FOLLOWING, hours of its unbroken
    weeks (oldest first), and its `second_half` (Chronicle.second_half)."""

    features: list[float]
    recent: list[float]
    second_half: float


@dataclass(slots=True)
class Chronicle:
    """All runs so far, the shows' habits, and each group's recent launches."""

    runs: dict[Name, _Run] = field(default_factory=dict)
    steps: dict[str, list[_Step]] = field(default_factory=dict)
    premieres: dict[str, list[_Premiere]] = field(default_factory=dict)
    launches: dict[Group, list[float]] = field(default_factory=dict)
    listed: dict[str, float] = field(default_factory=dict)
    seasons: dict[str, list[Name]] = field(default_factory=dict)

    def feed(self, week: Sequence[Row]) -> list[Known]:
        """Take in all rows of the next week; what is now known of each, in their order."""
        self.listed = {}
        for row in week:
            self._note(row)
        top: dict[Group, float] = {}
        newest: dict[str, int] = {}
        for row in week:
            top[row.name.group] = max(top.get(row.name.group, 0.0), row.hours)
            newest[row.name.show] = min(newest.get(row.name.show, 99), row.weeks_listed)
        return [
            Known(
                self._describe(row, top[row.name.group], newest[row.name.show]),
                self.runs[row.name].recent,
                self.second_half(row),
            )
            for row in week
        ]

    def _note(self, row: Row) -> None:
        run = self.runs.get(row.name)
        if run is None:
            self.runs[row.name] = _Run(
                row.week, row.hours, row.weeks_listed, row.hours, recent=[row.hours]
            )
            self.runs[row.name].premiere_hours = row.hours if row.weeks_listed == 1 else ABSENT
            self.seasons.setdefault(row.name.show, []).append(row.name)
        else:
            self._go_on(run, row)
        self.runs[row.name].runtime_h = row.runtime_h
        self.listed[row.name.show] = self.listed.get(row.name.show, 0.0) + row.hours
        if row.weeks_listed == 1:
            premiere = _Premiere(row.week, row.name, row.hours)
            self.premieres.setdefault(row.name.show, []).append(premiere)
            self.launches.setdefault(row.name.group, []).append(row.hours)

    def _go_on(self, run: _Run, row: Row) -> None:
        weeks = (row.week - run.week) // WEEK_DAYS
        follows = weeks == 1
        trend = math.log(row.hours / run.hours) if follows else ABSENT
        if follows:
            step = _Step(row.name, run.since, trend)
            self.steps.setdefault(row.name.show, []).append(step)
        surged = row.hours > SURGE * run.hours and (weeks > 1 or run.since >= 2)
        run.returned = surged or weeks >= GONE_WEEKS
        run.since = 1 if run.returned else run.since + weeks
        run.trend_before = run.trend if follows else ABSENT
        run.trend, run.week, run.hours = trend, row.week, row.hours
        run.peak = max(run.peak, row.hours)
        run.recent = [*run.recent, row.hours] if follows else [row.hours]

    def _describe(self, row: Row, top: float, newest: int) -> list[float]:
        run, name = self.runs[row.name], row.name
        habit = [
            step.log_ratio
            for step in self.steps.get(name.show, ())
            if step.name != name and min(step.since, SHOW_AGES) == min(run.since, SHOW_AGES)
        ]
        return [
            name.group.film, name.group.english, run.since, math.log(row.hours),
            math.log(row.hours / top), row.rank, run.trend, run.trend_before, row.runtime_h,
            run.returned, limited(name), season_number(name), newest, festive_days(row.week),
            festive_days(row.week + WEEK_DAYS), week_of_year(row.week + WEEK_DAYS),
            math.log(row.hours / run.peak), median(habit) if habit else ABSENT, special(name),
        ]  # fmt: skip

    def second_half(self, row: Row) -> float:
        """First-week hours of a season whose second half is due next week; NaN of all others.

        A season that runs HALF_RUNTIME of the show's longest is not all out yet, and what is held
        back is released HALVES_APART_WEEKS after the first part (The Witcher 3, The Lincoln Lawyer
        2, Bridgerton 3: they returned to 0.8-1.4 of their first week).
        """
        run = self.runs[row.name]
        others = [self.runs[name].runtime_h for name in self.seasons[row.name.show]]
        longest = max((hours for hours in others if hours > 0), default=ABSENT)
        due = run.since == HALVES_APART_WEEKS and not row.name.group.film
        return run.premiere_hours if due and 0 < row.runtime_h < HALF_RUNTIME * longest else ABSENT

    def usual_launch(self, group: Group) -> float:
        """The median first-week hours of the group's latest launches; 1 if none is known."""
        known = self.launches.get(group, ())[-REFERENCE_LAUNCHES:]
        return median(known) if known else 1.0

    def last_launch(self, name: Name) -> float:
        """First-week hours of the show's latest other season; NaN if none is known."""
        known = self._earlier(name)
        return known[-1].hours if known else ABSENT

    def _earlier(self, name: Name) -> list[_Premiere]:
        return [p for p in self.premieres.get(name.show, ()) if p.name != name]

    def foresee(self, name: Name, week: int, runtime_h: float) -> list[float]:
        """Features (LAUNCHING) of a title to be released in `week`, from its catalogue entry."""
        usual = self.usual_launch(name.group)
        earlier = self._earlier(name)
        peak = max((self.runs[p.name].peak for p in earlier), default=ABSENT)
        now = self.listed.get(name.show, 0.0)
        return [
            name.group.film, name.group.english, season_number(name), limited(name),
            special(name), runtime_h, week_of_year(week), festive_days(week),
            math.log(earlier[-1].hours / usual) if earlier else ABSENT, math.log(peak / usual),
            len({p.name for p in earlier}),
            (week - earlier[-1].week) / WEEK_DAYS if earlier else ABSENT,
            math.log(now / usual) if now else ABSENT,
        ]  # fmt: skip


def limited(name: Name) -> bool:
    """A series that has no second season."""
    return "Limited" in name.season


def special(name: Name) -> bool:
    """A single show listed among series: comedy, sport, a ceremony."""
    return not name.group.film and name.season == "N/A"


def season_number(name: Name) -> float:
    """The number at the end of the season's title; NaN if there is none."""
    found = re.search(r"(\d{1,3})\s*$", name.season)
    return float(found.group(1)) if found else ABSENT


def festive_days(week: int) -> int:
    """Days of the week ending on `week` (ordinal) that fall between FESTIVE's two dates."""
    days = [date.fromordinal(week - back) for back in range(WEEK_DAYS)]
    first, last = FESTIVE
    return sum((day.month, day.day) >= first or (day.month, day.day) <= last for day in days)


def week_of_year(week: int) -> int:
    """ISO week of the day `week` (ordinal)."""
    return date.fromordinal(week).isocalendar().week


def by_week(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows in lists of one week each, in time's order."""
    weeks: dict[int, list[Row]] = {}
    for row in rows:
        weeks.setdefault(row.week, []).append(row)
    return [weeks[week] for week in sorted(weeks)]
