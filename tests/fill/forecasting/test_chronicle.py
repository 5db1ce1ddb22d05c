"""What is known of a title at the end of a week: its age, its return, its second half, its show."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from fill.forecasting.boost import Shape
from fill.forecasting.chronicle import (
    FOLLOWING,
    LAUNCHING,
    Chronicle,
    Known,
    by_week,
    festive_days,
    season_number,
)
from fill.forecasting.model import Model
from fill.forecasting.pairs import read_pairs
from fill.forecasting.top10 import WEEK_DAYS, Group, Name, Row
from tests.fill.forecasting.tables import FIRST, made_up

SERIES = Group(film=False, english=True)
OLD, NEW = Name(SERIES, "Castle", "Castle: Season 1"), Name(SERIES, "Castle", "Castle: Season 2")


def run(name: Name, hours: list[float], runtime_h: float, start: int = 0) -> list[Row]:
    """A title's unbroken weeks from the table's week `start` on; 0 hours is a week off the list."""
    listed = [(week, amount) for week, amount in enumerate(hours) if amount]
    return [
        Row(FIRST + WEEK_DAYS * (start + week), name, 1, amount, runtime_h, nth)
        for nth, (week, amount) in enumerate(listed, 1)
    ]


def told(rows: list[Row]) -> list[dict[Name, Known]]:
    """What is known after each week."""
    chronicle = Chronicle()
    return [
        dict(zip((row.name for row in week), chronicle.feed(week), strict=True))
        for week in by_week(rows)
    ]


def feature(known: Known, name: str) -> float:
    """One feature by its name."""
    return known.features[FOLLOWING.index(name)]


def test_weeks_count_from_release_and_anew_from_new_episodes() -> None:
    """Weeks off the list count; a jump back up, or a long absence, starts again."""
    hours = [100.0, 60, 0, 30, 90, 50, 0, 0, 0, 20]
    weeks = [known[OLD] for known in told(run(OLD, hours, 8.0))]
    assert [feature(week, "weeks_since_release") for week in weeks] == [1, 2, 4, 1, 2, 1]
    assert [feature(week, "returned") for week in weeks] == [0, 0, 0, 1, 0, 1]
    assert [len(week.recent) for week in weeks] == [1, 2, 1, 2, 3, 1]


def test_a_season_half_as_long_as_the_last_is_expected_back_after_four_weeks() -> None:
    """Only then, only for series, and only once; with its first week's hours."""
    rows = run(OLD, [50.0] * 9, 8.0) + run(NEW, [100.0, 80, 40, 20, 90], 4.0, start=2)
    due = [known[NEW].second_half for known in told(rows) if NEW in known]
    assert due[3] == 100.0
    assert np.isnan([*due[:3], *due[4:]]).all()
    whole = run(OLD, [50.0] * 9, 8.0) + run(NEW, [100.0, 80, 40, 20], 7.0, start=2)
    assert np.isnan([known[NEW].second_half for known in told(whole) if NEW in known]).all()


def test_the_forecast_of_a_due_second_half_is_the_first_half_again() -> None:
    """Nothing else would foresee it: persistence and decay say 20."""
    rows = made_up(40)
    castle = run(OLD, [5e6] * 40, 8.0) + run(NEW, [9e6, 6e6, 4e6, 2e6, 8e6], 4.0, start=35)
    pairs, launches = read_pairs(sorted([*rows, *castle], key=lambda row: row.week))
    model = Model.fit(pairs.where(pairs.week < FIRST + 30 * WEEK_DAYS), launches, Shape(trees=5))
    due = pairs.where(~np.isnan(pairs.second_half))
    found = model.follow(due)
    assert list(due.actual) == [8e6]
    assert found.middle == pytest.approx([9e6])
    assert found.low < 9e6 < found.high


def test_a_launch_is_foreseen_from_the_shows_past_and_nothing_else() -> None:
    """Names, runtime and calendar; the last season's first week against what is usual."""
    chronicle = Chronicle()
    for week in by_week(run(OLD, [400.0, 100], 8.0)):
        chronicle.feed(week)
    seen = dict(zip(LAUNCHING, chronicle.foresee(NEW, FIRST + 14, 4.0), strict=True))
    assert chronicle.usual_launch(SERIES) == chronicle.last_launch(NEW) == 400.0
    assert (seen["seasons_seen"], seen["weeks_since_launch"], seen["season_number"]) == (1, 2, 2)
    assert seen["last_launch"] == seen["last_peak"] == 0.0
    assert np.isnan(chronicle.last_launch(OLD))


@pytest.mark.parametrize(
    ("day", "days"), [("2023-12-24", 2), ("2023-12-31", 7), ("2024-01-07", 2), ("2024-06-30", 0)]
)
def test_festive_days_are_those_when_everybody_is_at_home(day: str, days: int) -> None:
    """From 23 December to 2 January, over the new year."""
    assert festive_days(date.fromisoformat(day).toordinal()) == days


@pytest.mark.parametrize(
    ("season", "number"),
    [("Castle: Season 12", 12), ("Stranger Things 4", 4), ("1899: Limited Series", None)],
)
def test_a_season_is_numbered_by_the_end_of_its_title(season: str, number: int | None) -> None:
    """Without a number there is none."""
    found = season_number(Name(SERIES, "x", season))
    assert np.isnan(found) if number is None else found == number
