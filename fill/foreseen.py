"""The forecast of one fleet, read from its files, and the forecast as a file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from fill.arrays import DemandArrays
from fill.files import Files
from fill.forecast import tomorrow
from fill.night import launches_of, read_all_demand, read_all_rules
from wire.errors import NotFoundError
from wire.ids import SiteKind

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("site", "asset", "bytes_a_day", "spread")


def foresee(files: Files, day: int, *, before_only: bool = False) -> DemandArrays:
    """What `fill plan` would plan for on `day` (since 1970); raises WireError as it does.

    With `before_only`, NotFoundError where all demand is of later days: a plan would begin with it.
    """
    catalogue, fleet = files.read_catalogue(), files.read_fleet()
    demand = read_all_demand(files, catalogue, fleet)
    if before_only and demand.rows and min(row.day for row in demand.rows) > day:
        raise NotFoundError("all demand is of later days: there is nothing to forecast from")
    sites = [site for site in fleet.sites if site.kind is not SiteKind.ORIGIN]
    launches = launches_of(read_all_rules(files, catalogue, fleet), catalogue)
    return tomorrow(demand.rows, catalogue, sites, day, launches)


def encode_forecast(found: DemandArrays, suffix: str) -> bytes:
    """A forecast as `.parquet` or `.csv`: site, asset, bytes_a_day and its standard deviation."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    out = io.BytesIO()
    table = _table(found)
    if suffix == ".csv":
        pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(quoting_style="none"))
    else:
        pq.write_table(table, out, compression="zstd", store_schema=False, version="2.6")
    return out.getvalue()


def _table(found: DemandArrays) -> pa.Table:
    import pyarrow as pa

    names = pa.array(found.sites, pa.string()).take(pa.array(found.site))
    columns = [names, pa.array(found.asset), pa.array(found.bytes_a_day), pa.array(found.spread)]
    return pa.table(dict(zip(COLUMNS, columns, strict=True)))
