"""`fill plan` and its kin: read the world, plan, brake, sign, publish."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from fill.brakes import BrakesOn, unusual
from fill.catalogue import Snapshot
from fill.demand import Demand, Known, from_history, read_demand
from fill.files import Files, digest_of, read_bytes
from fill.forecast import forecast
from fill.generation import BoxSummary, SiteTold, Summary
from fill.history import reading
from fill.inventory import assets_of
from fill.ledger import Generation, Ledger, alone
from fill.planner import Inputs, plan_night
from wire.errors import ConflictError, NotFoundError
from wire.fleet import Fleet
from wire.ids import ORIGIN_ID, SiteKind
from wire.plan import Plan, open_plan, sign_plan


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator asked for on top of the configuration."""

    force: bool = False
    canary: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command made, and what would have stopped it (empty unless forced or a dry run)."""

    summary: Summary
    unusual: list[str]
    published: bool


def make_night(files: Files, options: Options) -> Outcome:
    """Plan the coming night and publish it; raises BrakesOn or WireError (nothing is published)."""
    with alone(files.state):
        ledger = Ledger(files.state)
        catalogue, fleet = files.read_catalogue(), files.read_fleet()
        _check_canary(options.canary, fleet)
        demand = read_all_demand(files, catalogue, fleet)
        old = old_plans(files, ledger)
        purged = frozenset(files.read_purge(catalogue.epoch).assets)
        inputs = Inputs(
            catalogue=catalogue,
            fleet=fleet,
            demand=forecast(demand.rows, files.config.demand.days),
            held=read_held(files, catalogue, fleet, old),
            knobs=files.config.plan,
            now_s=int(time.time()),
            generation=ledger.next_number(),
            purged=purged,
            behind=files.config.behind,
            force=options.force,
        )
        night = plan_night(inputs)
        summary = Summary(
            generation=inputs.generation,
            made_s=inputs.now_s,
            epoch=catalogue.epoch,
            inputs={str(path): digest_of(path) for path in _inputs(files)},
            ignored_demand=demand.ignored,
            sites=night.sites,
            boxes=night.boxes,
            force=options.force,
            canary=options.canary,
        )
        new = {
            name: plan
            for name, plan in night.plans.items()
            if not options.canary or name in (*options.canary, ORIGIN_ID)
        }
        return _finish(files, ledger, options, old, new, summary, night.told, purged)


def roll_back(files: Files, number: int, options: Options) -> Outcome:
    """Publish the content of generation `number` under a new number; raises as `make_night`.

    What has left the catalogue or was purged since is left out; who may fetch is as of today.
    """
    with alone(files.state):
        ledger = Ledger(files.state)
        catalogue, fleet = files.read_catalogue(), files.read_fleet()
        then = ledger.summary(number)
        if then.epoch != catalogue.epoch:
            raise ConflictError(
                f"generation {number} belongs to the catalogue {then.epoch}, "
                f"which is not today's ({catalogue.epoch})"
            )
        old = old_plans(files, ledger)
        purged = frozenset(files.read_purge(catalogue.epoch).assets)
        now_s, generation = int(time.time()), ledger.next_number()
        keys = {box.id: box.public_key for box in fleet.appliances}
        new = {}
        for name, plan in open_plans(files, ledger, number).items():
            if name in keys:
                new[name] = replace(
                    plan,
                    generation=generation,
                    made_s=now_s,
                    expires_s=now_s + files.config.plan.life_s,
                    force=options.force or name == ORIGIN_ID,
                    peers={peer: keys[peer] for peer in plan.peers if peer in keys},
                    desired=tuple(
                        item
                        for item in plan.desired
                        if item.asset in catalogue.entries and item.asset not in purged
                    ),
                )
        summary = replace(
            then,
            generation=generation,
            made_s=now_s,
            force=options.force,
            canary=(),
            rollback_of=number,
            boxes={
                name: replace(box, generation=generation)
                for name, box in then.boxes.items()
                if name in new
            },
        )
        told = _all_told(ledger, then)
        return _finish(files, ledger, options, old, new, summary, told, purged)


def _finish(
    files: Files,
    ledger: Ledger,
    options: Options,
    old: Mapping[str, Plan],
    new: Mapping[str, Plan],
    summary: Summary,
    told: Mapping[str, SiteTold],
    purged: Collection[int],
) -> Outcome:
    """Brake, sign and publish; boxes without a new plan keep the signed one they have."""
    before = ledger.current()
    last = ledger.summary(before) if before else None
    met = {name: plan for name, plan in old.items() if name in new} if options.canary else old
    reasons = unusual(
        met, new, last.sites if last else {}, summary.sites, files.config.brakes, purged
    )
    if options.dry_run:
        return Outcome(summary, reasons, published=False)
    if reasons and not options.force:
        raise BrakesOn(reasons)
    key = files.signing_key()
    signed = {name: sign_plan(plan, key) for name, plan in new.items()}
    if last is not None and options.canary:
        kept = {name: raw for name, raw in ledger.plans(before).items() if name not in new}
        signed |= kept
        summary = replace(summary, boxes=_boxes_with_canaries(summary, last, new))
    ledger.publish(Generation(summary, signed, told), files.config.keep_generations)
    return Outcome(summary, reasons, published=True)


def _boxes_with_canaries(
    summary: Summary, last: Summary, new: Mapping[str, Plan]
) -> dict[str, BoxSummary]:
    return {
        name: box if name in new else last.boxes[name]
        for name, box in summary.boxes.items()
        if name in new or name in last.boxes
    }


def read_all_demand(files: Files, catalogue: Snapshot, fleet: Fleet) -> Demand:
    """Demand from where the configuration says; raises WireError naming file, row and field."""
    sites = {site.id for site in fleet.sites if site.kind is not SiteKind.ORIGIN}
    known = Known(sites, catalogue.entries.keys(), catalogue.next_id)
    knobs, parts = files.config.demand, []
    if knobs.use in ("history", "both") and files.history.exists():
        with reading(files.history) as history:
            parts.append(from_history(history.demand(knobs.days), known))
    if knobs.use in ("files", "both"):
        for name in knobs.files:
            path = files.base / name
            parts.append(read_demand(read_bytes(path), str(path), known))
    total = Demand()
    for part in parts:
        total.rows.extend(part.rows)
        for reason, count in part.ignored.items():
            total.ignore(reason, count)
    return total


def read_held(
    files: Files, catalogue: Snapshot, fleet: Fleet, old: Mapping[str, Plan]
) -> dict[str, frozenset[int]]:
    """What each box holds: as reported, else what was last planned for it, else nothing."""
    held = {}
    for box in fleet.appliances:
        stored = files.read_inventory(box.id)
        if stored is not None and stored.epoch == catalogue.epoch:
            held[box.id] = assets_of(stored, catalogue.next_id)
        elif box.id in old and old[box.id].epoch == catalogue.epoch:
            held[box.id] = frozenset(item.asset for item in old[box.id].desired)
    return held


def old_plans(files: Files, ledger: Ledger) -> dict[str, Plan]:
    """The plans in force, by appliance."""
    current = ledger.current()
    return open_plans(files, ledger, current) if current else {}


def open_plans(files: Files, ledger: Ledger, generation: int) -> dict[str, Plan]:
    """The plans of a generation, by appliance; raises AuthError if fill did not sign them."""
    keys = files.own_keys()
    return {name: open_plan(raw, keys) for name, raw in ledger.plans(generation).items()}


def _all_told(ledger: Ledger, summary: Summary) -> dict[str, SiteTold]:
    found = {site: ledger.told(summary.generation, site) for site in summary.sites}
    return {site: told for site, told in found.items() if told is not None}


def _inputs(files: Files) -> list[Path]:
    demand = files.config.demand
    extra = [files.base / name for name in demand.files] if demand.use != "history" else []
    return [files.catalogue, files.fleet, *extra]


def _check_canary(canary: Collection[str], fleet: Fleet) -> None:
    for name in canary:
        if fleet.appliance(name) is None:
            raise NotFoundError(f"--canary {name}: there is no such appliance in the fleet")
