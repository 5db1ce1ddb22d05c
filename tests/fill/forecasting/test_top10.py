"""A malformed table is refused with file, row and field; a sound one is read whole."""

from __future__ import annotations

import math
from datetime import date

import pytest

from fill.forecasting.top10 import Group, read_table, read_top10
from tests.fill.forecasting.tables import HEADER, line, table
from wire.errors import WireError

BAD = {
    "week": ["", "N/A", "2021-13-01", "04.07.2021", "yesterday"],
    "category": ["", "Films", "Games (English)", "TV (Klingon)"],
    "rank": ["", "0", "-1", "1.5", "first", "nan"],
    "show": ["", "  "],
    "hours": ["", "0", "-5", "nan", "inf", "1e30", "12,000,000", "many"],
    "runtime": ["-1", "nan", "inf", "two hours"],
    "weeks": ["", "0", "-1", "2.5", "x"],
}
COLUMN = {
    "week": "week", "category": "category", "rank": "weekly_rank", "show": "show_title",
    "season": "season_title", "hours": "weekly_hours_viewed", "runtime": "runtime",
    "weeks": "cumulative_weeks_in_top_10",
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in BAD.items() for value in values]
)
def test_a_bad_field_is_named_with_its_file_and_row(field: str, value: str) -> None:
    """The second line is bad: row 3 of the file, counting its header."""
    raw = table(line(), line(**{"show": "Ran", field: value}))
    with pytest.raises(WireError) as caught:
        read_top10(raw, "top10.tsv")
    assert str(caught.value).startswith(f"top10.tsv: row 3, {COLUMN[field]}: ")


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"", "row 1, week"),
        (b"week,category\n", "row 1, week"),
        (HEADER.replace("weekly_rank", "rank").encode(), "row 1, weekly_rank"),
        (table(), "row 2"),
        (b"\xff\xfe" + table(line()), "byte 0"),
        (table(line() + "\tmore"), "row 2, cumulative_weeks_in_top_10"),
        (table("2021-07-04\tFilms (English)\t1"), "row 2, show_title"),
        (table(line(), line()), "row 3, show_title"),
        (table(line(), line(week="2021-07-12")), "row 3, week"),
        (table(line(week="2021-07-08"), line(), line(show="Ran")), "row 2, week"),
        (table(*[line("2021-07-11", "", show=f"s{n}") for n in range(9)]), "row 2, category"),
        (table("2021-07-04\tFilms (English)\t1\tHeat"), "row 2, season_title"),
    ],
)
def test_a_bad_file_is_refused(raw: bytes, where: str) -> None:
    """Empty, without columns, cut off, pasted twice, one week that ends on another day."""
    with pytest.raises(WireError) as caught:
        read_top10(raw, "top10.tsv")
    assert str(caught.value).startswith(f"top10.tsv: {where}: ")


def test_columns_may_stand_in_any_order_among_others_and_after_a_byte_order_mark() -> None:
    """Netflix has added columns before."""
    names = [*reversed(HEADER.split("\t")), "weekly_views"]
    values = [*reversed(line(runtime="").split("\t")), ""]
    (row,) = read_top10("\ufeff{}\r\n{}\r\n".format(*map("\t".join, (names, values))).encode(), "t")
    assert (row.name.show, row.hours, row.name.group) == ("Heat", 1e6, Group(True, True))
    assert math.isnan(row.runtime_h)


def test_two_titles_of_one_name_are_told_apart_by_rank() -> None:
    """A remake may be listed beside the original."""
    raw = table(line(rank="7", hours="5"), line(rank="2", hours="9"))
    assert [(r.name.namesake, r.hours) for r in read_top10(raw, "t")] == [(0, 9), (1, 5)]


def test_a_list_that_is_new_is_left_out_and_counted() -> None:
    """Ten of an unknown category in one week are no typing error: the others are read."""
    new = [line("2021-07-11", "Podcasts", str(rank), f"talk {rank}") for rank in range(1, 11)]
    found = read_table(table(line(), *new), "top10.tsv")
    assert [row.name.show for row in found.rows] == ["Heat"]
    assert found.left_out == {"Podcasts": 10}


def test_weeks_that_are_left_out_are_compared_with_nothing() -> None:
    """Pasted twice, or not ended: what comes after `until` is as if it were not there."""
    later = line("2021-07-15", show="Ran")
    found = read_table(table(line(), later, later), "top10.tsv", date(2021, 7, 12))
    assert [row.name.show for row in found.rows] == ["Heat"]


def test_a_season_that_a_spreadsheet_left_empty_is_none() -> None:
    """`N/A` becomes nothing on its way through many a program."""
    rows = read_top10(table(line(season=""), line(show="Ran")), "top10.tsv")
    assert [row.name.season for row in rows] == ["N/A", "N/A"]
