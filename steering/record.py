"""What one appliance told us, in its own order (boot, seq): the last good state stays. Pure.

Older messages are refused, equal ones (a retry whose answer was lost) change nothing, and a delta
that does not follow what is held asks for the whole.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import msgspec
from pyroaring import BitMap

from steering.ease import Easing
from steering.packed import Packed, pack
from steering.shelved import Shelved, whole
from wire.errors import ConflictError
from wire.fleet import Appliance, Wanted
from wire.reports import (
    Heartbeat,
    HeartbeatReply,
    Inventory,
    InventoryReply,
    Route,
    Routes,
    RoutesReply,
    route_fault,
    unpack_bitmap,
)
from wire.steer import Reason

Order = tuple[int, int]
NEVER: Order = (-1, -1)
Sifted = tuple[Packed, dict[str, int]]
"""The routes taken, and how many were dropped for which reason."""


class SavedInventory(msgspec.Struct, frozen=True, kw_only=True):
    """What one box holds, on steering's own disk; `assets` is a serialized bitmap."""

    epoch: str
    at: Order
    assets: bytes


class SavedRoutes(msgspec.Struct, frozen=True, kw_only=True):
    """The routes of one box on steering's own disk; `packed` as of Packed."""

    at: Order
    packed: bytes
    dropped: dict[str, int]


@dataclass(slots=True)
class BoxRecord:
    """One appliance of the fleet file and all it said. `heard_s` is our monotonic clock."""

    spec: Appliance
    heartbeat: Heartbeat | None = None
    heard_s: float | None = None
    easing: Easing = field(default_factory=Easing)
    drained_here: bool = False
    inventory: BitMap | Shelved = field(default_factory=BitMap)
    inventory_at: Order = NEVER
    inventory_epoch: str = ""
    routes: Packed = field(default_factory=Packed)
    routes_at: Order = NEVER
    gone: Packed = field(default_factory=Packed)
    gone_s: float = -math.inf
    dropped: dict[str, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    last_refusal: str = ""

    def take_heartbeat(self, beat: Heartbeat, now_s: float) -> HeartbeatReply:
        """Take a heartbeat, and say what is wanted next; raises ConflictError when it is old."""
        held = self.heartbeat
        at, last = (beat.boot, beat.seq), (held.boot, held.seq) if held else NEVER
        if at < last:
            raise _old("heartbeat", at, last)
        if at > last:
            self.heartbeat, self.heard_s = beat, now_s
        return HeartbeatReply(
            send_inventory=self.inventory_at != (beat.boot, beat.inventory_seq)
            or self.inventory_epoch != beat.epoch,
            send_routes=self.routes_at != (beat.boot, beat.routes_seq),
        )

    def take_inventory(self, report: Inventory) -> InventoryReply:
        """Take an inventory, full or delta; raises ConflictError or WireError."""
        at = (report.boot, report.seq)
        if at < self.inventory_at:
            raise _old("inventory", at, self.inventory_at)
        if at == self.inventory_at and report.epoch == self.inventory_epoch:
            return InventoryReply(boot=report.boot, seq=report.seq)
        added = unpack_bitmap(report.added, "inventory: added")
        if report.base_seq is not None:
            follows = (report.boot, report.base_seq) == self.inventory_at
            if not follows or report.epoch != self.inventory_epoch:
                self.refused["inventory: gap before a delta"] += 1
                boot, seq = max(self.inventory_at, (0, 0))
                return InventoryReply(boot=boot, seq=seq, send_full=True)
            added = (whole(self.inventory) | added) - unpack_bitmap(
                report.removed, "inventory: removed"
            )
        added.run_optimize()  # whole ladders have ids in a row: a third of the memory
        self.inventory, self.inventory_at, self.inventory_epoch = added, at, report.epoch
        return InventoryReply(boot=report.boot, seq=report.seq)

    def take_routes(
        self, report: Routes, sifted: Sifted | None = None, now_s: float = 0.0
    ) -> tuple[RoutesReply, bool]:
        """Take a route report, less the routes that may not be; says whether anything changed.

        Raises ConflictError when it is old.
        """
        at = (report.boot, report.seq)
        if at < self.routes_at:
            raise _old("routes", at, self.routes_at)
        if at == self.routes_at:
            return RoutesReply(taken=len(self.routes), dropped=self.dropped), False
        taken, dropped = sifted or sift(report.routes, self.spec)
        changed = taken != self.routes
        if changed:
            self.gone, self.gone_s = self.routes.without(taken), now_s
        self.routes, self.dropped, self.routes_at = taken, dropped, at
        return RoutesReply(taken=len(taken), dropped=dropped), changed

    def refuse(self, what: str, why: str) -> None:
        """Count a refused report, and remember the last one for people."""
        self.refused[what] += 1
        self.last_refusal = f"{what}: {why}"[:500]

    def standing(self, silent_s: float | None, silent_max_s: float) -> tuple[Reason | None, str]:
        """Why this box may not be used at all, whatever is asked (None: it may), in words too.

        `silent_max_s` is infinite while silence is ignored.
        """
        beat = self.heartbeat
        if self.spec.state is Wanted.DRAINED:
            return Reason.DRAINING, "drained in the fleet file"
        if self.drained_here:
            return Reason.DRAINING, "drained by an operator at this replica"
        if beat is None or silent_s is None:
            return Reason.HEALTH, "never heard of"
        if silent_s > silent_max_s:
            return Reason.HEALTH, f"silent for {silent_s:.1f} s"
        if beat.draining:
            return Reason.DRAINING, beat.why or "drains itself"
        if beat.health <= 0:
            return Reason.HEALTH, beat.why or "says it must not serve"
        if beat.admit <= 0:
            return Reason.LOAD, beat.why or "admits nothing more"
        return None, ""

    def silent_s(self, now_s: float) -> float | None:
        """Seconds since its last heartbeat; None when it was never heard."""
        return None if self.heard_s is None else max(0.0, now_s - self.heard_s)

    def save_inventory(self) -> SavedInventory:
        """What it holds, for the snapshot."""
        assets = whole(self.inventory).serialize()
        return SavedInventory(epoch=self.inventory_epoch, at=self.inventory_at, assets=assets)

    def save_routes(self) -> SavedRoutes:
        """Its routes, for the snapshot."""
        packed = self.routes.to_bytes()
        return SavedRoutes(at=self.routes_at, packed=packed, dropped=self.dropped)

    def load_routes(self, saved: SavedRoutes) -> None:
        """Go on from a snapshot; whose they may be is asked again, as the fleet file may have
        changed. Raises WireError."""
        self.routes = allowed(Packed.from_buffer(saved.packed), self.spec)
        self.routes_at, self.dropped = saved.at, dict(saved.dropped)


def record_of(held: BoxRecord | None, spec: Appliance) -> BoxRecord:
    """The record of a box as the fleet file now says it is: all that it reported is kept. May it
    announce for other networks than before, it is asked for its routes again."""
    if held is None:
        return BoxRecord(spec)
    if held.spec.origin_asns != spec.origin_asns:
        held.routes = allowed(held.routes, spec)
        held.routes_at = NEVER
    held.spec = spec
    return held


def sift(routes: Iterable[Route], spec: Appliance) -> Sifted:
    """The routes a box may announce, and how many were dropped for which reason."""
    return sift_for(routes, spec.origin_asns)


def sift_for(routes: Iterable[Route], origin_asns: Collection[int]) -> Sifted:
    """As `sift`, by the networks that a box may announce for."""
    taken: list[Route] = []
    dropped: Counter[str] = Counter()
    for route in routes:
        fault = route_fault(route, origin_asns)
        if fault:
            dropped[fault] += 1
        else:
            taken.append(route)
    return pack(taken), dict(dropped)


def allowed(routes: Packed, spec: Appliance) -> Packed:
    """The routes of those networks that a box may announce for."""
    return routes.of_origins(spec.origin_asns) if spec.origin_asns else routes


def _old(what: str, at: Order, last: Order) -> ConflictError:
    return ConflictError(
        f"{what} (boot {at[0]}, seq {at[1]}) is older than what is held "
        f"(boot {last[0]}, seq {last[1]})",
        boot=last[0] if last[0] > at[0] else 0,
    )
