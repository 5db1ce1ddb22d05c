"""Netflix's weekly Top-10 table (TSV) as typed rows, read strictly. Pure.

Source of the format: https://www.netflix.com/tudum/top10, "all weeks, global".
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from wire.errors import WireError

WEEK_DAYS = 7
ROWS_MAX = 2_000_000  # forty rows a week since the year of our Lord: a wrong file
HOURS_MAX = 1e11  # two years of every person alive would not do it in a week
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


def read_top10(raw: bytes, what: str) -> list[Row]:
    """Rows by week, group and rank; raises WireError naming file, row (its line) and field."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise WireError(what, f"byte {exc.start}", "this is not UTF-8") from exc
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        hint = f"the header must name {', '.join(COLUMNS)}, separated by tabs"
        raise WireError(what, f"row 1, {missing[0]}", "this column is missing", hint=hint)
    rows: list[Row] = []
    lines: dict[tuple[int, Name, int], int] = {}
    for fields in reader:
        row = _row(fields, what, reader.line_num)
        _once(row, lines, what, reader.line_num)
        rows.append(row)
        if len(rows) > ROWS_MAX:
            raise WireError(what, f"row {reader.line_num}", f"more than {ROWS_MAX} rows")
    if not rows:
        raise WireError(what, "row 2", "the table has no rows")
    _same_weekday(rows, what)
    return _tell_namesakes_apart(rows)


def _row(fields: Mapping[str | None, str | None], what: str, line: int) -> Row:
    reader = _Fields(fields, what, line)
    return Row(
        week=reader.day("week"),
        name=Name(reader.group("category"), reader.text("show_title"), reader.text("season_title")),
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
        value = self.text(name)
        kind, _, tongue = value.partition(" ")
        if kind not in KINDS or tongue not in TONGUES:
            known = ", ".join(f"{kind} {tongue}" for kind in KINDS for tongue in TONGUES)
            raise self.fault(name, f"{value!r} is none of {known}")
        return Group(KINDS[kind], TONGUES[tongue])

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


def _once(row: Row, lines: dict[tuple[int, Name, int], int], what: str, line: int) -> None:
    """The same title at the same rank of the same week is a line pasted twice."""
    earlier = lines.setdefault((row.week, row.name, row.rank), line)
    if earlier != line:
        raise WireError(what, f"row {line}, show_title", f"this repeats row {earlier}")


def _same_weekday(rows: list[Row], what: str) -> None:
    weekday = rows[0].week % WEEK_DAYS
    for row in rows:
        if row.week % WEEK_DAYS != weekday:
            day = date.fromordinal(row.week)
            detail = f"{day} is {day:%A}, but weeks end on {date.fromordinal(rows[0].week):%A}"
            raise WireError(what, f"{row.name.show}, week", detail)


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
