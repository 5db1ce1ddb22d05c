"""What must be in place before the next night: a generation for the boxes that it concerns."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace as with_

import numpy as np
from msgspec.structs import replace

from fill.brakes import BrakesOn, unusual, wants_of
from fill.catalogue import titles_of
from fill.files import Files
from fill.generation import BoxSummary
from fill.ledger import ASKED, PLAN, SCHEDULE, Generation, alone
from fill.night import World, placeable, read_all_rules
from fill.planfile import plan_table
from fill.preposition import with_assets
from fill.rows import Action, Rows
from fill.rules import Ruling
from fill.slices import Issue, peers_of, plan_of
from wire.errors import ConflictError
from wire.ids import SiteKind
from wire.plan import sign_plan


def preposition(files: Files, assets: Collection[int]) -> int:
    """Publish the plan in force with these assets in every site, to be fetched at once, whatever
    the hour; the generation in force then. Its budget is just their bytes.

    Raises ConflictError where there is no plan to add to, BrakesOn where too much would give way.
    """
    with alone(files.state):
        world = World.read(files)
        ledger, before = world.ledger, world.ledger.current()
        if not before or ledger.summary(before).epoch != world.catalogue.epoch:
            raise ConflictError("there is no plan to add to yet: fill plan")
        last, old = ledger.summary(before), ledger.rows(before)
        rows, moved = with_assets(
            old, world.fleet, last.boxes, _wanted(world, assets), _allowed(world, assets)
        )
        if not moved:
            return before
        was, wants = wants_of(old), wants_of(rows)
        met = {name: was[name] for name in moved if name in was}
        reasons = unusual(met, wants, moved.keys(), {}, {}, files.config.brakes, world.purged)
        if reasons:
            raise BrakesOn(reasons)
        generation, now_s = ledger.next_number(), int(time.time())
        boxes = {
            name: _changed(box, rows, name, moved[name], generation) if name in moved else box
            for name, box in last.boxes.items()
        }
        by_id = {box.id: box for box in world.fleet.appliances}
        issue = Issue(
            rows=rows,
            ranges=rows.ranges(),
            catalogue=world.catalogue,
            fleet=world.fleet,
            by_id=by_id,
            knobs=with_(files.config.plan, out_of_window=True),
            boxes=boxes,
            peers=peers_of(rows, world.fleet),
            generation=generation,
            now_s=now_s,
            force=False,
        )
        key = files.signing_key()
        kept = [(name, raw) for name, raw in ledger.plans(before).items() if name not in moved]
        new = [(name, sign_plan(plan_of(issue, by_id[name]), key)) for name in moved]
        note = f"out of cycle: {len(assets)} assets put into {len(moved)} boxes"
        summary = replace(
            last,
            generation=generation,
            made_s=now_s,
            boxes=boxes,
            canary=tuple(moved),
            rollback_of=0,
            notes=(note,),
        )
        tables = {PLAN: plan_table(rows)}
        for name in (ASKED, SCHEDULE):
            if name in last.files:
                tables[name] = ledger.table(before, name)
        ledger.publish(Generation(summary, tables, [*kept, *new]), files.config.keep_generations)
        return generation


def _wanted(world: World, assets: Collection[int]) -> dict[int, tuple[int, int]]:
    known = placeable(world.catalogue, world.purged)
    sizes = zip(known.ids.tolist(), known.size.tolist(), known.family.tolist(), strict=True)
    return {number: (size, family) for number, size, family in sizes if number in assets}


def _allowed(world: World, assets: Collection[int]) -> dict[str, list[int]]:
    """Site → those of the assets that the rules permit there."""
    rules = read_all_rules(world.files, world.catalogue, world.fleet)
    ruling = Ruling(rules, titles_of(world.catalogue), world.today)
    ids = np.array(sorted(assets), np.int32)
    return {
        site.id: ids[ruling.at(site, (), ids).may].tolist()
        for site in world.fleet.sites
        if site.kind is not SiteKind.ORIGIN
    }


def _changed(box: BoxSummary, rows: Rows, name: str, moved: int, generation: int) -> BoxSummary:
    mine = rows.ranges()[name]
    action, size = rows.action[mine], rows.bytes[mine]
    counts = np.bincount(action, minlength=len(Action)).tolist()
    sums = np.bincount(action, size, len(Action)).astype(np.int64).tolist()
    return replace(
        box,
        generation=generation,
        planned_bytes=sums[Action.KEEP] + sums[Action.FETCH],
        fill_bytes=moved,
        fetch_bytes=sums[Action.FETCH],
        drop_bytes=sums[Action.DROP],
        keep=counts[Action.KEEP],
        fetch=counts[Action.FETCH],
        drop=counts[Action.DROP],
    )
