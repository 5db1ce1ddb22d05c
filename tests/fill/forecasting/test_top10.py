"""A malformed table is refused with file, row and field; a sound one is read whole."""

from __future__ import annotations

import math

import pytest

from fill.forecasting.top10 import Group, read_top10
from tests.fill.forecasting.tables import HEADER, line, table
from wire.errors import WireError

BAD = {
    "week": ["", "N/A", "2021-13-01", "04.07.2021", "yesterday"],
    "category": ["", "Films", "Games (English)", "TV (Klingon)"],
    "rank": ["", "0", "-1", "1.5", "first", "nan"],
    "show": ["", "  "],
    "season": [""],
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
        (table(line(), line(week="2021-07-12")), "Heat, week"),
    ],
)
def test_a_bad_file_is_refused(raw: bytes, where: str) -> None:
    """Empty, without columns, cut off, pasted twice, weeks that end on another day."""
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
