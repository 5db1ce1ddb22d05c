"""`fill plan` and its kin: read the world, plan, brake, sign, publish."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from fill.arrays import AssetArrays, Ints
from fill.brakes import BrakesOn, unusual, wants_of
from fill.catalogue import Snapshot, heirs, titles_of
from fill.config import DAY_S
from fill.crew import Crew, Told
from fill.demand import Demand, Known, from_history
from fill.demandfile import read_demand_file
from fill.files import Files, digest_of, read_bytes
from fill.forecast import Launch, tomorrow
from fill.generation import BoxSummary, Summary
from fill.history import reading
from fill.hours import spans_of
from fill.inventory import ids_of
from fill.ledger import ASKED, PLAN, SCHEDULE, Generation, Ledger, alone
from fill.planfile import asked_table, plan_table, schedule_table
from fill.planner import Night, plan_night
from fill.rows import Rows, joined, rows_of
from fill.rules import Launch as RuledLaunch
from fill.rules import Rules, Ruling, read_rules
from fill.schedule import Schedule, schedule
from fill.sitework import Inputs
from fill.slices import Issue, peers_of, plan_of
from fill.summing import box_summaries, forecast_of, pinless, site_summaries, told_of
from fill.triggerbook import read_book
from wire.catalogue import AssetKind
from wire.errors import ConflictError, NotFoundError
from wire.fleet import Appliance, Fleet
from wire.ids import ORIGIN_ID, SiteKind
from wire.keys import SigningKey
from wire.plan import sign_plan
from wire.reports import DiskTold


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator asked for on top of the configuration; `told` hears of the progress, and
    the generation's number is `at_least` that."""

    force: bool = False
    canary: tuple[str, ...] = ()
    dry_run: bool = False
    at_least: int = 1
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command made, and what would have stopped it (empty unless forced or a dry run)."""

    summary: Summary
    unusual: list[str]
    published: bool


@dataclass(frozen=True, slots=True)
class World:
    """What a command looks at, read once."""

    files: Files
    ledger: Ledger
    catalogue: Snapshot
    fleet: Fleet
    purged: frozenset[int]
    now_s: int
    disks: Mapping[str, tuple[DiskTold, ...]]

    @classmethod
    def read(cls, files: Files) -> World:
        """Raises WireError naming the file at fault."""
        catalogue = files.read_catalogue()
        purged = frozenset(files.read_purge(catalogue.epoch).assets)
        fleet, now_s = files.read_fleet(), int(time.time())
        told = {box.id: files.read_inventory(box.id) for box in fleet.appliances}
        disks = {name: stored.disks for name, stored in told.items() if stored and stored.disks}
        return cls(files, Ledger(files.state), catalogue, fleet, purged, now_s, disks)

    @property
    def today(self) -> date:
        """The day (UTC)."""
        return datetime.fromtimestamp(self.now_s, UTC).date()


def make_night(files: Files, options: Options) -> Outcome:
    """Plan the coming night and publish it; raises BrakesOn or WireError (nothing is published)."""
    with alone(files.state):
        world = World.read(files)
        ledger, catalogue, fleet = world.ledger, world.catalogue, world.fleet
        _check_canary(options.canary, fleet)
        demand = read_all_demand(files, catalogue, fleet)
        rules = read_all_rules(files, catalogue, fleet)
        old = old_rows(ledger, catalogue)
        crew, knobs = Crew(told=options.told), files.config.plan
        inputs = Inputs(
            assets=placeable(catalogue, world.purged),
            fleet=fleet,
            demand=tomorrow(
                demand.rows,
                catalogue,
                [site for site in fleet.sites if site.kind is not SiteKind.ORIGIN],
                world.now_s // DAY_S,
                launches_of(rules, catalogue),
            ),
            held=read_held(files, catalogue, fleet, old),
            knobs=knobs,
            ruling=Ruling(with_triggers(rules, files), titles_of(catalogue), world.today),
            behind=files.config.behind,
            windows={} if knobs.out_of_window else spans_of(fleet, world.now_s),
            disks=world.disks,
        )
        night = plan_night(inputs, crew.spread)
        rows = rows_of(night)
        timed = schedule(fleet, knobs, rows, crew.spread, inputs.windows)
        generation = ledger.next_number(options.at_least)
        summary = Summary(
            generation=generation,
            made_s=world.now_s,
            epoch=catalogue.epoch,
            inputs={str(path): digest_of(path) for path in _inputs(files)},
            ignored_demand=demand.ignored,
            sites=site_summaries(night),
            boxes=box_summaries(night, rows, generation),
            force=options.force,
            canary=options.canary,
            schedule=forecast_of(timed, rows, fleet),
            notes=(*told_of(demand), *pinless(night)),
        )
        return _finish(world, options, crew, _Made(summary, rows, old, night, timed))


def roll_back(files: Files, number: int, options: Options) -> Outcome:
    """Publish the content of generation `number` under a new number; raises as `make_night`.

    What has left the catalogue or was purged since is left out; who may fetch is as of today.
    """
    with alone(files.state):
        world = World.read(files)
        ledger, catalogue = world.ledger, world.catalogue
        then = ledger.summary(number)
        if then.epoch != catalogue.epoch:
            raise ConflictError(
                f"generation {number} belongs to the catalogue {then.epoch}, "
                f"which is not today's ({catalogue.epoch})"
            )
        rows = ledger.rows(number)
        known = {box.id for box in world.fleet.appliances}
        stands = np.array([name in known for name in rows.boxes], bool)
        there = np.isin(rows.asset, placeable(catalogue, world.purged).ids)
        rows = rows.where(stands[rows.box] & there) if len(rows) else rows
        generation = ledger.next_number()
        summary = replace(
            then,
            generation=generation,
            made_s=world.now_s,
            force=options.force,
            canary=(),
            rollback_of=number,
            boxes={
                name: replace(box, generation=generation)
                for name, box in then.boxes.items()
                if name in known
            },
        )
        made = _Made(summary, rows, old_rows(ledger, catalogue))
        return _finish(world, options, Crew(told=options.told), made)


@dataclass(frozen=True, slots=True)
class _Made:
    """What is to be published: `night` and `timed` are absent in a rollback."""

    summary: Summary
    rows: Rows
    old: Rows | None
    night: Night | None = None
    timed: Schedule | None = None


def _finish(world: World, options: Options, crew: Crew, made: _Made) -> Outcome:
    """Brake, sign and publish; boxes without a new plan keep the signed one they have."""
    files, ledger, summary = world.files, world.ledger, made.summary
    before = ledger.current()
    last = ledger.summary(before) if before else None
    old, new = wants_of(made.old) if made.old else {}, wants_of(made.rows)
    fresh = {box.id: box for box in world.fleet.appliances}
    if options.canary:
        fresh = {name: fresh[name] for name in (*options.canary, ORIGIN_ID) if name in fresh}
        old = {name: wants for name, wants in old.items() if name in fresh}
    old = {name: wants.storable(world.disks.get(name, ())) for name, wants in old.items()}
    reasons = unusual(
        old,
        new,
        fresh.keys(),
        last.sites if last else {},
        summary.sites,
        files.config.brakes,
        world.purged,
    )
    if last is not None and last.epoch != summary.epoch:
        reasons.append("every box would move to another catalogue and drop all it holds")
    if options.dry_run:
        return Outcome(summary, reasons, published=False)
    if reasons and not options.force:
        raise BrakesOn(reasons)
    rows, kept = made.rows, {}
    if last is not None and options.canary:
        rows = _with_old(made.rows, ledger.rows(before), fresh)
        kept = {name: raw for name, raw in ledger.plans(before).items() if name not in fresh}
        summary = replace(summary, boxes=_boxes_with_canaries(summary, last, fresh))
    tables = {PLAN: plan_table(rows)}
    if made.night is not None:
        tables[ASKED] = asked_table(made.night)
    elif summary.rollback_of:
        tables[ASKED] = ledger.table(summary.rollback_of, ASKED)
    if made.timed is not None:
        tables[SCHEDULE] = schedule_table(made.timed)
    slices = _slices(world, options, crew, summary, made.rows, list(fresh.values()))
    whole = Generation(summary, tables, (*kept.items(), *slices))
    ledger.publish(whole, files.config.keep_generations)
    return Outcome(summary, reasons, published=True)


def _slices(
    world: World,
    options: Options,
    crew: Crew,
    summary: Summary,
    rows: Rows,
    boxes: list[Appliance],
) -> Iterator[tuple[str, bytes]]:
    """The signed plan of each box."""
    issue = Issue(
        rows=rows,
        ranges=rows.ranges(),
        catalogue=world.catalogue,
        fleet=world.fleet,
        by_id={box.id: box for box in world.fleet.appliances},
        knobs=world.files.config.plan,
        boxes=summary.boxes,
        peers=peers_of(rows, world.fleet),
        generation=summary.generation,
        now_s=world.now_s,
        force=options.force,
    )
    raw = crew.spread(_signed, (issue, world.files.signing_key()), boxes, "signatures")
    return zip((box.id for box in boxes), raw, strict=True)


def _signed(shared: tuple[Issue, SigningKey], box: Appliance) -> bytes:
    issue, key = shared
    return sign_plan(plan_of(issue, box), key)


def _with_old(new: Rows, old: Rows, fresh: Collection[str]) -> Rows:
    """The new rows of the canaries, and the old ones of everybody else."""
    boxes = tuple(dict.fromkeys((*new.boxes, *old.boxes)))
    place = {name: index for index, name in enumerate(boxes)}
    parts = []
    for rows, wanted in ((new, True), (old, False)):
        moved = np.array([place[name] for name in rows.boxes], np.int32)
        mine = np.array([(name in fresh) is wanted for name in rows.boxes], bool)
        chosen = rows.where(mine[rows.box])
        parts.append(chosen.on(boxes, moved))
    return joined(parts, boxes)


def _boxes_with_canaries(
    summary: Summary, last: Summary, new: Collection[str]
) -> dict[str, BoxSummary]:
    return {
        name: box if name in new else last.boxes[name]
        for name, box in summary.boxes.items()
        if name in new or name in last.boxes
    }


def read_all_demand(files: Files, catalogue: Snapshot, fleet: Fleet) -> Demand:
    """Demand from where the configuration says; raises WireError naming file, row and field."""
    known = known_world(catalogue, fleet)
    knobs, parts = files.config.demand, []
    if knobs.use in ("history", "both") and files.history.exists():
        with reading(files.history) as history:
            parts.append(from_history(history.demand(knobs.days), known))
    if knobs.use in ("files", "both"):
        for name in knobs.files:
            path = files.base / name
            parts.append(read_demand_file(read_bytes(path), str(path), known))
    total = Demand()
    for part in parts:
        total.rows.extend(part.rows)
        total.inherited += part.inherited
        for reason, count in part.ignored.items():
            total.ignore(reason, count)
    return total


def known_world(catalogue: Snapshot, fleet: Fleet) -> Known:
    """The world that rows of demand must belong to."""
    sites = {site.id for site in fleet.sites if site.kind is not SiteKind.ORIGIN}
    return Known(sites, catalogue.entries.keys(), catalogue.next_id, heirs(catalogue))


def read_all_rules(files: Files, catalogue: Snapshot, fleet: Fleet) -> Rules:
    """The operator's rules; none where no file is named. Raises WireError naming the entry."""
    if not files.config.rules:
        return Rules()
    path = files.base / files.config.rules
    return read_rules(read_bytes(path), str(path), fleet, titles_of(catalogue))


def with_triggers(rules: Rules, files: Files) -> Rules:
    """The rules, and what triggers put in place in the last days: a copy in each site."""
    put = tuple(
        RuledLaunch(assets=each.assets, day=datetime.fromtimestamp(each.ctime, UTC).date())
        for each in read_book(files.state)
        if each.trigger.type == "preposition" and each.status in ("active", "complete")
    )
    return replace(rules, launch=(*rules.launch, *put))


def launches_of(rules: Rules, catalogue: Snapshot) -> dict[str, Launch]:
    """The launch calendar, by title, for the forecast."""
    epoch = date(1970, 1, 1)
    titles = {number: entry.asset.title for number, entry in catalogue.entries.items()}
    return {
        title: Launch((launch.day - epoch).days, launch.like)
        for launch in rules.launch
        for title in (*launch.titles, *(titles[asset] for asset in launch.assets))
    }


def placeable(catalogue: Snapshot, purged: Collection[int]) -> AssetArrays:
    """What boxes may hold: everything but manifests, purged assets, and those without a byte."""
    entries = [
        (number, entry.asset)
        for number, entry in catalogue.entries.items()
        if entry.asset.kind is not AssetKind.MANIFEST
        and number not in purged
        and entry.asset.bytes > 0
    ]
    first: dict[str, int] = {}
    for number, entry in catalogue.entries.items():
        first.setdefault(entry.asset.title, number)
    return AssetArrays(
        np.array([number for number, _ in entries], np.int32),
        np.array([asset.bytes for _, asset in entries], np.int64),
        np.array([first[asset.title] for _, asset in entries], np.int64),
    )


def read_held(files: Files, catalogue: Snapshot, fleet: Fleet, old: Rows | None) -> dict[str, Ints]:
    """What each box holds: as reported, else what was last planned for it, else nothing."""
    planned = wants_of(old) if old else {}
    held = {}
    for box in fleet.appliances:
        stored = files.read_inventory(box.id)
        if stored is not None and stored.epoch == catalogue.epoch:
            held[box.id] = ids_of(stored, catalogue.next_id)
        elif box.id in planned:
            held[box.id] = np.sort(planned[box.id].assets)
    return held


def old_rows(ledger: Ledger, catalogue: Snapshot) -> Rows | None:
    """The plan in force, if there is one of this catalogue's world."""
    current = ledger.current()
    if not current or ledger.summary(current).epoch != catalogue.epoch:
        return None
    return ledger.rows(current)


def _inputs(files: Files) -> list[Path]:
    demand = files.config.demand
    extra = [files.base / name for name in demand.files] if demand.use != "history" else []
    rules = [files.base / files.config.rules] if files.config.rules else []
    return [files.catalogue, files.fleet, *extra, *rules]


def _check_canary(canary: Collection[str], fleet: Fleet) -> None:
    for name in canary:
        if fleet.appliance(name) is None:
            raise NotFoundError(f"--canary {name}: there is no such appliance in the fleet")
