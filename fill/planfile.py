"""Plans as Parquet: plan, asked and schedule tables, written and read with pyarrow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fill.arrays import Ints
from fill.planner import Night
from fill.rows import ACTIONS, Rows
from fill.schedule import Schedule
from wire.errors import WireError

ROW_GROUP = 131_072
ASKED = pa.schema(
    [
        ("site", pa.string()),
        ("asset", pa.int32()),
        ("own_bytes", pa.float64()),
        ("taken_bytes", pa.float64()),
        ("served_bytes", pa.float64()),
        ("copies", pa.int32()),
        ("refused_value", pa.float64()),
    ]
)


def plan_table(rows: Rows) -> pa.Table:
    """The table of plan.parquet."""
    sources = pa.ListArray.from_arrays(
        pa.array(rows.start, pa.int32()), _words(rows.source, rows.boxes)
    )
    return pa.table(
        {
            "appliance": _words(rows.box, rows.boxes),
            "asset": pa.array(rows.asset, pa.int32()),
            "action": _words(rows.action, ACTIONS),
            "bytes": pa.array(rows.bytes, pa.int64()),
            "value": pa.array(rows.value, pa.float64()),
            "rank": pa.array(rows.rank, pa.int32()),
            "sources": sources,
            "number": pa.array(rows.number, pa.int32()),
            "outside": pa.array(rows.outside, pa.bool_()),
        }
    )


def rows_of_table(table: pa.Table) -> Rows:
    """What `plan_table` made a table of; boxes are numbered as they come."""
    appliance = table["appliance"].combine_chunks()
    sources = table["sources"].combine_chunks()
    flat = sources.values
    names = pc.unique(pa.chunked_array([_plain(appliance), _plain(flat)]))
    start = np.asarray(sources.offsets, np.int64)
    return Rows(
        boxes=tuple(names.to_pylist()),
        box=_numbers(appliance, names),
        asset=_column(table, "asset", np.int32),
        action=_numbers(table["action"].combine_chunks(), pa.array(ACTIONS)),
        bytes=_column(table, "bytes", np.int64),
        value=_column(table, "value", np.float64),
        rank=_column(table, "rank", np.int32),
        number=_column(table, "number", np.int32),
        start=start,
        source=_numbers(flat, names),
        outside=_column(table, "outside", np.bool_),
    )


def asked_table(night: Night) -> pa.Table:
    """Per site and asset: what is asked for, what is served of it, what was refused."""
    ids = night.inputs.assets.ids
    parts = [
        pa.table(
            {
                "site": _words(np.zeros(len(plan.at), np.int32), (name,)).cast(pa.string()),
                "asset": pa.array(ids[plan.at], pa.int32()),
                "own_bytes": plan.own,
                "taken_bytes": plan.taken,
                "served_bytes": plan.placed.served,
                "copies": pa.array(plan.placed.copies, pa.int32()),
                "refused_value": plan.placed.refused,
            },
            schema=ASKED,
        )
        for name, plan in night.plans.items()
    ]
    return pa.concat_tables(parts) if parts else ASKED.empty_table()


def schedule_table(timed: Schedule) -> pa.Table:
    """The table of schedule.parquet: what comes when from whom, slots numbered from the opening of
    the window."""
    rows = timed.rows
    order = np.argsort(timed.slot, kind="stable")
    row = timed.row[order]
    return pa.table(
        {
            "slot": pa.array(timed.slot[order], pa.int32()),
            "appliance": _words(rows.box[row], rows.boxes),
            "asset": pa.array(rows.asset[row], pa.int32()),
            "source": _words(timed.source[order], rows.boxes),
            "bytes": pa.array(timed.bytes[order], pa.int64()),
        }
    )


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table; it is not synced."""
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP)


def read_plan(path: Path, appliances: Iterable[str] | None = None) -> Rows:
    """The rows of a plan.parquet (of some boxes); raises WireError where it cannot be read."""
    chosen = None if appliances is None else [("appliance", "in", list(appliances))]
    return rows_of_table(read_table(path, chosen))


def read_table(path: Path, filters: Any = None) -> pa.Table:
    """Rows of a table that match `filters` (as pyarrow has them); raises WireError."""
    try:
        return pq.read_table(path, filters=filters)
    except (OSError, pa.ArrowException) as exc:
        raise WireError(str(path), "", f"this Parquet file cannot be read: {exc}") from exc


def _words(index: Ints, words: Iterable[str]) -> Any:
    return pa.DictionaryArray.from_arrays(
        pa.array(index, pa.int32()), pa.array(list(words), pa.string())
    )


def _plain(array: Any) -> Any:
    return array.cast(pa.string())


def _numbers(array: Any, names: Any) -> Ints:
    return np.asarray(pc.index_in(_plain(array), value_set=names), np.int32)


def _column(table: pa.Table, name: str, kind: type) -> Any:
    return np.asarray(table[name].combine_chunks()).astype(kind)
