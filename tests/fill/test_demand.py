"""Demand files are read strictly; history is taken as counted."""

from __future__ import annotations

import pytest

from fill.demand import DemandRow, Known, from_history, read_demand
from wire.errors import WireError

KNOWN = Known(sites={"isp-a", "isp-b"}, assets={1, 2, 3}, next_id=5)
HEAD = "day,home,asset,bytes\n"


def test_good_rows_are_typed() -> None:
    """Days count from 1970, an empty line and a BOM do no harm."""
    raw = ("\ufeff" + HEAD + "1970-01-02,isp-a,1,100\n\n1970-01-02,isp-b,1,7\n").encode()
    rows = read_demand(raw, "d.csv", KNOWN).rows
    assert rows == [DemandRow(1, "isp-a", 1, 100), DemandRow(1, "isp-b", 1, 7)]


@pytest.mark.parametrize(
    ("text", "where", "detail"),
    [
        ("", "row 1", "the header is"),
        ("day,home,asset\n", "row 1", "the header is"),
        (HEAD + "2026-11-22,isp-a,1\n", "row 2", "3 fields instead of 4"),
        (HEAD + "2026-11-22,isp-a,1,5,6\n", "row 2", "5 fields instead of 4"),
        (HEAD + "22.11.2026,isp-a,1,5\n", "row 2, day", "is not a day"),
        (HEAD + "2026-11-31,isp-a,1,5\n", "row 2, day", "is not a day"),
        (HEAD + "2026-11-22,nowhere,1,5\n", "row 2, home", "no site 'nowhere'"),
        (HEAD + "2026-11-22,,1,5\n", "row 2, home", "no site ''"),
        (HEAD + "2026-11-22,isp-a,5,5\n", "row 2, asset", "no asset 5"),
        (HEAD + "2026-11-22,isp-a,one,5\n", "row 2, asset", "'one' is not a whole number"),
        (HEAD + "2026-11-22,isp-a,1,-5\n", "row 2, bytes", "'-5' is not a whole number"),
        (HEAD + "2026-11-22,isp-a,1,NaN\n", "row 2, bytes", "'NaN' is not a whole number"),
        (HEAD + "2026-11-22,isp-a,1,1e9\n", "row 2, bytes", "'1e9' is not a whole number"),
        (HEAD + "2026-11-22,isp-a,1,²\n", "row 2, bytes", "is not a whole number"),
        (HEAD + "2026-11-22,isp-a,1,\n", "row 2, bytes", "'' is not a whole number"),
        (HEAD + f"2026-11-22,isp-a,1,{2**60}\n", "row 2, bytes", "is more than"),
        (HEAD + "2026-11-22,isp-a,1,5\n2026-11-22,isp-a,1,6\n", "row 3", "those of row 2"),
        (HEAD + '2026-11-22,"isp-a,1,5\n', "row 2", "this is not CSV"),
    ],
)
def test_a_bad_row_is_named(text: str, where: str, detail: str) -> None:
    """File, row (its line) and field, and what was wrong."""
    with pytest.raises(WireError) as caught:
        read_demand(text.encode(), "d.csv", KNOWN)
    assert str(caught.value).startswith(f"d.csv: {where}: ")
    assert detail in str(caught.value)


def test_bytes_that_are_no_text_are_named() -> None:
    """The position of the first bad byte."""
    with pytest.raises(WireError, match=r"d\.csv: byte 21: this is not UTF-8"):
        read_demand(HEAD.encode() + b"\xff", "d.csv", KNOWN)


def test_demand_for_retired_assets_is_left_out_and_counted() -> None:
    """Asset 4 existed once; yesterday's file is still good without it."""
    demand = read_demand((HEAD + "2026-11-22,isp-a,4,50\n").encode(), "d.csv", KNOWN)
    assert demand.rows == []
    assert demand.ignored == {"retired asset": 50}


def test_history_of_another_world_is_counted_by_reason() -> None:
    """Bytes without a home, of a site that is gone, of assets that are gone."""
    rows = [DemandRow(1, *row) for row in (("", 1, 5), ("gone", 1, 6), ("isp-a", 9, 7))]
    demand = from_history([*rows, DemandRow(1, "isp-a", 1, 8)], KNOWN)
    assert [row.bytes for row in demand.rows] == [8]
    assert demand.ignored == {
        "no home site": 5,
        "site not in the fleet": 6,
        "retired asset": 7,
    }
