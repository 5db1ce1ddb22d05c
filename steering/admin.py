"""What operators ask, on a listener of its own: explain, fleet, drain, metrics, health."""

from __future__ import annotations

import time

from aiohttp import web

from steering.api import Api, asset_or_title
from steering.engine import Engine
from steering.metrics import Metrics
from steering.openapi import document
from wire.errors import ForbiddenError, NotFoundError
from wire.log import get
from wire.steer import FleetState
from wire.web import Handler, json_response

_log = get("admin")


class Admin:
    """The operators' handlers. `api` is one that may name clients."""

    def __init__(self, engine: Engine, api: Api, metrics: Metrics) -> None:
        """Shares the engine with the players' surfaces: what it explains is what they get."""
        self._engine, self._api, self._metrics = engine, api, metrics

    def add_to(self, app: web.Application) -> None:
        """Register the operators' paths."""
        app.router.add_get("/v1/explain", self.explain)
        app.router.add_get("/v1/fleet", self.fleet)
        app.router.add_post("/v1/drain/{appliance}", self.drain)
        app.router.add_delete("/v1/drain/{appliance}", self.drain)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/healthz", healthz)
        app.router.add_get("/readyz", self.readyz)
        self._api.add_to(app)

    async def explain(self, request: web.Request) -> web.Response:
        """GET /v1/explain?client=…&asset=N | &title=T → Explanation; raises WireError,
        NotFoundError."""
        self._api.check_ready()
        client = self._api.client(request)
        asset, title_id = asset_or_title(request)
        title, _ = self._engine.what(asset, title_id)
        return json_response(self._engine.explain(client, title, asset, time.monotonic()))

    async def fleet(self, _: web.Request) -> web.Response:
        """GET /v1/fleet → FleetState."""
        return json_response(self._state())

    async def drain(self, request: web.Request) -> web.Response:
        """POST (or DELETE, to end it) /v1/drain/<appliance> → its BoxState; raises
        NotFoundError."""
        name, drained = request.match_info["appliance"], request.method == "POST"
        self._engine.view.drain(name, drained)
        _log.warning("drain", appliance=name, drained=drained, by=request.remote)
        box = next((box for box in self._state().boxes if box.appliance == name), None)
        if box is None:
            raise NotFoundError(f"there is no appliance {name[:64]!r}")
        return json_response(box)

    async def metrics(self, _: web.Request) -> web.Response:
        """GET /metrics, for Prometheus."""
        return web.Response(body=self._metrics.text(), headers={"Content-Type": _PROMETHEUS})

    async def readyz(self, _: web.Request) -> web.Response:
        """GET /readyz: 200 when there is a catalogue to answer from, else 503; and how old the view
        of the fleet is (`behind_s`, as in FleetState)."""
        ready, view, now_s = bool(self._engine.titles.epoch), self._engine.view, time.monotonic()
        said = {"ready": ready, "stale": view.is_stale(now_s), "behind_s": view.behind_s(now_s)}
        return json_response(said, status=200 if ready else 503)

    def _state(self) -> FleetState:
        return self._engine.view.state(time.monotonic())


@web.middleware
async def operators_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a web page asks: it would have an operator's browser drain boxes for it."""
    if "Origin" in request.headers:
        raise ForbiddenError("the admin listener is for operators' tools, not for web pages")
    return await handler(request)


async def openapi(_: web.Request) -> web.Response:
    """GET /v1/openapi.json: what all of this speaks."""
    return web.Response(body=document(), content_type="application/json")


async def healthz(_: web.Request) -> web.Response:
    """GET /healthz: the process is there."""
    return json_response({"ok": True})


_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
