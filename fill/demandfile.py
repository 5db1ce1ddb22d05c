"""Demand as a file: Parquet or CSV, equal rows as equal bytes, and read back strictly. Pure."""

from __future__ import annotations

import io
from datetime import date, timedelta
from typing import TYPE_CHECKING

from fill.demand import BYTES_MAX, HEADER, Demand, DemandRow, Known, read_demand
from wire.errors import WireError

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 1_000_000
EPOCH = date(1970, 1, 1)


def encode_demand(table: pa.Table, suffix: str) -> bytes:
    """A sorted table (day int32, home, asset, bytes) as `.parquet` or `.csv`; raises WireError.

    No time, no chance and no engine goes in, so equal tables give equal bytes.
    """
    if suffix == ".csv":
        lines = [",".join(HEADER)]
        columns = (table.column(name).to_pylist() for name in HEADER)
        lines += [
            f"{EPOCH + timedelta(days=day)},{home},{asset},{count}"
            for day, home, asset, count in zip(*columns, strict=True)
        ]
        return ("\n".join(lines) + "\n").encode()
    if suffix != ".parquet":
        raise WireError(suffix or "the output", "", "demand is written as .parquet or .csv")
    import pyarrow.parquet as pq

    out = io.BytesIO()
    plain = table.replace_schema_metadata(None).combine_chunks()
    pq.write_table(
        plain, out, compression="zstd", row_group_size=ROW_GROUP, store_schema=False, version="2.6"
    )
    return out.getvalue()


def read_demand_file(raw: bytes, what: str, known: Known) -> Demand:
    """Demand from `.parquet` or CSV, by the name `what`; raises WireError naming row and field."""
    if what.endswith(".parquet"):
        return read_demand_parquet(raw, what, known)
    return read_demand(raw, what, known)


def read_demand_parquet(raw: bytes, what: str, known: Known) -> Demand:
    """Demand from Parquet, as `fill demand` writes it; raises WireError naming row and column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(raw))
    except (pa.ArrowException, OSError, ValueError) as exc:
        told = str(exc).splitlines()[0][:200]
        raise WireError(what, "", f"this cannot be read as Parquet: {told}") from exc
    _check_columns(table, what)
    demand, seen = Demand(), set[tuple[int, str, int]]()
    columns = (table.column(name).to_pylist() for name in HEADER)
    for number, (day, home, asset, count) in enumerate(zip(*columns, strict=True), start=1):
        _check_row(day, home, asset, count, f"row {number}", what, known)
        if (day, home, asset) in seen:
            raise WireError(what, f"row {number}", "day, home and asset were there before")
        seen.add((day, home, asset))
        demand.keep(DemandRow(day, home, asset, count), known)
    return demand


def _check_columns(table: pa.Table, what: str) -> None:
    import pyarrow as pa

    for name in HEADER:
        if name not in table.column_names:
            hint = f"the columns are {', '.join(HEADER)}"
            raise WireError(what, f"columns, {name}", "this column is missing", hint=hint)
        kind = table.schema.field(name).type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not (text if name == "home" else pa.types.is_integer(kind)):
            expected = "text" if name == "home" else "whole numbers"
            raise WireError(what, f"columns, {name}", f"{kind} instead of {expected}")


def _check_row(
    day: int | None,
    home: str | None,
    asset: int | None,
    count: int | None,
    where: str,
    what: str,
    known: Known,
) -> None:
    if day is None or home is None or asset is None or count is None:
        values = zip(HEADER, (day, home, asset, count), strict=True)
        name = next(name for name, value in values if value is None)
        raise WireError(what, f"{where}, {name}", "this is missing")
    if day < 0:
        raise WireError(what, f"{where}, day", f"{day} is before 1970")
    if home not in known.sites:
        raise WireError(what, f"{where}, home", f"there is no site {home[:64]!r} in the fleet")
    if not 0 <= asset < known.next_id:
        raise WireError(what, f"{where}, asset", f"the catalogue has no asset {asset}")
    if not 0 <= count <= BYTES_MAX:
        raise WireError(what, f"{where}, bytes", f"{count} is not between 0 and {BYTES_MAX}")
