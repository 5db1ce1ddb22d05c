"""Whether a plan can be carried out: an independent reading of its tables, slot by slot.

Shares no code with the planner. It reads plan.parquet and schedule.parquet as published, and plain
facts about the fleet: disks, rates, who held what the evening before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

KEEP, FETCH, DROP = "keep", "fetch", "drop"
NAMES_MAX = 5
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BoxFacts:
    """One box: its site, bytes that plans may fill, bytes a second that it may pull and push, and
    whether other sites may pull from it."""

    site: str
    disk_bytes: float
    take_bytes_per_s: float
    send_bytes_per_s: float
    lends: bool


@dataclass(frozen=True, slots=True)
class Night:
    """The facts: boxes, what each held before (asset ids), bytes by asset id, the window."""

    boxes: Mapping[str, BoxFacts]
    held: Mapping[str, Ints]
    size: Mapping[int, int] | Ints
    window_s: float
    slot_s: float
    origin: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong (empty: nothing), and what the tables amount to."""

    faults: list[str]
    upstream_bytes: int
    upstream_bound_bytes: int
    makespan_s: float
    makespan_bound_s: float
    late: int
    fetched_bytes: int
    rows: int


class _Table:
    """plan.parquet as numbers: boxes by number, one row per (box, asset)."""

    def __init__(self, path: Path, night: Night) -> None:
        table = pq.read_table(path, columns=["appliance", "asset", "action", "bytes"])
        self.names = sorted(night.boxes)
        self.box = _index(table["appliance"], self.names)
        self.asset = np.asarray(table["asset"].combine_chunks()).astype(np.int64)
        self.bytes = np.asarray(table["bytes"].combine_chunks()).astype(np.int64)
        self.action = _index(table["action"], [KEEP, FETCH, DROP])
        self.sites = sorted({facts.site for facts in night.boxes.values()})
        numbers = {name: at for at, name in enumerate(self.sites)}
        self.site = np.array([numbers[night.boxes[name].site] for name in self.names])

    def key(self, box: Ints | int, asset: Ints) -> Ints:
        return np.asarray(box * (1 << 32) + asset)


def check(folder: Path, night: Night) -> Verdict:
    """Read a generation's folder and say what is wrong with it."""
    plan = _Table(folder / "plan.parquet", night)
    faults = [*_stock(plan, night), *_room(plan, night)]
    table = pq.read_table(folder / "schedule.parquet")
    slot = np.asarray(table["slot"].combine_chunks()).astype(np.int64)
    box, source = _index(table["appliance"], plan.names), _index(table["source"], plan.names)
    asset = np.asarray(table["asset"].combine_chunks()).astype(np.int64)
    size = np.asarray(table["bytes"].combine_chunks()).astype(np.int64)
    faults += _rates(plan, night, slot, box, source, size)
    late, done, wrong = _complete(plan, slot, box, asset, size)
    faults += wrong
    faults += _sources(plan, night, slot, box, source, asset, done)
    away = plan.site[box] != plan.site[source]
    fetch = plan.action == 1
    return Verdict(
        faults=faults,
        upstream_bytes=int(size[away].sum()),
        upstream_bound_bytes=_new_to_sites(plan),
        makespan_s=float((slot.max(initial=-1) + 1) * night.slot_s),
        makespan_bound_s=_shortest(plan, night),
        late=late,
        fetched_bytes=int(plan.bytes[fetch].sum()),
        rows=len(plan.box),
    )


def _index(column: Any, names: list[str]) -> Ints:
    found = pc.index_in(column.combine_chunks().cast("string"), value_set=_strings(names))
    if found.null_count:
        raise ValueError("the table names a box or an action that there is not")
    return np.asarray(found).astype(np.int64)


def _strings(names: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(names, pa.string())


def _stock(plan: _Table, night: Night) -> list[str]:
    """Each asset once a box; kept and dropped is what was there, all of it; sizes are true."""
    faults = []
    keys = plan.key(plan.box, plan.asset)
    if len(np.unique(keys)) != len(keys):
        faults.append("an asset is twice in the plan of a box")
    before = np.concatenate(
        [
            plan.key(at, night.held.get(name, np.zeros(0, np.int64)).astype(np.int64))
            for at, name in enumerate(plan.names)
        ]
    )
    stays = np.sort(keys[plan.action != 1])
    if not np.array_equal(stays, np.sort(before)):
        faults.append("what is kept and dropped is not what was held")
    if np.isin(keys[plan.action == 1], before).any():
        faults.append("something is fetched that is there already")
    true = np.asarray(night.size)[plan.asset]
    if (true != plan.bytes).any():
        faults.append("bytes of an asset differ from the catalogue's")
    return faults


def _room(plan: _Table, night: Night) -> list[str]:
    many = len(plan.names)
    wanted, fetch = plan.action != 2, plan.action == 1
    full = np.bincount(plan.box[wanted], plan.bytes[wanted], many)
    pulled = np.bincount(plan.box[fetch], plan.bytes[fetch], many)
    disk = np.array([night.boxes[name].disk_bytes for name in plan.names])
    rate = np.array([night.boxes[name].take_bytes_per_s for name in plan.names])
    faults = [f"{plan.names[at]}: more than its disk" for at in np.flatnonzero(full > disk)]
    spent = pulled > rate * night.window_s * (1 + 1e-9)
    faults += [f"{plan.names[at]}: more than its window" for at in np.flatnonzero(spent)]
    return faults[:NAMES_MAX]


def _rates(
    plan: _Table, night: Night, slot: Ints, box: Ints, source: Ints, size: Ints
) -> list[str]:
    many, slots = len(plan.names), int(slot.max(initial=-1)) + 1
    faults = []
    if slots * night.slot_s > night.window_s * (1 + 1e-9):
        faults.append("transfers go on after the window")
    take = np.array([night.boxes[name].take_bytes_per_s for name in plan.names]) * night.slot_s
    send = np.array([night.boxes[name].send_bytes_per_s for name in plan.names]) * night.slot_s
    for who, most, what in ((box, take, "pulls"), (source, send, "pushes")):
        used = np.bincount(who * max(1, slots) + slot, size, many * max(1, slots))
        over = used.reshape(many, -1) > most[:, None] * (1 + 1e-9) + 1.0
        named = np.flatnonzero(over.any(axis=1))[:NAMES_MAX]
        faults += [f"{plan.names[at]} {what} faster than it may" for at in named]
    return faults


def _complete(
    plan: _Table, slot: Ints, box: Ints, asset: Ints, size: Ints
) -> tuple[int, dict[str, Ints], list[str]]:
    """Every fetch gets its bytes, or is late; in which slot each one is whole (-1: not)."""
    fetch = np.flatnonzero(plan.action == 1)
    keys = plan.key(plan.box[fetch], plan.asset[fetch])
    order = np.argsort(keys)
    keys, want = keys[order], plan.bytes[fetch][order]
    mine = plan.key(box, asset)
    at = np.searchsorted(keys, mine)
    faults = []
    if len(mine) and (
        (at >= len(keys)).any() or (keys[np.minimum(at, len(keys) - 1)] != mine).any()
    ):
        return 0, {"keys": keys, "slot": np.full(len(keys), -1)}, ["a transfer nobody planned"]
    got = np.bincount(at, size, len(keys)).astype(np.int64)
    if (got > want).any():
        faults.append("a transfer brings more bytes than the asset has")
    last = np.full(len(keys), -1)
    np.maximum.at(last, at, slot)
    last[got < want] = -1
    return int((got < want).sum()), {"keys": keys, "slot": last}, faults


def _sources(
    plan: _Table,
    night: Night,
    slot: Ints,
    box: Ints,
    source: Ints,
    asset: Ints,
    done: dict[str, Ints],
) -> list[str]:
    """Whoever gives an asset kept it all along, or had it whole in an earlier slot; from another
    site only who lends."""
    faults = []
    kept = np.sort(plan.key(plan.box, plan.asset)[plan.action == 0])
    keys = plan.key(source, asset)
    origin = np.array([name == night.origin for name in plan.names])[source]
    holds = _in(kept, keys)
    at = np.minimum(np.searchsorted(done["keys"], keys), max(0, len(done["keys"]) - 1))
    came = np.zeros(len(keys), bool)
    if len(done["keys"]):
        whole = done["slot"][at]
        came = (done["keys"][at] == keys) & (whole >= 0) & (whole < slot)
    bad = np.flatnonzero(~(origin | holds | came))[:NAMES_MAX]
    faults += [f"{plan.names[source[at]]} gives asset {asset[at]} without having it" for at in bad]
    lends = np.array([night.boxes[name].lends for name in plan.names])[source]
    abroad = (plan.site[box] != plan.site[source]) & ~lends & ~origin
    if abroad.any():
        faults.append("an ISP's box gives to another site")
    return faults


def _in(sorted_keys: Ints, keys: Ints) -> NDArray[np.bool_]:
    if not len(sorted_keys):
        return np.zeros(len(keys), bool)
    at = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.asarray(sorted_keys[at] == keys)


def _new_to_sites(plan: _Table) -> int:
    """Bytes of assets that no box of the site keeps: they must come in from outside, once."""
    keys = plan.site[plan.box] * (1 << 32) + plan.asset
    fresh, at = np.unique(keys[plan.action == 1], return_index=True)
    new = ~_in(np.unique(keys[plan.action == 0]), fresh)
    return int(plan.bytes[plan.action == 1][at[new]].sum())


def _shortest(plan: _Table, night: Night) -> float:
    """No night is shorter than the longest of its boxes' own."""
    fetch = plan.action == 1
    pulled = np.bincount(plan.box[fetch], plan.bytes[fetch], len(plan.names))
    rate = np.array([night.boxes[name].take_bytes_per_s for name in plan.names])
    return float((pulled / rate).max(initial=0.0))
