"""Where appliances report: heartbeat, inventory, routes; signed, each speaking only for itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

from aiohttp import web
from aiohttp.typedefs import Middleware

from steering.metrics import Metrics
from steering.offload import sift_elsewhere
from steering.record import Sifted
from steering.tables import TableBuilder
from steering.view import View
from wire.auth import WrongTimeError, check_before_body
from wire.codec import decode
from wire.errors import ForbiddenError, OcaError, PeerError, WireError
from wire.keys import VerifyKey
from wire.reports import Heartbeat, Inventory, Routes
from wire.web import BODY_S_MAX, caller_of, json_response

AUDIENCE = "steering"
HEARTBEAT_BYTES_MAX = 64 * 1024
INVENTORY_BYTES_MAX = 32 * 1024 * 1024  # a bitmap of all of 190 million ids, in base64
BOOT_AHEAD_MAX_S = 86_400.0
"""A boot is numbered by the time at which it began; a later one than this no clock explains."""
# What takes longer than a few milliseconds on the loop goes to a thread.
INLINE_BYTES_MAX = 256 * 1024


class Report(Protocol):
    """What every report carries."""

    @property
    def appliance(self) -> str:
        """Whom it speaks for."""
        ...

    @property
    def boot(self) -> int:
        """The life of the box's agent in which it was made."""
        ...


R = TypeVar("R", bound=Report)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TooLargeError(PeerError):
    """A report larger than its kind may be."""

    status = 413


class Intake:
    """The handlers of the three reports."""

    def __init__(
        self,
        view: View,
        keys: Mapping[str, VerifyKey],
        metrics: Metrics,
        tables: TableBuilder,
    ) -> None:
        """`keys`: appliance → public key, from the fleet file."""
        self._view, self._keys, self._metrics, self._tables = view, keys, metrics, tables

    def add_to(self, app: web.Application) -> None:
        """Register the reports' paths."""
        app.router.add_post("/v1/heartbeat", self.heartbeat)
        app.router.add_put("/v1/inventory", self.inventory)
        app.router.add_put("/v1/routes", self.routes)

    async def rebuild(self) -> None:
        """Build the route table anew, as the fleet file changed who announces what."""
        await self._tables.rebuild(time.monotonic())

    async def heartbeat(self, request: web.Request) -> web.Response:
        """POST /v1/heartbeat: Heartbeat → HeartbeatReply; raises TooLargeError, AuthError,
        WireError, ForbiddenError, ConflictError."""
        beat = await self._read(request, Heartbeat, "heartbeat", HEARTBEAT_BYTES_MAX)
        return json_response(self._view.heartbeat(beat, time.monotonic()))

    async def inventory(self, request: web.Request) -> web.Response:
        """PUT /v1/inventory: Inventory → InventoryReply; raises as `heartbeat` does."""
        report = await self._read(request, Inventory, "inventory", INVENTORY_BYTES_MAX)
        return json_response(self._view.inventory(report))

    async def routes(self, request: web.Request) -> web.Response:
        """PUT /v1/routes: Routes → RoutesReply; raises as `heartbeat` does."""
        report, sifted = await self._read_routes(request)
        now_s = time.monotonic()
        reply, changed = self._view.routes(report, sifted, now_s)
        if changed:
            await self._tables.rebuild(now_s)
        return json_response(reply)

    async def _read_routes(self, request: web.Request) -> tuple[Routes, Sifted | None]:
        """A route report; a large one without its routes, which another process has sifted."""
        bytes_max = request.client_max_size
        length = request.content_length
        if length is not None and length <= INLINE_BYTES_MAX:
            return await self._read(request, Routes, "routes", bytes_max), None
        found: list[Sifted] = []

        async def elsewhere(body: bytes, sender: str) -> Routes:
            asns = self._view.spec(sender).origin_asns
            report, sifted = await sift_elsewhere(body, asns)
            found.append(sifted)
            return report

        report = await self._read(request, Routes, "routes", bytes_max, elsewhere)
        return report, found[0]

    async def _read(
        self,
        request: web.Request,
        kind: type[R],
        what: str,
        bytes_max: int,
        elsewhere: Callable[[bytes, str], Awaitable[R]] | None = None,
    ) -> R:
        """The signed report of a known appliance; whatever is wrong with it is counted and shown.

        The signature is looked at before a large body is read: a stranger's is read by nobody.
        `elsewhere` decodes the body of a proven sender.
        """
        sender = ""
        try:
            length = request.content_length
            if length is None or length > min(bytes_max, INLINE_BYTES_MAX):
                header = request.headers.get("Authorization", "")
                sender = check_before_body(header, self._keys, AUDIENCE, time.time()).appliance
            body = await _bounded(request, what, bytes_max)
            large = len(body) > INLINE_BYTES_MAX
            prove = partial(caller_of, request, self._keys, AUDIENCE, body)
            sender = (await asyncio.to_thread(prove) if large else prove()).appliance
            if elsewhere is not None:
                report = await elsewhere(body, sender)
            elif large:
                report = await asyncio.to_thread(decode, kind, body, what)
            else:
                report = decode(kind, body, what)
            _check(report, sender, what)
        except WrongTimeError as exc:
            self._view.refuse(exc.appliance, what, str(exc))
            raise
        except OcaError as exc:
            self._view.refuse(sender, what, str(exc))
            raise
        return report


async def _bounded(request: web.Request, what: str, bytes_max: int) -> bytes:
    """The body; raises TooLargeError as soon as it is known to be longer than it may be, WireError
    when it does not come."""
    pieces, size = [], request.content_length or 0
    if size <= bytes_max:
        size = 0
        try:
            async with asyncio.timeout(BODY_S_MAX):
                async for piece in request.content.iter_any():
                    pieces.append(piece)
                    size += len(piece)
                    if size > bytes_max:
                        break
        except TimeoutError as exc:
            raise WireError(what, "", f"it did not come within {BODY_S_MAX:g} s") from exc
    if size > bytes_max:
        raise TooLargeError(f"{what}: the body has at most {bytes_max:,} bytes")
    return b"".join(pieces)


def _check(report: Report, sender: str, what: str) -> None:
    """Raise ForbiddenError or WireError for what no honest box says, whatever its state."""
    if report.appliance != sender:
        raise ForbiddenError(f"{sender} may not report for {report.appliance[:64]!r}")
    ahead_s = report.boot - time.time()
    if ahead_s > BOOT_AHEAD_MAX_S:
        detail = f"this boot is {ahead_s:.0f} s in the future: look at the box's clock"
        raise WireError(what, "$.boot", detail)


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
