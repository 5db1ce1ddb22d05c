"""Where appliances report: heartbeat, inventory, routes; signed, each speaking only for itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from aiohttp import web
from aiohttp.typedefs import Middleware

from steering.locate import RouteTable
from steering.metrics import Metrics
from steering.record import sift
from steering.view import View
from wire.auth import check_before_body
from wire.codec import decode
from wire.errors import ForbiddenError, OcaError, PeerError
from wire.keys import VerifyKey
from wire.reports import Heartbeat, Inventory, Routes
from wire.web import caller_of, json_response

AUDIENCE = "steering"
HEARTBEAT_BYTES_MAX = 64 * 1024
# What takes longer than a few milliseconds on the loop goes to a thread.
INLINE_BYTES_MAX = 256 * 1024
INLINE_ROUTES_MAX = 5_000


class Report(Protocol):
    """What every report carries."""

    @property
    def appliance(self) -> str:
        """Whom it speaks for."""
        ...


R = TypeVar("R", bound=Report)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TooLargeError(PeerError):
    """A report larger than its kind may be."""

    status = 413


class TableBuilder:
    """Builds the route table anew, off the loop when it is large; many wishes become one build."""

    def __init__(self, view: View) -> None:
        """Swaps the table of `view`."""
        self._view = view
        self._lock = asyncio.Lock()
        self._wished = self._built = 0

    async def rebuild(self) -> None:
        """Return when a table that holds what was reported before this call is in place."""
        self._wished += 1
        mine = self._wished
        async with self._lock:
            if self._built >= mine:
                return
            begun = self._wished
            pairs = self._view.announcements()
            if len(pairs) <= INLINE_ROUTES_MAX:
                table = RouteTable(pairs)
            else:
                table = await asyncio.to_thread(RouteTable, pairs)
            self._view.set_table(table)
            self._built = begun


class Intake:
    """The handlers of the three reports."""

    def __init__(self, view: View, keys: Mapping[str, VerifyKey], metrics: Metrics) -> None:
        """`keys`: appliance → public key, from the fleet file."""
        self._view, self._keys, self._metrics = view, keys, metrics
        self._tables = TableBuilder(view)

    def add_to(self, app: web.Application) -> None:
        """Register the reports' paths."""
        app.router.add_post("/v1/heartbeat", self.heartbeat)
        app.router.add_put("/v1/inventory", self.inventory)
        app.router.add_put("/v1/routes", self.routes)

    async def rebuild(self) -> None:
        """Build the route table anew, as the fleet file changed who announces what."""
        await self._tables.rebuild()

    async def heartbeat(self, request: web.Request) -> web.Response:
        """POST /v1/heartbeat: Heartbeat → HeartbeatReply; raises TooLargeError, AuthError,
        WireError, ForbiddenError, ConflictError."""
        if (request.content_length or 0) > HEARTBEAT_BYTES_MAX:
            raise TooLargeError(f"a heartbeat has at most {HEARTBEAT_BYTES_MAX} bytes")
        beat = await self._read(request, Heartbeat, "heartbeat")
        return json_response(self._view.heartbeat(beat, time.monotonic()))

    async def inventory(self, request: web.Request) -> web.Response:
        """PUT /v1/inventory: Inventory → InventoryReply; raises as `heartbeat` does."""
        report = await self._read(request, Inventory, "inventory")
        return json_response(self._view.inventory(report))

    async def routes(self, request: web.Request) -> web.Response:
        """PUT /v1/routes: Routes → RoutesReply; raises as `heartbeat` does."""
        report = await self._read(request, Routes, "routes")
        sifted = None
        if len(report.routes) > INLINE_ROUTES_MAX:
            spec = self._view.spec(report.appliance)
            sifted = await asyncio.to_thread(sift, report.routes, spec)
        reply, changed = self._view.routes(report, sifted)
        if changed:
            await self._tables.rebuild()
        return json_response(reply)

    async def _read(self, request: web.Request, kind: type[R], what: str) -> R:
        """The signed report of a known appliance; whatever is wrong is counted and shown."""
        if request.content_length is None or request.content_length > INLINE_BYTES_MAX:
            header = request.headers.get("Authorization", "")
            check_before_body(header, self._keys, AUDIENCE, time.time())
        body = await request.read()
        caller = caller_of(request, self._keys, AUDIENCE, body)
        try:
            if len(body) > INLINE_BYTES_MAX:
                report = await asyncio.to_thread(decode, kind, body, what)
            else:
                report = decode(kind, body, what)
            if report.appliance != caller.appliance:
                raise ForbiddenError(
                    f"{caller.appliance} may not report for {report.appliance[:64]!r}"
                )
        except OcaError as exc:
            self._view.refuse(caller.appliance, what, str(exc))
            raise
        return report


def counted(metrics: Metrics) -> Middleware:
    """Count every report by kind and status."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.method in ("POST", "PUT"):
            kind = request.path.rpartition("/")[2]
            known = kind if kind in ("heartbeat", "inventory", "routes") else "other"
            metrics.reported(known, str(response.status))
        return response

    return count
