"""/metrics and /healthz of `oca serve --root --admin`; an appliance's agent has its own."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from oca.metrics import metrics_text


async def start_admin(run_dir: Path, host: str, port: int) -> web.AppRunner:
    """Listen on host:port until the runner is cleaned up. Raises OSError when that is taken."""

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(
            body=metrics_text(run_dir), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def show_health(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application()
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", show_health)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
