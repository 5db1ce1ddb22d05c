"""Bytes by day, home site and asset: one expression for every engine (Ibis). Pure.

DuckDB runs it on this machine, Spark on a cluster. Sums are whole numbers, rows are sorted by
bytes of their text, so the answers of both are the same, row for row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibis.expr.types import Table

DAILY = ("day", "home", "asset", "bytes")
EVENTS = ("appliance", "boot", "seq", "minute", "home", "asset", "bytes")
"""Columns of the two kinds of input: counted by day, and batches as appliances sent them."""
MINUTES_A_DAY = 1440
BATCH_ROW = ("appliance", "boot", "seq", "minute", "home", "asset")


def daily(rows: Table) -> Table:
    """Rows (DAILY or EVENTS, and `part`: the number of their file) as day (since 1970), home,
    asset, bytes, sorted by the first three.

    Beside them what tells a bad group: `least` and `most` bytes of a row, `missing` how many rows
    have none, `twice` how many are there again where they must not be: rows of one batch that
    contradict each other, rows of one day in one file. A batch that comes again counts once.
    """
    if "minute" in rows.columns:
        once = rows.group_by(*BATCH_ROW).aggregate(
            bytes=rows.bytes.max(),
            least=rows.bytes.min(),
            most=rows.bytes.max(),
            missing=rows.bytes.isnull().cast("int64").sum(),
            twice=(rows.bytes.max() != rows.bytes.min()).cast("int64"),
        )
        once = once.mutate(day=(once.minute // MINUTES_A_DAY).cast("int64"))
    else:
        once = rows.group_by("part", "day", "home", "asset").aggregate(
            bytes=rows.bytes.sum().cast("int64"),
            least=rows.bytes.min(),
            most=rows.bytes.max(),
            missing=rows.bytes.isnull().cast("int64").sum(),
            twice=(rows.count() - 1).cast("int64"),
        )
    return (
        once.group_by("day", "home", "asset")
        .aggregate(
            bytes=once.bytes.sum().cast("int64"),
            least=once.least.min().cast("int64"),
            most=once.most.max().cast("int64"),
            missing=once.missing.sum().cast("int64"),
            twice=once.twice.sum().cast("int64"),
        )
        .order_by("day", "home", "asset")
    )
