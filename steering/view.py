"""What steering believes of the fleet: a state machine fed with reports, frozen into snapshots.

Pure: `now_s` is our own monotonic clock, so no clock of a sender matters. A box silent for a few
heartbeats is not offered; when more than half of those we ever heard are silent at once, the fault
is ours, silence is ignored, and every answer says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

import msgspec
from msgspec import UNSET
from pyroaring import BitMap

from steering.balance import TICK_S
from steering.decide import Ranking, Snapshot
from steering.ease import STEP_S
from steering.frozen import FrozenBoxes, box_of
from steering.locate import RouteTable, Source
from steering.places import Tables
from steering.policy import DEFAULT, Policy
from steering.record import NEVER, BoxRecord, Order, SavedRoutes, Sifted, record_of
from steering.shelved import Shelved
from steering.silence import Silence, SilenceWatch
from wire.errors import ConflictError, NotFoundError, OcaError
from wire.fleet import Appliance, Fleet, Wanted
from wire.ids import ORIGIN_ID
from wire.reports import (
    Heartbeat,
    HeartbeatReply,
    Inventory,
    InventoryReply,
    Routes,
    RoutesReply,
)
from wire.steer import BoxState, FleetState, Reason

T = TypeVar("T")
GONE_S = 600.0  # a route that was withdrawn is the reason letter R for this long
__all__ = ["SavedBox", "Silence", "View"]


class SavedBox(msgspec.Struct, frozen=True, kw_only=True):
    """The small part of one box on disk: its last heartbeat, and its silence when saved (s)."""

    appliance: str
    heartbeat: Heartbeat | None
    silent_s: float | None
    drained_here: bool = False
    inventory_at: Order = NEVER
    inventory_epoch: str = ""
    assets: int = 0


class View:
    """The fleet as reported. Changed only by its methods, on one thread."""

    def __init__(self, fleet: Fleet, silence: Silence, policy: Policy = DEFAULT) -> None:
        """Knows every appliance of the fleet file, and nothing yet of any."""
        self.silence, self.epoch, self.generation = silence, "", 0
        self.records: dict[str, BoxRecord] = {}
        self.fresh_inventories: set[str] = set()
        self.fresh_routes: set[str] = set()
        self._began_s: float | None = None
        self._step_s = self._tick_s = -math.inf
        self._networks = Tables()
        self._begin(fleet, policy, RouteTable())

    def _begin(self, fleet: Fleet, policy: Policy, table: RouteTable) -> None:
        """Everything that follows from fleet file and policy, made anew; records are kept."""
        self.fleet, self.policy = fleet, policy
        self.records = {
            box.id: record_of(self.records.get(box.id), box) for box in fleet.appliances
        }
        self._sites = {site.id: site for site in fleet.sites}
        self._ranking = Ranking(table, self._sites, policy, self._networks)
        self._urls = {box.id: fleet.base_url(box) for box in fleet.appliances}
        self._watch = SilenceWatch(
            self.silence.max_s,
            (name for name, record in self.records.items() if _counts(record.spec)),
        )
        self._watch.restore(self._heard())
        self._frozen = FrozenBoxes(self.records, self._urls, policy, self.silence.heartbeat_s)
        self._changed: set[str] = set(self.records)
        self._snapshot: Snapshot | None = None

    def reconfigure(self, fleet: Fleet, policy: Policy) -> bool:
        """Go on with another fleet file and policy; what boxes reported stays. Says whether the
        route table must be built anew."""
        before = [(record.spec.site, record.routes) for record in self.records.values()]
        self._begin(fleet, policy, self._ranking.table)
        return before != [(record.spec.site, record.routes) for record in self.records.values()]

    # -- what comes in ---------------------------------------------------------------------------

    def heartbeat(self, beat: Heartbeat, now_s: float) -> HeartbeatReply:
        """Take a heartbeat; raises ConflictError (old, or of another epoch) or NotFoundError."""
        record = self._record(beat.appliance)
        self._same_world(record, "heartbeat", beat.epoch)
        before = record.heartbeat
        reply = self._guarded(record, "heartbeat", lambda: record.take_heartbeat(beat, now_s))
        if record.heartbeat is beat:
            self._watch.heard(beat.appliance, now_s)
            if before is None or _says(before) != _says(beat) or not self._frozen.has(record):
                self._changed.add(beat.appliance)
            if self._is_young(now_s):
                record.easing.jump(beat.admit, now_s)
            else:
                record.easing.report(beat.admit, now_s, self.silence.heartbeat_s)
        return reply

    def inventory(self, report: Inventory) -> InventoryReply:
        """Take an inventory; raises ConflictError, NotFoundError or WireError."""
        record = self._record(report.appliance)
        self._same_world(record, "inventory", report.epoch)
        reply = self._guarded(record, "inventory", lambda: record.take_inventory(report))
        self.fresh_inventories.add(report.appliance)
        self._changed.add(report.appliance)
        return reply

    def spec(self, appliance: str) -> Appliance:
        """An appliance's entry in the fleet file; raises NotFoundError."""
        return self._record(appliance).spec

    def routes(
        self, report: Routes, sifted: Sifted | None = None, now_s: float = 0.0
    ) -> tuple[RoutesReply, bool]:
        """Take a route report (`sifted` already, when it was large); says whether the route table
        must be built anew.

        Raises ConflictError or NotFoundError.
        """
        record = self._record(report.appliance)
        self._same_world(record, "routes", report.epoch)
        reply, changed = self._guarded(
            record, "routes", lambda: record.take_routes(report, sifted, now_s)
        )
        if reply.dropped:
            record.last_refusal = f"routes: dropped one by one: {counts_of(reply.dropped)}"
        self.fresh_routes.add(report.appliance)
        return reply, changed

    def refuse(self, appliance: str, what: str, why: str) -> None:
        """Count a report that was refused before it could be read."""
        record = self.records.get(appliance)
        if record is not None:
            record.refuse(what, why)

    def drain(self, appliance: str, drained: bool) -> None:
        """Take a box out of service, or back, at this replica; raises NotFoundError."""
        self._record(appliance).drained_here = drained
        self._changed.add(appliance)

    def set_epoch(self, epoch: str) -> None:
        """The catalogue's epoch: inventories of another world count for nothing from now on."""
        if epoch != self.epoch:
            self.epoch = epoch
            self._changed.update(self.records)

    def sources(self, now_s: float) -> list[Source]:
        """Every accepted route, and those withdrawn lately: what a route table is built from."""
        found = []
        for record in self.records.values():
            site = record.spec.site
            if len(record.routes):
                found.append(Source(site, record.routes))
            if len(record.gone) and now_s - record.gone_s < GONE_S:
                found.append(Source(site, record.gone, gone=True))
        return found

    def set_table(self, table: RouteTable) -> None:
        """Swap the route table, all at once."""
        self._ranking = Ranking(table, self._sites, self.policy, self._networks)

    def set_networks(self, networks: Tables) -> None:
        """Swap the tables of AS numbers and places, all at once."""
        self._networks = networks
        self.set_table(self._ranking.table)

    @property
    def prefixes(self) -> int:
        """Different prefixes in the route table."""
        return len(self._ranking.table)

    # -- what goes out ---------------------------------------------------------------------------

    def snapshot(self, now_s: float) -> Snapshot:
        """The frozen state that decisions are made from; the same object while nothing changed."""
        self._changed.update(self._watch.fallen(now_s))
        self._move_shares(now_s)
        stale = self._watch.most_silent
        held = self._snapshot
        turned = held is not None and held.stale != stale
        if turned:
            self._changed.update(self.records)
        elif held is not None and not self._changed and held.ranking is self._ranking:
            return held
        # Whoever comes back because silence is ignored was never away.
        gently = not turned and not self._is_young(now_s)
        silent_max_s = math.inf if stale else self.silence.max_s
        names, self._changed = self._changed, set()
        renewed = self._frozen.renew(names, self.epoch, now_s, silent_max_s, gently=gently)
        if held is None or renewed or turned or held.ranking is not self._ranking:
            frozen = self._frozen
            held = Snapshot(self._ranking, frozen.sites, frozen.origin, stale, self.policy)
            self._snapshot = held
        return held

    def note(self, box_id: str) -> None:
        """A decision for a player put this box first: bounded load counts what was given."""
        self._frozen.balance.note(box_id)

    def _move_shares(self, now_s: float) -> None:
        if now_s >= self._step_s:
            self._step_s = now_s + STEP_S
            self._changed |= self._frozen.moving
        if now_s >= self._tick_s:
            self._tick_s = now_s + TICK_S
            self._changed |= self._frozen.balance.tick(self._frozen.sites)

    def _is_young(self, now_s: float) -> bool:
        """Whether there was no time yet to hear everybody: what is new to us then is not new."""
        if self._began_s is None:
            self._began_s = now_s
        return now_s - self._began_s <= self.silence.max_s

    @property
    def latest(self) -> Snapshot | None:
        """The snapshot that the last decision was made from."""
        return self._snapshot

    def is_stale(self, now_s: float) -> bool:
        """Whether more than half of the boxes ever heard are silent: then the fault is ours."""
        self._changed.update(self._watch.fallen(now_s))
        return self._watch.most_silent

    def behind_s(self, now_s: float) -> float | None:
        """How old the view is: half of the boxes have been silent for longer than this."""
        silent = sorted(
            now_s - record.heard_s
            for record in self.records.values()
            if record.heard_s is not None and _counts(record.spec)
        )
        return max(0.0, silent[len(silent) // 2]) if silent else None

    def state(self, now_s: float) -> FleetState:
        """The whole view, for people."""
        stale, behind_s = self.snapshot(now_s).stale, self.behind_s(now_s)
        return FleetState(
            epoch=self.epoch,
            generation=self.generation,
            policy=self.policy.name,
            stale=stale,
            behind_s=UNSET if behind_s is None else behind_s,
            boxes=tuple(self._box_state(record, now_s, stale) for record in self.records.values()),
        )

    def save(self, now_s: float) -> list[SavedBox]:
        """The small part of every record, for the snapshot on disk."""
        return [
            SavedBox(
                appliance=name,
                heartbeat=record.heartbeat,
                silent_s=record.silent_s(now_s),
                drained_here=record.drained_here,
                inventory_at=record.inventory_at,
                inventory_epoch=record.inventory_epoch,
                assets=len(record.inventory),
            )
            for name, record in self.records.items()
        ]

    def restore(
        self,
        boxes: Iterable[SavedBox],
        routes: Mapping[str, SavedRoutes],
        read: Callable[[str], BitMap],
        age_s: float,
        now_s: float,
    ) -> None:
        """Go on from a snapshot `age_s` old; `read` gives a box's inventory when it is needed.
        Boxes that the fleet file no longer has are left out. The route table is the caller's.

        What we missed meanwhile is silence; when it is long for most, the majority rule says so.
        """
        for saved in boxes:
            record = self.records.get(saved.appliance)
            if record is None:
                continue
            record.heartbeat, record.drained_here = saved.heartbeat, saved.drained_here
            if saved.inventory_at != NEVER:
                record.inventory = Shelved(partial(read, saved.appliance), saved.assets)
                record.inventory_at = saved.inventory_at
                record.inventory_epoch = saved.inventory_epoch
            record.easing.jump(saved.heartbeat.admit if saved.heartbeat else 1.0, now_s)
            if saved.silent_s is not None:
                record.heard_s = now_s - saved.silent_s - max(0.0, age_s)
        for name, report in routes.items():
            if name in self.records:
                self.records[name].load_routes(report)
        self._watch.restore(self._heard())
        self._changed.update(self.records)

    def unshelve(self, name: str, assets: BitMap | None) -> None:
        """An inventory was read (None: it could not be, so the box is asked for it), unless the box
        has sent another meanwhile."""
        record = self.records.get(name)
        if record is not None and isinstance(record.inventory, Shelved):
            record.inventory = BitMap() if assets is None else assets
            if assets is None:
                record.inventory_at = NEVER
            self._changed.add(name)

    # -- inside ----------------------------------------------------------------------------------

    def _heard(self) -> dict[str, float]:
        """When each box that was ever heard was last heard."""
        heard = ((name, record.heard_s) for name, record in self.records.items())
        return {name: heard_s for name, heard_s in heard if heard_s is not None}

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

    def _box_state(self, record: BoxRecord, now_s: float, stale: bool) -> BoxState:
        beat = record.heartbeat
        silent_max_s = math.inf if stale else self.silence.max_s
        url = self._urls[record.spec.id]
        box = box_of(record, url, self.policy, self.epoch, now_s, silent_max_s)
        refused = {**record.refused}
        refused |= {f"route: {why}": count for why, count in record.dropped.items()}
        return BoxState(
            appliance=record.spec.id,
            site=record.spec.site,
            state=_WORDS[box.passed],
            health=box.health,
            admit=box.admit,
            why=box.detail or (beat.why if beat else ""),
            silent_s=record.silent_s(now_s),
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


def _says(beat: Heartbeat) -> tuple[float, float, bool, int]:
    """What of a heartbeat a decision depends on while the box is in service."""
    return beat.health, beat.admit, beat.draining, beat.capacity_bps


def counts_of(dropped: Mapping[str, int]) -> str:
    """How many for which reason, the most first."""
    most = sorted(dropped.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count:,} {why}" for why, count in most)[:400]


def _counts(spec: Appliance) -> bool:
    """Whether a box's silence says something: the origin need not report, a drained box is away."""
    return spec.id != ORIGIN_ID and spec.state is Wanted.IN_SERVICE
