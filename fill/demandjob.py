"""`fill demand`: from events to bytes by day, home site and asset, in one sorted file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fill.counting import DAILY, EVENTS, MINUTES_A_DAY
from fill.demand import BYTES_MAX, NO_HOME, RETIRED, UNKNOWN_SITE, Known
from fill.demandfile import encode_demand
from fill.engines import LOCAL, connected
from fill.staging import Part, Progress, locate, locate_twice, stage
from wire.durable import write_durably
from wire.errors import WireError

if TYPE_CHECKING:
    import pyarrow as pa

DAY_MAX = 40_000  # the year 2079: a day beyond is a clock gone wrong
COLUMNS = ("day", "home", "asset", "bytes")


@dataclass(frozen=True, slots=True)
class Job:
    """What is counted where: input files, engine and its master, where the answer goes.

    `scratch` is a folder that the engine's workers see too (a cluster's shared file system).
    """

    inputs: tuple[Path, ...]
    out: Path
    engine: str = "duckdb"
    master: str = LOCAL
    scratch: Path | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """What came out: rows, bytes, and bytes that were left out, by reason."""

    rows: int
    bytes: int
    days: int
    ignored: dict[str, int]


def run_job(job: Job, known: Known | None, progress: Progress) -> Counted:
    """Count, and write `job.out` by one rename; raises WireError, EngineError, and then nothing is.

    With `known`, rows of sites and assets that are gone are left out, and those that never were
    are errors. Equal inputs give equal bytes, whatever the engine.
    """
    with tempfile.TemporaryDirectory(prefix="fill-demand-", dir=job.scratch) as folder:
        parts = [stage(path, Path(folder), progress) for path in job.inputs]
        tables = []
        with connected(job.engine, job.master) as engine:
            for events, columns in ((False, DAILY), (True, EVENTS)):
                same = [part for part in parts if part.events is events]
                if same:
                    counted = engine.count([part.parquet for part in same], columns)
                    _check(counted, same)
                    tables.append(counted.select(COLUMNS))
        table, ignored = _of_this_world(_merged(tables), parts, known)
    raw = encode_demand(table, job.out.suffix)
    write_durably(job.out, raw)
    whole = sum(table.column("bytes").to_pylist())
    days = len(table.column("day").unique())
    return Counted(table.num_rows, whole, days, ignored)


def _check(table: pa.Table, parts: Sequence[Part]) -> None:
    """Raise WireError for the first value that no event can have, with its file and row."""
    import pyarrow.compute as pc

    def beyond(name: str, low: int, high: int) -> bool:
        column = table.column(name)
        ends = pc.min_max(column).as_py()
        return bool(
            column.null_count or (table.num_rows and (ends["min"] < low or ends["max"] > high))
        )

    for name, low, high in (("day", 0, DAY_MAX), ("asset", 0, 2**31 - 1)):
        if beyond(name, low, high):
            _blame(parts, name, low, high)
    if table.column("home").null_count:
        _blame(parts, "home", 0, 0)
    if any(beyond(name, 0, BYTES_MAX) for name in ("least", "most")) or beyond("missing", 0, 0):
        _blame(parts, "bytes", 0, BYTES_MAX)
    if beyond("twice", 0, 0):
        events = parts[0].events
        detail = "this batch was" if events else "day, home and asset were"
        detail += " there with other bytes" if events else " there before"
        part, row = locate_twice(parts)
        raise WireError(str(part.given), f"row {row}", detail)


def _blame(parts: Sequence[Part], name: str, low: int, high: int) -> None:
    field = "minute" if name == "day" and parts[0].events else name
    unit = MINUTES_A_DAY if field == "minute" else 1

    def wrong(value: Any) -> bool:
        if value is None:
            return True
        return field != "home" and not low <= value // unit <= high

    for part in parts:
        row = locate(part, field, wrong)
        if row:
            detail = f"this is missing or not between {low} and {high * unit}"
            detail = "this is missing" if field == "home" else detail
            raise WireError(str(part.given), f"row {row}, {field}", detail)
    raise WireError(str(parts[0].given), field, "a value that cannot be counted")


def _merged(tables: Sequence[pa.Table]) -> pa.Table:
    """Both kinds of input as one table: sums of sums, sorted as each was."""
    import pyarrow as pa

    kinds = pa.schema(
        [("day", pa.int32()), ("home", pa.string()), ("asset", pa.int64()), ("bytes", pa.int64())]
    )
    whole = pa.concat_tables([table.cast(kinds) for table in tables])
    if len(tables) > 1:
        summed = whole.group_by(list(COLUMNS[:3])).aggregate([("bytes", "sum")])
        whole = summed.rename_columns({"bytes_sum": "bytes"}).select(COLUMNS)
    return whole.sort_by([(name, "ascending") for name in COLUMNS[:3]]).combine_chunks()


def _of_this_world(
    table: pa.Table, parts: Sequence[Part], known: Known | None
) -> tuple[pa.Table, dict[str, int]]:
    """The rows that planning can use, and the bytes of the others by reason; raises WireError."""
    import pyarrow as pa

    if known is None:
        return table, {}
    keep, ignored = [], dict[str, int]()
    columns = (table.column(name).to_pylist() for name in COLUMNS[1:])
    for home, asset, count_bytes in zip(*columns, strict=True):
        reason = _reason(home, asset, known)
        if asset >= known.next_id:
            _blame_asset(parts, known)
        keep.append(not reason)
        if reason:
            ignored[reason] = ignored.get(reason, 0) + count_bytes
    return table.filter(pa.array(keep, pa.bool_())), ignored


def _reason(home: str, asset: int, known: Known) -> str:
    if not home:
        return NO_HOME
    if home not in known.sites:
        return UNKNOWN_SITE
    return "" if asset in known.assets or asset in known.heirs else RETIRED


def _blame_asset(parts: Sequence[Part], known: Known) -> None:
    for part in parts:
        row = locate(part, "asset", lambda value: value >= known.next_id)
        if row:
            detail = f"the catalogue has only assets below {known.next_id}"
            raise WireError(str(part.given), f"row {row}, asset", detail)
    given = ", ".join(str(part.given) for part in parts)
    raise WireError(given, "asset", f"an asset that is not below {known.next_id}")
