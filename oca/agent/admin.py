"""What the operator sees of one box: /metrics, /healthz, /readyz, /v1/… Never public."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from oca.agent.keeper import Keeper
from oca.agent.metrics import Metrics
from oca.agent.vitals import Vitals
from wire.web import json_response, problems


def admin_app(
    metrics: Metrics,
    vitals: Vitals,
    status: Callable[[], dict[str, Any]],
    keeper: Keeper,
) -> web.Application:
    """The admin listener; the registry of `metrics` has the workers' counters as well."""

    async def show_metrics(_request: web.Request) -> web.Response:
        body = generate_latest(metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def show_health(_request: web.Request) -> web.Response:
        value = {"health": vitals.health, "why": vitals.why, "admit": vitals.admit}
        return json_response(value, status=200 if vitals.health > 0 else 503)

    async def show_ready(_request: web.Request) -> web.Response:
        ready = vitals.taken and vitals.health > 0 and not vitals.draining
        why = "draining" if vitals.draining else vitals.why
        return json_response({"ready": ready, "why": why}, status=200 if ready else 503)

    async def show_status(_request: web.Request) -> web.Response:
        return json_response(status())

    async def drain(request: web.Request) -> web.Response:
        vitals.drain(request.method == "PUT")
        return json_response({"draining": vitals.draining})

    async def show_disks(_request: web.Request) -> web.Response:
        return json_response(await asyncio.to_thread(keeper.status))

    async def switch_disk(request: web.Request) -> web.Response:
        await keeper.switch(request.query.get("path", ""), on=request.method == "PUT")
        return await show_disks(request)

    app = web.Application(middlewares=[problems])
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", show_health)
    app.router.add_get("/readyz", show_ready)
    app.router.add_get("/v1/status", show_status)
    app.router.add_get("/v1/disks", show_disks)
    app.router.add_put("/v1/disks", switch_disk)
    app.router.add_delete("/v1/disks", switch_disk)
    app.router.add_put("/v1/drain", drain)
    app.router.add_delete("/v1/drain", drain)
    return app
