"""What was asked for: bytes by day, home site and asset, read strictly from files. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from wire.errors import WireError

HEADER = ("day", "home", "asset", "bytes")
BYTES_MAX = 2**53  # nine petabytes of one asset in one site and day: a typing error


@dataclass(frozen=True, slots=True)
class DemandRow:
    """Bytes of one asset delivered to clients of one home site on one day (days since 1970)."""

    day: int
    home: str
    asset: int
    bytes: int


@dataclass(slots=True)
class Known:
    """The world rows must belong to: sites, assets, the number no asset has reached yet, and whose
    demand goes on: retired asset → its heir, and the heir's bytes beside its own."""

    sites: Collection[str]
    assets: Collection[int]
    next_id: int
    heirs: Mapping[int, tuple[int, float]] = field(default_factory=dict)


@dataclass(slots=True)
class Demand:
    """Rows that count, and the bytes that do not: `ignored` reason → bytes; `inherited`: bytes of
    rows that were those of a retired asset."""

    rows: list[DemandRow] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    inherited: int = 0

    def ignore(self, reason: str, count_bytes: int) -> None:
        """Leave bytes out, and say why."""
        self.ignored[reason] = self.ignored.get(reason, 0) + count_bytes

    def keep(self, row: DemandRow, known: Known) -> None:
        """Take a row in if it belongs to this world, else count its bytes by the reason.

        A re-encode is another asset: it is asked for as often as what it replaces was.
        """
        if not row.home:
            self.ignore(NO_HOME, row.bytes)
        elif row.home not in known.sites:
            self.ignore(UNKNOWN_SITE, row.bytes)
        elif row.asset in known.assets:
            self.rows.append(row)
        elif row.asset in known.heirs:
            heir, size = known.heirs[row.asset]
            moved = DemandRow(row.day, row.home, heir, round(row.bytes * size))
            self.rows.append(moved)
            self.inherited += moved.bytes
        else:
            self.ignore(RETIRED, row.bytes)


RETIRED, UNKNOWN_SITE, NO_HOME = "retired asset", "site not in the fleet", "no home site"


def read_demand(raw: bytes, what: str, known: Known) -> Demand:
    """Read a CSV file of demand; raises WireError naming file, row (its line) and field.

    Assets that were retired since are left out and counted; unknown ids and sites are errors.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise WireError(what, f"byte {exc.start}", "this is not UTF-8") from exc
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    demand, seen = Demand(), dict[tuple[int, str, int], int]()
    try:
        _check_header(next(reader, []), what)
        for fields in reader:
            if fields:
                row = _row(fields, what, reader.line_num, known)
                _check_twice(row, seen, what, reader.line_num)
                demand.keep(row, known)
    except csv.Error as exc:
        raise WireError(what, f"row {reader.line_num}", f"this is not CSV: {exc}") from exc
    return demand


def from_history(rows: Iterable[DemandRow], known: Known) -> Demand:
    """Keep the counted rows that belong to this world; the others are counted by reason."""
    demand = Demand()
    for row in rows:
        demand.keep(row, known)
    return demand


def _check_header(fields: list[str], what: str) -> None:
    if tuple(name.strip() for name in fields) != HEADER:
        shown = ",".join(fields)[:80] or "nothing"
        expected = ",".join(HEADER)
        raise WireError(what, "row 1", f"the header is {shown!r}", hint=f"write {expected}")


def _check_twice(
    row: DemandRow, seen: dict[tuple[int, str, int], int], what: str, line: int
) -> None:
    earlier = seen.setdefault((row.day, row.home, row.asset), line)
    if earlier != line:
        detail = f"day, home and asset are those of row {earlier}"
        raise WireError(what, f"row {line}", detail, hint="add the bytes up")


def _row(fields: list[str], what: str, line: int, known: Known) -> DemandRow:
    if len(fields) != len(HEADER):
        detail = f"{len(fields)} fields instead of {len(HEADER)}"
        raise WireError(what, f"row {line}", detail)
    day, home, asset, count = (text.strip() for text in fields)
    number = whole_of(asset, "asset", what, line)
    if home not in known.sites:
        raise WireError(what, f"row {line}, home", f"there is no site {home[:64]!r} in the fleet")
    if number >= known.next_id:
        raise WireError(what, f"row {line}, asset", f"the catalogue has no asset {number}")
    count_bytes = whole_of(count, "bytes", what, line)
    if count_bytes > BYTES_MAX:
        raise WireError(what, f"row {line}, bytes", f"{count_bytes} is more than {BYTES_MAX}")
    return DemandRow(day_of(day, what, line), home, number, count_bytes)


def day_of(text: str, what: str, line: int) -> int:
    """Days since 1970 of an ISO date; raises WireError naming the row."""
    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)).days
    except ValueError as exc:
        detail = f"{text[:40]!r} is not a day"
        raise WireError(what, f"row {line}, day", detail, hint="such as 2026-11-22") from exc


def whole_of(text: str, name: str, what: str, line: int) -> int:
    """A whole number ≥ 0 in plain digits; raises WireError naming the row and the field."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        detail = f"{text[:40]!r} is not a whole number ≥ 0"
        raise WireError(what, f"row {line}, {name}", detail)
    return int(text)
