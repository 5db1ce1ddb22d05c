"""Netflix's weekly Top-10 table (TSV) as typed rows, read strictly. Pure.

Source of the format: https://www.netflix.com/tudum/top10, "all weeks, global".
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from wire.errors import WireError

WEEK_DAYS = 7
ROWS_MAX = 2_000_000  # forty rows a week since the year of our Lord: a wrong file
HOURS_MAX = 1e11  # two years of every person alive would not do it in a week
NEW_LIST_ROWS = 5  # so many of an unknown category in one week are a new list; one is a mistake
COLUMNS = (
    "week",
    "category",
    "weekly_rank",
    "show_title",
    "season_title",
    "weekly_hours_viewed",
    "runtime",
    "cumulative_weeks_in_top_10",
)
ABSENT = ("", "N/A")
KINDS = {"Films": True, "TV": False}
TONGUES = {"(English)": True, "(Non-English)": False}


@dataclass(frozen=True, slots=True)
class Group:
    """What kind of title decays alike: a film or a series, in English or not."""

    film: bool
    english: bool

    def __str__(self) -> str:
        """As the table has it: `Films (English)`."""
        return f"{'Films' if self.film else 'TV'} ({'English' if self.english else 'Non-English'})"


@dataclass(frozen=True, slots=True)
class Name:
    """One title's name in the table: known before its launch. `namesake` counts same names up."""

    group: Group
    show: str
    season: str
    namesake: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One title in one week: `week` is its last day (proleptic ordinal), `hours` those viewed.

    `weeks_listed` includes this week. `runtime_h` is of the episodes out so far; 0 while a season
    airs week by week (so the table has it), NaN before Netflix published it (June 2023).
    """

    week: int
    name: Name
    rank: int
    hours: float
    runtime_h: float
    weeks_listed: int


class Table(NamedTuple):
    """Rows by week, group and rank; `left_out`: rows by category, of lists that are none of ours
    (they are new, so there is nothing to learn them from)."""

    rows: list[Row]
    left_out: dict[str, int]


def read_top10(raw: bytes, what: str) -> list[Row]:
    """The rows of `read_table`."""
    return read_table(raw, what).rows


def read_table(raw: bytes, what: str, until: date | None = None) -> Table:
    """Read a table; raises WireError naming file, row (its line) and field.

    Weeks that end on `until` or later are as if they were not there: rows of theirs are read, and
    compared with nothing.
    """
    reader = _reader(raw, what)
    end = (until or date.max).toordinal()
    rows: list[tuple[int, Row]] = []
    strange: list[tuple[int, Mapping[str | None, str | None]]] = []
    for fields in reader:
        if _group(fields) is None:
            strange.append((reader.line_num, fields))
            continue
        row = _row(fields, what, reader.line_num)
        if row.week < end:
            rows.append((reader.line_num, row))
        if len(rows) > ROWS_MAX:
            raise WireError(what, f"row {reader.line_num}", f"more than {ROWS_MAX} rows")
    left_out = _new_lists(strange, what)
    if not rows:
        raise WireError(what, "row 2", "the table has no rows")
    _once(rows, what)
    _same_weekday(rows, what)
    return Table(_tell_namesakes_apart([row for _, row in rows]), left_out)


def _reader(raw: bytes, what: str) -> csv.DictReader[str]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise WireError(what, f"byte {exc.start}", "this is not UTF-8") from exc
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        hint = f"the header must name {', '.join(COLUMNS)}, separated by tabs"
        raise WireError(what, f"row 1, {missing[0]}", "this column is missing", hint=hint)
    return reader


def _group(fields: Mapping[str | None, str | None]) -> Group | None:
    kind, _, tongue = (fields.get("category") or "").strip().partition(" ")
    known = kind in KINDS and tongue in TONGUES
    return Group(KINDS[kind], TONGUES[tongue]) if known else None


def _new_lists(
    strange: Sequence[tuple[int, Mapping[str | None, str | None]]], what: str
) -> dict[str, int]:
    """Rows by unknown category; raises WireError for the first that no new list explains."""
    of = [((row.get("category") or "").strip(), row.get("week")) for _, row in strange]
    most: dict[str, int] = {}
    for (category, _), count in Counter(of).items():
        most[category] = max(most.get(category, 0), count)
    for (line, fields), (category, _) in zip(strange, of, strict=True):
        if not category or most[category] < NEW_LIST_ROWS:
            _Fields(fields, what, line).group("category")
    return dict(Counter(category for category, _ in of))


def _row(fields: Mapping[str | None, str | None], what: str, line: int) -> Row:
    reader = _Fields(fields, what, line)
    return Row(
        week=reader.day("week"),
        name=Name(reader.group("category"), reader.text("show_title"), reader.season()),
        rank=reader.whole("weekly_rank", 10_000),
        hours=reader.number("weekly_hours_viewed", HOURS_MAX),
        runtime_h=reader.number_or_nan("runtime", 10_000.0),
        weeks_listed=reader.whole("cumulative_weeks_in_top_10", 10_000),
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """One line's fields; every reader raises WireError naming the field."""

    fields: Mapping[str | None, str | None]
    what: str
    line: int

    def fault(self, name: str, detail: str) -> WireError:
        return WireError(self.what, f"row {self.line}, {name}", detail)

    def text(self, name: str) -> str:
        value = (self.fields.get(name) or "").strip()
        if None in self.fields:
            raise self.fault(COLUMNS[-1], "more fields than the header has columns")
        if not value:
            raise self.fault(name, "this is empty or missing")
        return value

    def day(self, name: str) -> int:
        value = self.text(name)
        try:
            return date.fromisoformat(value).toordinal()
        except ValueError as exc:
            raise self.fault(name, f"{value!r} is not a date such as 2024-06-30") from exc

    def group(self, name: str) -> Group:
        value, found = self.text(name), _group(self.fields)
        if found is None:
            known = ", ".join(f"{kind} {tongue}" for kind in KINDS for tongue in TONGUES)
            raise self.fault(name, f"{value!r} is none of {known}")
        return found

    def season(self) -> str:
        """`N/A` of what has none: spreadsheets write that as nothing."""
        if "season_title" in self.fields and self.fields["season_title"] is not None:
            return (self.fields["season_title"] or "").strip() or ABSENT[1]
        return self.text("season_title")

    def number(self, name: str, most: float, *, zero: bool = False) -> float:
        value = self.text(name)
        try:
            number = float(value)
        except ValueError as exc:
            raise self.fault(name, f"{value!r} is not a number") from exc
        if not (0 < number <= most or (zero and number == 0)):  # NaN fails as well
            raise self.fault(name, f"{value!r} is not between 0 and {most:g}")
        return number

    def whole(self, name: str, most: int) -> int:
        number = self.number(name, most)
        if number != int(number):
            raise self.fault(name, f"{self.text(name)!r} is not a whole number")
        return int(number)

    def number_or_nan(self, name: str, most: float) -> float:
        absent = (self.fields.get(name) or "").strip() in ABSENT
        return math.nan if absent else self.number(name, most, zero=True)


def _once(rows: Sequence[tuple[int, Row]], what: str) -> None:
    """The same title at the same rank of the same week is a line pasted twice."""
    lines: dict[tuple[int, Name, int], int] = {}
    for line, row in rows:
        earlier = lines.setdefault((row.week, row.name, row.rank), line)
        if earlier != line:
            raise WireError(what, f"row {line}, show_title", f"this repeats row {earlier}")


def _same_weekday(rows: Sequence[tuple[int, Row]], what: str) -> None:
    """Weeks end on the day that most rows say."""
    weekday = Counter(row.week % WEEK_DAYS for _, row in rows).most_common(1)[0][0]
    usual = next(row.week for _, row in rows if row.week % WEEK_DAYS == weekday)
    for line, row in rows:
        if row.week % WEEK_DAYS != weekday:
            day = date.fromordinal(row.week)
            detail = f"{day} is a {day:%A}, but weeks end on a {date.fromordinal(usual):%A}"
            hint = "a week that has not ended? --until its day leaves it out"
            raise WireError(what, f"row {line}, week", detail, hint=hint)


def _tell_namesakes_apart(rows: list[Row]) -> list[Row]:
    """Sorted; of two titles with one name in a week the lower-ranked becomes namesake 1."""
    count: dict[tuple[int, Name], int] = {}
    out = []
    for row in sorted(rows, key=lambda row: (row.week, str(row.name.group), row.rank)):
        nth = count.get((row.week, row.name), 0)
        count[row.week, row.name] = nth + 1
        name = Name(row.name.group, row.name.show, row.name.season, nth)
        out.append(Row(row.week, name, row.rank, row.hours, row.runtime_h, row.weeks_listed))
    return out
