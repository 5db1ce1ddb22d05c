"""`fill serve`: plans, catalogue and purge list out, inventories and counted bytes in.

The public listener answers signed callers only; reports and metrics live on the admin listener.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial

from aiohttp import web
from msgspec.structs import replace

from fill.config import DAY_S
from fill.files import Files
from fill.history import MINUTES_A_DAY, History
from fill.inventory import Stored, take
from fill.metrics import Metrics
from fill.offload import offload_report
from fill.triggering import Triggers
from fill.world import World
from fill.writer import HistoryWriter
from wire.codec import encode
from wire.durable import write_durably
from wire.errors import ForbiddenError, NotFoundError, WireError
from wire.events import EventBatch
from wire.ids import ASSET_ID_MAX
from wire.plan import PurgeAck
from wire.reports import Inventory
from wire.signed import JOSE_TYPE
from wire.web import caller_of, json_response, problems, read_signed, serve_until_stopped

AUDIENCE = "fill"
BODY_BYTES_MAX = 32 * 1024 * 1024  # 100,000 event rows are ~8 MB, a full inventory ~1 MB
ROW_BYTES_MAX = 75 * 10**12  # a minute of the fastest link that a fleet file may name
OFFLOAD_SINCE_S = DAY_S
INVENTORIES = "inventories"


async def serve(files: Files) -> None:
    """Run until SIGTERM or SIGINT."""
    service = Service(files)
    service.start()
    chores = [
        asyncio.create_task(service.forget_daily()),
        asyncio.create_task(service.triggers.work()),
    ]
    try:
        config = files.config
        await serve_until_stopped(
            {config.listen: service.public(), config.admin_listen: service.admin()}
        )
    finally:
        for chore in chores:
            chore.cancel()
        service.stop()


class Service:
    """The handlers, and what they share."""

    def __init__(self, files: Files) -> None:
        """Opens nothing until `start`."""
        self._files = files
        self._world = World(files)
        self._writer = HistoryWriter(files.history)
        self._metrics = Metrics()
        self._inventories: dict[str, Stored] = {}
        self._inventory_lock = asyncio.Lock()
        self.triggers = Triggers(files, self._writer)

    def start(self) -> None:
        """Open the history; raises WireError when the inventories there cannot be read."""
        (self._files.state / INVENTORIES).mkdir(parents=True, exist_ok=True)
        for box in self._files.read_fleet().appliances:
            stored = self._files.read_inventory(box.id)
            if stored is not None:
                self._inventories[box.id] = stored
        self._writer.start()

    def stop(self) -> None:
        """Write what is waiting."""
        self._writer.stop()

    async def forget_daily(self) -> None:
        """Keep the history bounded, for ever."""
        config = self._files.config
        while True:
            today = int(time.time()) // DAY_S
            day, minutes_day = today - config.keep_days, today - config.keep_minutes_days
            await self._writer.run(
                partial(History.forget, before_day=day, before_minute=minutes_day * MINUTES_A_DAY)
            )
            await asyncio.sleep(DAY_S)

    def public(self) -> web.Application:
        """What appliances and steering reach."""
        app = web.Application(
            middlewares=[self._metrics.middleware, problems], client_max_size=BODY_BYTES_MAX
        )
        app.add_routes(
            [
                web.get("/v1/plan/{appliance}", self._get_plan),
                web.put("/v1/inventory/{appliance}", self._put_inventory),
                web.post("/v1/events", self._post_events),
                web.get("/v1/catalogue/titles", self._get_titles),
                web.get("/v1/assets/{asset}", self._get_asset),
                web.get("/v1/purge", self._get_purge),
                web.post("/v1/purge/ack", self._post_purge_ack),
            ]
        )
        return app

    def admin(self) -> web.Application:
        """What only the operator's network reaches."""
        app = web.Application(middlewares=[problems], client_max_size=BODY_BYTES_MAX)
        app.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/healthz", self._get_health),
                web.get("/v1/offload", self._get_offload),
                *self.triggers.routes(),
            ]
        )
        return app

    async def _get_plan(self, request: web.Request) -> web.StreamResponse:
        callers = await self._world.callers()
        caller = caller_of(request, callers.appliances, AUDIENCE)
        appliance = request.match_info["appliance"]
        if callers.fleet.appliance(appliance) is None:
            raise NotFoundError(f"there is no appliance {appliance[:64]!r} in the fleet")
        _only_itself(caller.appliance, appliance)
        document = await self._world.plan(appliance)
        return _tagged(request, document.body, f'"{document.number}"', JOSE_TYPE)

    async def _put_inventory(self, request: web.Request) -> web.StreamResponse:
        callers = await self._world.callers()
        caller, message = await read_signed(
            request, Inventory, callers.appliances, AUDIENCE, "inventory"
        )
        _only_itself(caller.appliance, request.match_info["appliance"])
        _only_itself(caller.appliance, message.appliance)
        epoch = (await self._world.snapshot()).epoch
        async with self._inventory_lock:
            stored, reply = take(self._inventories.get(message.appliance), message, epoch)
            if stored is not None:
                path = self._files.inventory(message.appliance)
                await asyncio.to_thread(write_durably, path, encode(stored))
                self._inventories[message.appliance] = stored
        return json_response(reply)

    async def _post_events(self, request: web.Request) -> web.StreamResponse:
        callers = await self._world.callers()
        caller, batch = await read_signed(
            request, EventBatch, callers.appliances, AUDIENCE, "event batch"
        )
        _only_itself(caller.appliance, batch.appliance)
        box = callers.fleet.appliance(batch.appliance)
        if box is not None and box.site != batch.site:
            batch = replace(batch, site=box.site)  # the fleet file says where a box stands
        for index, row in enumerate(batch.rows):
            if row.bytes > ROW_BYTES_MAX:
                detail = f"{row.bytes} is more than a link carries in a minute"
                raise WireError("event batch", f"$.rows[{index}].bytes", detail)
        ack, new = await self._writer.store(_not_from_the_future(batch, int(time.time()) // 60))
        self._metrics.batch(batch, new)
        return json_response(ack)

    async def _get_titles(self, request: web.Request) -> web.StreamResponse:
        caller_of(request, (await self._world.callers()).readers, AUDIENCE)
        titles = await self._world.titles()
        return _tagged(request, titles.body, titles.etag, "application/json")

    async def _get_asset(self, request: web.Request) -> web.StreamResponse:
        caller_of(request, (await self._world.callers()).appliances, AUDIENCE)
        text = request.match_info["asset"]
        known = text.isascii() and text.isdigit() and int(text[:12]) <= ASSET_ID_MAX
        entry = (await self._world.snapshot()).entries.get(int(text[:12])) if known else None
        if entry is None:
            raise NotFoundError(f"the catalogue has no asset {text[:20]!r}")
        return _tagged(request, entry.raw, f'"{entry.digest[:32]}"', "application/json")

    async def _get_purge(self, request: web.Request) -> web.StreamResponse:
        caller_of(request, (await self._world.callers()).appliances, AUDIENCE)
        document = await self._world.purge()
        return _tagged(request, document.body, f'"{document.number}"', JOSE_TYPE)

    async def _post_purge_ack(self, request: web.Request) -> web.StreamResponse:
        callers = await self._world.callers()
        caller, ack = await read_signed(
            request, PurgeAck, callers.appliances, AUDIENCE, "purge acknowledgement"
        )
        _only_itself(caller.appliance, ack.appliance)
        now_s = int(time.time())
        await self._writer.run(lambda history: history.ack_purge(ack.appliance, ack.number, now_s))
        return json_response(ack)

    async def _get_metrics(self, _request: web.Request) -> web.StreamResponse:
        summary = await self._world.summary()
        self._metrics.generation.set(summary.generation if summary else 0)
        return web.Response(body=self._metrics.page(), content_type="text/plain", charset="utf-8")

    async def _get_health(self, _request: web.Request) -> web.StreamResponse:
        await self._world.callers()
        await self._world.snapshot()
        await self._writer.run(lambda history: history.purge_acks())
        return web.Response(text="ok\n")

    async def _get_offload(self, request: web.Request) -> web.StreamResponse:
        since_s = _since(request.query, time.time())
        totals = await self._writer.run(lambda history: history.totals(since_s // 60))
        return json_response(offload_report(totals, since_s, await self._world.summary()))


def _only_itself(caller: str, appliance: str) -> None:
    if caller != appliance:
        raise ForbiddenError("an appliance speaks only for itself")


def _not_from_the_future(batch: EventBatch, minute: int) -> EventBatch:
    """The batch with minutes that have not come yet moved to now: a box whose clock is ahead must
    not hold the newest day for ever."""
    if all(row.minute <= minute for row in batch.rows):
        return batch
    rows = tuple(replace(row, minute=min(row.minute, minute)) for row in batch.rows)
    return replace(batch, rows=rows)


def _since(query: Mapping[str, str], now_s: float) -> int:
    text = query.get("since", "")
    if not text:
        return max(0, int(now_s) - OFFLOAD_SINCE_S)
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        detail = f"{text[:20]!r} is not a time"
        raise WireError("query", "since", detail, hint="whole Unix seconds")
    return int(text)


def _tagged(request: web.Request, body: bytes, etag: str, kind: str) -> web.Response:
    """The body, or 304 when the caller has it already (RFC 9110 §13.1.2)."""
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    asked = request.headers.get("If-None-Match", "")
    tags = [tag.strip().removeprefix("W/") for tag in asked.split(",")]
    if etag in tags or asked.strip() == "*":
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=kind, headers=headers)
