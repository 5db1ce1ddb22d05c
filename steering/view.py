"""What steering believes of the fleet: a state machine fed with reports, frozen into snapshots.

Pure: `now_s` is our own monotonic clock, so no clock of a sender matters. A box silent for a few
heartbeats is not offered; when more than half of those we ever heard are silent at once, the fault
is ours, silence is ignored, and every answer says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from steering.choose import Box, seed_of
from steering.decide import Ranking, Snapshot
from steering.locate import RouteTable
from steering.policy import DEFAULT, Policy
from steering.record import BoxRecord, SavedReports, Sifted
from wire.errors import ConflictError, NotFoundError, OcaError
from wire.fleet import Appliance, Fleet, Wanted
from wire.ids import ORIGIN_ID
from wire.reports import (
    Heartbeat,
    HeartbeatReply,
    Inventory,
    InventoryReply,
    Route,
    Routes,
    RoutesReply,
)
from wire.steer import BoxState, FleetState, Reason

T = TypeVar("T")

SNAPSHOT_COST_S = 20e-6  # per box; a snapshot is made anew at most that often, so it stays cheap


@dataclass(frozen=True, slots=True)
class Silence:
    """When silence counts: the heartbeats' interval, and how many may be missing."""

    heartbeat_s: float = 10.0
    missed_max: int = 3

    @property
    def max_s(self) -> float:
        """Silence longer than this is not offered."""
        return self.heartbeat_s * self.missed_max


class SavedBox(msgspec.Struct, frozen=True, kw_only=True):
    """The small part of one box on disk: its last heartbeat, and its silence when saved (s)."""

    appliance: str
    heartbeat: Heartbeat | None
    silent_s: float | None
    drained_here: bool = False


class View:
    """The fleet as reported. Changed only by its methods, on one thread."""

    def __init__(self, fleet: Fleet, silence: Silence, policy: Policy = DEFAULT) -> None:
        """Knows every appliance of the fleet file, and nothing yet of any."""
        self.fleet, self.silence, self.policy = fleet, silence, policy
        self.epoch = ""
        self.records = {box.id: BoxRecord(box) for box in fleet.appliances}
        self.fresh_reports: set[str] = set()
        self._sites = {site.id: site for site in fleet.sites}
        self._ranking = Ranking(RouteTable(), self._sites, policy)
        self._urls = {box.id: fleet.base_url(box) for box in fleet.appliances}
        self._snapshot: Snapshot | None = None
        self._made_s = self._holds_until_s = -math.inf
        self._changed = True

    # -- what comes in ---------------------------------------------------------------------------

    def heartbeat(self, beat: Heartbeat, now_s: float) -> HeartbeatReply:
        """Take a heartbeat; raises ConflictError (old, or of another epoch) or NotFoundError."""
        record = self._record(beat.appliance)
        self._same_world(record, "heartbeat", beat.epoch)
        reply = self._guarded(record, "heartbeat", lambda: record.take_heartbeat(beat, now_s))
        self._changed = True
        return reply

    def inventory(self, report: Inventory) -> InventoryReply:
        """Take an inventory; raises ConflictError, NotFoundError or WireError."""
        record = self._record(report.appliance)
        self._same_world(record, "inventory", report.epoch)
        reply = self._guarded(record, "inventory", lambda: record.take_inventory(report))
        self.fresh_reports.add(report.appliance)
        self._changed = True
        return reply

    def spec(self, appliance: str) -> Appliance:
        """An appliance's entry in the fleet file; raises NotFoundError."""
        return self._record(appliance).spec

    def routes(self, report: Routes, sifted: Sifted | None = None) -> tuple[RoutesReply, bool]:
        """Take a route report (`sifted` already, when it was large); says whether the route table
        must be built anew.

        Raises ConflictError or NotFoundError.
        """
        record = self._record(report.appliance)
        self._same_world(record, "routes", report.epoch)
        reply, changed = self._guarded(record, "routes", lambda: record.take_routes(report, sifted))
        self.fresh_reports.add(report.appliance)
        return reply, changed

    def refuse(self, appliance: str, what: str, why: str) -> None:
        """Count a report that was refused before it could be read."""
        record = self.records.get(appliance)
        if record is not None:
            record.refuse(what, why)

    def drain(self, appliance: str, drained: bool) -> None:
        """Take a box out of service, or back, at this replica; raises NotFoundError."""
        self._record(appliance).drained_here = drained
        self._changed = True

    def set_epoch(self, epoch: str) -> None:
        """The catalogue's epoch: inventories of another world count for nothing from now on."""
        self._changed = self._changed or epoch != self.epoch
        self.epoch = epoch

    def announcements(self) -> list[tuple[str, Route]]:
        """Every accepted route with its site: what a route table is built from."""
        return [
            (record.spec.site, route) for record in self.records.values() for route in record.routes
        ]

    def set_table(self, table: RouteTable) -> None:
        """Swap the route table, all at once."""
        self._ranking = Ranking(table, self._sites, self.policy)
        self._changed = True

    @property
    def prefixes(self) -> int:
        """Different prefixes in the route table."""
        return len(self._ranking.table)

    # -- what goes out ---------------------------------------------------------------------------

    def snapshot(self, now_s: float) -> Snapshot:
        """The frozen state that decisions are made from; the same object while nothing changed."""
        pause_s = SNAPSHOT_COST_S * len(self.records)
        old = now_s >= self._holds_until_s or (self._changed and now_s >= self._made_s + pause_s)
        if self._snapshot is None or old:
            self._snapshot = self._freeze(now_s)
            self._made_s, self._changed = now_s, False
        return self._snapshot

    def is_stale(self, now_s: float) -> bool:
        """Whether more than half of the boxes ever heard are silent: then the fault is ours."""
        heard = [
            record.heard_s
            for record in self.records.values()
            if record.heard_s is not None and _counts(record.spec)
        ]
        silent = sum(now_s - heard_s > self.silence.max_s for heard_s in heard)
        return silent * 2 > len(heard)

    def state(self, now_s: float) -> FleetState:
        """The whole view, for people."""
        stale = self.is_stale(now_s)
        return FleetState(
            epoch=self.epoch,
            stale=stale,
            boxes=tuple(self._box_state(record, now_s, stale) for record in self.records.values()),
        )

    def save(self, now_s: float) -> list[SavedBox]:
        """The small part of every record, for the snapshot on disk."""
        return [
            SavedBox(
                appliance=name,
                heartbeat=record.heartbeat,
                silent_s=_since(record.heard_s, now_s),
                drained_here=record.drained_here,
            )
            for name, record in self.records.items()
        ]

    def restore(
        self,
        boxes: Iterable[SavedBox],
        reports: Mapping[str, SavedReports],
        age_s: float,
        now_s: float,
    ) -> None:
        """Go on from a snapshot `age_s` old. Boxes that the fleet file no longer has are left out.

        What we missed meanwhile is silence; when it is long for most, the majority rule says so.
        """
        for saved in boxes:
            record = self.records.get(saved.appliance)
            if record is None:
                continue
            record.heartbeat, record.drained_here = saved.heartbeat, saved.drained_here
            if saved.silent_s is not None:
                record.heard_s = now_s - saved.silent_s - max(0.0, age_s)
        for name, report in reports.items():
            if name in self.records:
                self.records[name].load(report)
        self.set_table(RouteTable(self.announcements()))

    # -- inside ----------------------------------------------------------------------------------

    def _record(self, appliance: str) -> BoxRecord:
        record = self.records.get(appliance)
        if record is None:
            raise NotFoundError(f"there is no appliance {appliance[:64]!r} in the fleet file")
        return record

    def _same_world(self, record: BoxRecord, what: str, epoch: str) -> None:
        if self.epoch and epoch != self.epoch:
            why = f"it speaks of the catalogue {epoch}, this replica of {self.epoch}"
            record.refuse(f"{what}: other epoch", why)
            raise ConflictError(f"{what}: {why}")

    @staticmethod
    def _guarded(record: BoxRecord, what: str, take: Callable[[], T]) -> T:
        try:
            return take()
        except OcaError as exc:
            record.refuse(what, str(exc))
            raise

    def _freeze(self, now_s: float) -> Snapshot:
        stale = self.is_stale(now_s)
        boxes: dict[str, list[Box]] = {}
        origin: Box | None = None
        for record in self.records.values():
            box = self._box(record, now_s, stale)
            if record.spec.id != ORIGIN_ID:
                boxes.setdefault(box.site, []).append(box)
            elif record.spec.state is Wanted.IN_SERVICE:
                origin = box
        self._holds_until_s = self._next_silence_s(now_s)
        frozen = {site: tuple(found) for site, found in boxes.items()}
        return Snapshot(self._ranking, frozen, origin, stale, self.policy)

    def _next_silence_s(self, now_s: float) -> float:
        """When the next box falls silent, if nobody says anything till then."""
        ends = (
            record.heard_s + self.silence.max_s
            for record in self.records.values()
            if record.heard_s is not None
        )
        return min((end for end in ends if end >= now_s), default=math.inf) + 1e-3

    def _box(self, record: BoxRecord, now_s: float, stale: bool) -> Box:
        beat = record.heartbeat
        silent_max_s = math.inf if stale else self.silence.max_s
        passed, detail = record.standing(_since(record.heard_s, now_s), silent_max_s)
        same_world = not self.epoch or record.inventory_epoch == self.epoch
        empty = type(record.inventory)()
        factor = self.policy.weight_of(record.spec.id, record.spec.site)
        if factor <= 0 and passed is None:
            passed, detail = Reason.DRAINING, "weight 0 in the policy"
        return Box(
            id=record.spec.id,
            site=record.spec.site,
            base_url=self._urls[record.spec.id],
            weight=((beat and beat.capacity_bps) or record.spec.link_bps) * factor,
            health=beat.health if beat else 0.0,
            admit=beat.admit if beat else 0.0,
            passed=passed,
            detail=detail,
            holds=record.inventory if same_world else empty,
            seed=seed_of(record.spec.id),
        )

    def _box_state(self, record: BoxRecord, now_s: float, stale: bool) -> BoxState:
        beat = record.heartbeat
        box = self._box(record, now_s, stale)
        refused = {**record.refused}
        refused |= {f"route: {why}": count for why, count in record.dropped.items()}
        return BoxState(
            appliance=record.spec.id,
            site=record.spec.site,
            state=_WORDS[box.passed],
            health=box.health,
            admit=box.admit,
            why=box.detail or (beat.why if beat else ""),
            silent_s=_since(record.heard_s, now_s),
            assets=len(box.holds),
            routes=len(record.routes),
            served_bps=beat.served_bps if beat else 0,
            generation=beat.generation if beat else 0,
            refused=refused,
            last_refusal=record.last_refusal,
        )


_WORDS: Mapping[Reason | None, str] = {
    None: "in_service",
    Reason.HEALTH: "unhealthy",
    Reason.LOAD: "full",
    Reason.DRAINING: "drained",
}


def _counts(spec: Appliance) -> bool:
    """Whether a box's silence says something: the origin need not report, a drained box is away."""
    return spec.id != ORIGIN_ID and spec.state is Wanted.IN_SERVICE


def _since(then_s: float | None, now_s: float) -> float | None:
    return None if then_s is None else max(0.0, now_s - then_s)
