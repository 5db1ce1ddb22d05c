"""`fill explain`: what a generation's tables say about one asset on one box."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from fill.catalogue import titles_of
from fill.explain import Case, Copy, Told, Turnover, explain
from fill.files import Files
from fill.generation import BoxSummary, Summary
from fill.inquiry import in_force
from fill.ledger import ASKED, PLAN, Ledger
from fill.night import read_all_rules, with_triggers
from fill.planfile import rows_of_table
from fill.rendezvous import rendezvous_order
from fill.rows import ACTIONS, Action, Rows
from fill.rules import Ruling
from fill.slices import why_here
from wire.catalogue import Asset
from wire.errors import NotFoundError
from wire.fleet import Fleet
from wire.ids import ORIGIN_ID


def explanation(files: Files, asset: int, appliance: str) -> list[str]:
    """Why the generation in force puts `asset` on `appliance`, or not; raises NotFoundError."""
    ledger = Ledger(files.state)
    summary = ledger.summary(in_force(ledger))
    catalogue, fleet = files.read_catalogue(), files.read_fleet()
    entry = catalogue.entries.get(asset)
    if entry is None:
        raise NotFoundError(f"the catalogue has no asset {asset}")
    if appliance not in summary.boxes:
        known = ", ".join(sorted(summary.boxes))
        raise NotFoundError(f"there is no plan for {appliance!r}; boxes with plans: {known}")
    family = min(titles_of(catalogue)[entry.asset.title])
    rules = Ruling(
        with_triggers(read_all_rules(files, catalogue, fleet), files),
        titles_of(catalogue),
        datetime.fromtimestamp(summary.made_s, UTC).date(),
    )
    return explain(_case(files, ledger, summary, fleet, rules, entry.asset, appliance, family))


def _case(
    files: Files,
    ledger: Ledger,
    summary: Summary,
    fleet: Fleet,
    rules: Ruling,
    asset: Asset,
    appliance: str,
    family: int,
) -> Case:
    box, number = summary.boxes[appliance], summary.generation
    mates = {name: mate for name, mate in summary.boxes.items() if mate.site == box.site}
    copies = rows_of_table(ledger.table(number, PLAN, [("asset", "=", asset.id)]))
    copies = copies.where(
        np.isin(copies.box, [i for i, n in enumerate(copies.boxes) if n in mates])
    )
    mine = ledger.rows(number, [appliance])
    site = fleet.site(box.site)
    ruled = rules.at(site, (appliance,), np.array([asset.id], np.int32)) if site else None
    weights = {name: float(mate.usable_bytes) for name, mate in mates.items()}
    return Case(
        asset=asset,
        appliance=appliance,
        generation=box.generation,
        knobs=files.config.plan,
        box=box,
        mates=mates,
        told=_told(ledger, box, asset.id),
        copies=tuple(_copies(fleet, copies, mates)),
        order=tuple(rendezvous_order(family, weights)),
        last=_edge(mine, mine.action != Action.DROP),
        dropped=bool(((mine.action == Action.DROP) & (mine.asset == asset.id)).any()),
        banned=ruled is not None and not bool(ruled.may[0]),
        ruled=ruled is not None and (bool(ruled.floor[0]) or appliance in ruled.pinned),
        leaving=_turnover(mine, Action.DROP),
        coming=_turnover(mine, Action.FETCH),
    )


def _told(ledger: Ledger, box: BoxSummary, asset: int) -> Told | None:
    kept = box.generation if box.generation in ledger.numbers() else ledger.current()
    table = ledger.table(kept, ASKED, [("site", "=", box.site), ("asset", "=", asset)])
    for row in table.to_pylist():
        return Told(row["own_bytes"], row["taken_bytes"], row["refused_value"])
    return None


def _copies(fleet: Fleet, rows: Rows, mates: dict[str, BoxSummary]) -> list[Copy]:
    found = []
    for at in np.flatnonzero(rows.action != Action.DROP).tolist():
        name, keep = rows.boxes[rows.box[at]], rows.action[at] == Action.KEEP
        value, number = float(rows.value[at]), int(rows.number[at])
        source = [rows.boxes[each] for each in rows.source[rows.start[at] : rows.start[at + 1]]]
        found.append(
            Copy(
                box=name,
                number=number,
                density=value,
                action=ACTIONS[int(rows.action[at])],
                why=why_here(number, value, bool(keep), mates[name]),
                sources=tuple((each, _kind(fleet, name, each)) for each in source),
            )
        )
    return sorted(found, key=lambda copy: copy.number)


def _kind(fleet: Fleet, box: str, source: str) -> str:
    if source == ORIGIN_ID:
        return "origin"
    here, there = fleet.appliance(box), fleet.appliance(source)
    return "peer" if here and there and here.site == there.site else "site"


def _edge(rows: Rows, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[int, float] | None:
    at = np.flatnonzero(mask)
    return (int(rows.asset[at[-1]]), float(rows.value[at[-1]])) if len(at) else None


def _turnover(rows: Rows, action: Action) -> Turnover | None:
    at = np.flatnonzero(rows.action == action)
    if not len(at):
        return None
    edge = at[0] if action is Action.DROP else at[-1]  # rows stand in falling order of value
    return Turnover(
        len(at), int(rows.bytes[at].sum()), int(rows.asset[edge]), float(rows.value[edge])
    )
