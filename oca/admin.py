"""/metrics, /healthz and /readyz where there is no agent; an appliance's agent has its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from oca.metrics import metrics_text
from wire.errors import OcaError


async def start_admin(
    run_dir: Path,
    host: str,
    port: int,
    missing: Callable[[], Sequence[str]],
    draining: Callable[[], bool],
) -> web.AppRunner:
    """Listen on host:port until the runner is cleaned up. Raises OcaError when that is taken.

    `missing` names the workers that do not answer; `draining` is whether we are about to stop.
    """

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(
            body=metrics_text(run_dir), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def show_health(_request: web.Request) -> web.Response:
        return _verdict([f"{name} does not answer" for name in missing()])

    async def show_ready(_request: web.Request) -> web.Response:
        faults = [f"{name} does not answer" for name in missing()]
        return _verdict([*faults, "draining"] if draining() else faults)

    app = web.Application()
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", show_health)
    app.router.add_get("/readyz", show_ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as exc:
        await runner.cleanup()
        raise OcaError(
            f"cannot listen on {host}:{port} (admin): {os.strerror(exc.errno or 0)}"
        ) from exc
    return runner


def _verdict(faults: Sequence[str]) -> web.Response:
    """200 and `ok`, or 503 and a fault a line."""
    return web.Response(status=503 if faults else 200, text="\n".join(faults or ["ok"]) + "\n")
