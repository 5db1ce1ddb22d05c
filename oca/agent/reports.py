"""Tell every steering replica, each at its own pace, how the box feels and what it offers.

One task a replica: a slow or dead one never delays another. What a replica is known to have is kept
per replica, so each gets the difference, and everything again when it asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from oca.agent.api import ApiError, Fill, Steering
from oca.agent.holdings import Holdings
from oca.agent.inventory import Ledger, Seen, report
from oca.agent.knobs import Agent
from oca.agent.pulse import Pulse
from oca.agent.routes import RoutesFile
from oca.agent.vitals import Vitals
from wire.errors import OcaError
from wire.log import get
from wire.reports import DiskTold, Heartbeat, Inventory, InventoryReply, Routes

STALE_HEARTBEATS = 3
"""A replica that did not hear from us for so long offers us to nobody (CONTRACTS)."""
ROUTES_REST = 4
"""A table is sent whole: after a large one there is a rest of so many times what it took."""
BOOT_AHEAD_MAX_S = 86_400.0
"""Boots are numbered by the time at which they begin: no later one can have been ours."""

_log = get("reports")


@dataclass(slots=True)
class Link:
    """What one receiver is known to have and was told, and when it last answered (monotonic); a new
    one counts as having answered, until it has been silent for a while."""

    name: str
    seen: Seen = field(default_factory=Seen)
    confirmed_seq: int = 0
    routes_seq: int = 0
    routes_rest_s: float = 0.0
    health: float = -1.0
    heard_s: float = field(default_factory=time.monotonic)
    fault: str = ""

    def note(self, fault: str) -> None:
        """Log a receiver's trouble once, when it comes and when it goes."""
        if fault != self.fault:
            (_log.warning if fault else _log.info)("report", to=self.name, trouble=fault or "over")
        self.fault = fault


class Reporter:
    """All that is told about what this box offers; `links` are the steering replicas'."""

    def __init__(
        self,
        me: str,
        boot: int,
        holdings: Holdings,
        pulse: Pulse,
        routes: RoutesFile,
        vitals: Vitals,
        knobs: Agent,
        remark: Callable[[], str],
        begin_boot: Callable[[int], Awaitable[None]],
    ) -> None:
        """`boot` grows with every start of the agent, `begin_boot` remembers a later one; `remark`
        is what a healthy box has to say."""
        self._me, self._boot, self._holdings, self._pulse = me, boot, holdings, pulse
        self._routes, self._vitals, self._knobs = routes, vitals, knobs
        self._remark, self._begin_boot = remark, begin_boot
        self._ledger = Ledger()
        self._heartbeats = self._outgrown = 0
        self.links = {base: Link(base) for base in knobs.steering}
        self.disks: Callable[[], tuple[DiskTold, ...]] = tuple
        """What inventories say of the box's disks: nothing while all of them are in use."""

    def number(self) -> int:
        """The number of the present inventory."""
        return self._ledger.update(self._holdings.bitmap(), self.disks())

    def confirmed(self, seq: int, now_s: float) -> bool:
        """Whether every replica that may still offer this box has inventory `seq` or a later one.

        One that has not heard from us for three heartbeats offers us to nobody.
        """
        stale_s = STALE_HEARTBEATS * self._knobs.heartbeat_s
        return all(
            link.confirmed_seq >= seq or now_s - link.heard_s > stale_s
            for link in self.links.values()
        )

    async def tell_steering(self, base: str, replica: Steering) -> None:
        """For ever: inventory and routes as they change, a heartbeat every so often."""
        link = self.links[base]
        due_s = 0.0
        while True:
            seen = self._pulse.beats
            if self._holdings.epoch and self._vitals.taken:
                due_s = await self._tell(link, replica, due_s)
                # What a reply asked for goes out after the next short pause, not in a tight loop.
                asked = not link.fault and not self._up_to_date(link)
                await self._pause(seen, 0.0 if asked else due_s - time.monotonic())
            else:
                await self._pulse.wait(seen, self._knobs.heartbeat_s)

    async def _tell(self, link: Link, replica: Steering, due_s: float) -> float:
        """Everything that one replica lacks now; when the next heartbeat is due."""
        fault = await self._say(self._inventory(link, replica.put_inventory))
        other = await self._say(self._send_routes(link, replica))
        if time.monotonic() >= due_s or link.health != self._vitals.health:
            due_s = time.monotonic() + self._knobs.heartbeat_s
            beat = await self._say(self._heartbeat(link, replica))
            fault = fault or beat
        if fault:
            # It may be another life of the replica next time, with an old snapshot: before a
            # heartbeat makes it trust us again, it gets everything.
            link.seen = Seen()
        link.note(fault or other)
        return due_s

    def _up_to_date(self, link: Link) -> bool:
        return link.seen.seq > 0 and link.routes_seq == self._routes.seq

    async def tell_fill(self, fill: Fill) -> None:
        """For ever: the inventory as it changes, and with every plan poll, so that fill's view
        heals by itself."""
        link = Link(fill.base)
        while True:
            seen = self._pulse.beats
            if self._holdings.epoch:
                link.note(await self._say(self._inventory(link, fill.put_inventory, always=True)))
            await self._pause(seen, self._knobs.plan_poll_s)

    async def _pause(self, seen: int, most_s: float) -> None:
        """Until something changed, and a little longer, so that changes travel together."""
        pause_s = self._knobs.report_pause_s
        await asyncio.sleep(min(pause_s, most_s) if most_s > 0 else pause_s)
        if most_s > pause_s:
            await self._pulse.wait(seen, most_s - pause_s)

    async def _say(self, telling: Awaitable[None]) -> str:
        try:
            await telling
        except OcaError as exc:
            if isinstance(exc, ApiError) and exc.boot >= self._boot:
                await self._outgrow(exc.boot)
            return str(exc)
        return ""

    async def _outgrow(self, boot: int) -> None:
        """A receiver remembers a boot of ours that we do not: the run folder was lost, and the
        clock stood before. All get everything anew under a number that nobody has heard."""
        if boot > time.time() + BOOT_AHEAD_MAX_S or self._outgrown >= len(self.links) + 1:
            return  # another box with our name and key, or a receiver that is out of its mind
        self._outgrown += 1
        _log.warning("begins a later boot", was=self._boot, known=boot)
        self._boot = boot + 1
        for link in self.links.values():
            link.seen, link.routes_seq = Seen(), 0
        await self._begin_boot(self._boot)

    async def _inventory(
        self,
        link: Link,
        put: Callable[[Inventory], Awaitable[InventoryReply]],
        *,
        always: bool = False,
    ) -> None:
        seq = self.number()
        if link.seen.seq == seq and not always:
            return
        offered = self._ledger.offered
        reply = await put(
            report(self._ledger, link.seen, self._me, self._holdings.epoch, self._boot)
        )
        link.heard_s = time.monotonic()
        link.seen = Seen() if reply.send_full else Seen(seq, offered)
        link.confirmed_seq = max(link.confirmed_seq, link.seen.seq)

    async def _send_routes(self, link: Link, replica: Steering) -> None:
        seq, routes = self._routes.seq, self._routes.routes
        began_s = time.monotonic()
        if link.routes_seq == seq or began_s < link.routes_rest_s:
            return
        reply = await replica.put_routes(
            Routes(
                appliance=self._me,
                epoch=self._holdings.epoch,
                boot=self._boot,
                seq=seq,
                routes=routes,
            )
        )
        link.heard_s = time.monotonic()
        link.routes_rest_s = link.heard_s + (link.heard_s - began_s) * ROUTES_REST
        link.routes_seq = seq
        if reply.dropped:
            _log.warning("routes dropped", by=link.name, taken=reply.taken, dropped=reply.dropped)

    async def _heartbeat(self, link: Link, replica: Steering) -> None:
        self._heartbeats += 1
        vitals = self._vitals
        link.health = vitals.health
        reply = await replica.post_heartbeat(
            Heartbeat(
                appliance=self._me,
                epoch=self._holdings.epoch,
                boot=self._boot,
                seq=self._heartbeats,
                health=vitals.health,
                admit=vitals.admit,
                why=vitals.why or self._remark(),
                served_bps=vitals.served_bps,
                capacity_bps=self._knobs.link_bps,
                connections=vitals.connections,
                draining=vitals.draining,
                inventory_seq=link.seen.seq,
                routes_seq=link.routes_seq,
                generation=self._holdings.generation,
            )
        )
        link.heard_s = time.monotonic()
        if reply.send_inventory:
            link.seen = Seen()
        if reply.send_routes:
            link.routes_seq = 0
