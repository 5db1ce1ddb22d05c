"""Inputs of `fill demand` as Parquet with checked columns, ready for any engine.

Parquet is taken as it lies, after a look at its columns. CSV files and the history are rewritten
row by row, as text and SQLite are no formats for a cluster. Errors name file, row and field.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fill.counting import BATCH_ROW, DAILY, EVENTS
from fill.demand import BYTES_MAX, day_of, whole_of
from wire.errors import WireError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_CHUNK = 100_000
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Part:
    """One input: the Parquet file that engines read, and the file a person gave, whose rows come
    `above` lines later."""

    parquet: Path
    given: Path
    events: bool
    above: int = 0


def stage(given: Path, scratch: Path, progress: Progress) -> Part:
    """One input file as a Part; raises WireError naming file, row and field.

    `progress` hears of rows as they are rewritten. What is written lies in `scratch`.
    """
    if not given.exists():
        raise WireError(str(given), "", "there is no such file")
    if given.suffix in (".sqlite", ".db"):
        return _stage_history(given, scratch, progress)
    if given.suffix == ".parquet":
        names = _check_parquet(given)
        return Part(given, given, "minute" in names)
    if given.suffix == ".csv":
        return _stage_csv(given, scratch, progress)
    hint = "history.sqlite, *.parquet or *.csv"
    raise WireError(str(given), "", f"what kind of file is {given.suffix!r}?", hint=hint)


def locate(part: Part, field: str, wrong: Callable[[Any], bool]) -> int:
    """The first row (from 1, in the file given) where `wrong(value of field)`; 0 if none is."""
    import pyarrow.parquet as pq

    row = 0
    for batch in pq.ParquetFile(part.parquet).iter_batches(columns=[field]):
        for value in batch.column(0).to_pylist():
            row += 1
            if wrong(value):
                return row + part.above
    return 0


def locate_twice(parts: Sequence[Part]) -> tuple[Part, int]:
    """The first row (from 1) that is there again where it must not be: in one file a day, home and
    asset; in all of them a row of one batch with other bytes. Row 0 if there is none."""
    import pyarrow.parquet as pq

    seen: dict[tuple[Any, ...], Any] = {}
    for part in parts:
        names = BATCH_ROW if part.events else DAILY[:3]
        seen, row = seen if part.events else {}, 0
        for batch in pq.ParquetFile(part.parquet).iter_batches(columns=[*names, "bytes"]):
            for values in batch.select([*names, "bytes"]).to_pylist():
                row += 1
                count, key = values.pop("bytes"), tuple(values.values())
                if key in seen and (seen[key] != count or not part.events):
                    return part, row + part.above
                seen[key] = count
    return parts[0], 0


def _check_parquet(path: Path) -> set[str]:
    """The columns of a Parquet file, which have the types that counting needs; raises WireError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as exc:
        told = str(exc).splitlines()[0][:200]
        raise WireError(str(path), "", f"this cannot be read as Parquet: {told}") from exc
    wanted = _columns(set(schema.names), str(path), "columns")
    for name in wanted:
        kind = schema.field(name).type
        if not _fits(name, kind):
            raise WireError(str(path), name, f"{kind} instead of {_expected(name)}")
    return set(wanted)


def _columns(found: set[str], what: str, where: str) -> tuple[str, ...]:
    wanted = EVENTS if "minute" in found else DAILY
    missing = [name for name in wanted if name not in found]
    if missing:
        hint = f"columns are {','.join(DAILY)} or {','.join(EVENTS)}"
        raise WireError(what, f"{where}, {missing[0]}", "this column is missing", hint=hint)
    return wanted


def _fits(name: str, kind: pa.DataType) -> bool:
    import pyarrow as pa

    if name in ("home", "appliance"):
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    if name == "day" and pa.types.is_date32(kind):
        return False  # engines turn dates into numbers each in its way
    return bool(pa.types.is_integer(kind))


def _expected(name: str) -> str:
    if name in ("home", "appliance"):
        return "text"
    return "whole days since 1970 (int32)" if name == "day" else "a whole number"


def _stage_history(given: Path, scratch: Path, progress: Progress) -> Part:
    from fill.history import unusable

    def rows() -> Iterator[tuple[Any, ...]]:
        database = sqlite3.connect(f"file:{given}?mode=ro", uri=True)
        try:
            yield from database.execute("SELECT day, home, asset, bytes FROM delivered")
        finally:
            database.close()

    try:
        return Part(_write(rows(), DAILY, given, scratch, progress), given, False)
    except sqlite3.Error as exc:
        raise unusable(given, exc) from exc


def _stage_csv(given: Path, scratch: Path, progress: Progress) -> Part:
    try:
        with given.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            header = [name.strip() for name in next(reader, [])]
            wanted = _columns(set(header), str(given), "row 1")
            rows = _csv_rows(reader, header, wanted, str(given))
            path = _write(rows, wanted, given, scratch, progress)
    except UnicodeDecodeError as exc:
        raise WireError(str(given), f"byte {exc.start}", "this is not UTF-8") from exc
    except csv.Error as exc:
        raise WireError(str(given), f"row {reader.line_num}", f"this is not CSV: {exc}") from exc
    return Part(path, given, "minute" in wanted, above=1)


def _csv_rows(
    reader: Any, header: Sequence[str], wanted: Sequence[str], what: str
) -> Iterator[tuple[Any, ...]]:
    places = [header.index(name) for name in wanted]
    daily, seen = "day" in wanted, dict[tuple[Any, ...], int]()
    for fields in reader:
        if not fields:
            continue
        line = reader.line_num
        if len(fields) != len(header):
            detail = f"{len(fields)} fields instead of {len(header)}"
            raise WireError(what, f"row {line}", detail)
        row = tuple(
            _value(fields[at].strip(), name, what, line)
            for at, name in zip(places, wanted, strict=True)
        )
        if daily and (first := seen.setdefault(row[:-1], line)) != line:
            detail = f"day, home and asset are those of row {first}"
            raise WireError(what, f"row {line}", detail, hint="add the bytes up")
        yield row


def _value(text: str, name: str, what: str, line: int) -> int | str:
    if name in ("home", "appliance"):
        return text
    if name == "day":
        return day_of(text, what, line)
    number = whole_of(text, name, what, line)
    if number > BYTES_MAX:
        raise WireError(what, f"row {line}, {name}", f"{number} is more than {BYTES_MAX}")
    return number


def _write(
    rows: Iterator[tuple[Any, ...]],
    columns: Sequence[str],
    given: Path,
    scratch: Path,
    progress: Progress,
) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: Mapping[str, Any] = {"home": pa.string(), "appliance": pa.string()}
    schema = pa.schema([(name, kinds.get(name, pa.int64())) for name in columns])
    path = scratch / f"{len(list(scratch.iterdir())):04d}-{given.stem}.parquet"
    with pq.ParquetWriter(path, schema) as writer:
        chunk: list[tuple[Any, ...]] = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == ROWS_A_CHUNK:
                writer.write_batch(_batch(chunk, schema))
                progress(len(chunk))
                chunk = []
        writer.write_batch(_batch(chunk, schema))
        progress(len(chunk))
    return path


def _batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


assert set(BATCH_ROW) < set(EVENTS)
