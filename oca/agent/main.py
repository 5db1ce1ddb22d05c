"""The agent's life: recover → go on with the last plan → every errand in a loop of its own → stop.

One failing errand never stops the others. Nothing here must be shut down in order: `kill -9` at any
moment is an ordinary end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from oca.agent.admin import admin_app
from oca.agent.knobs import Fill
from oca.agent.loops import forever
from oca.agent.manners import step_back, step_back_from_disks
from oca.agent.parts import Parts, assemble, loops_of, status
from oca.agent.pool import Pool
from oca.config import Config, split_address
from oca.metrics import WorkersCollector
from wire.errors import WireError
from wire.log import get

READ_BUFFER_BYTES = 1024 * 1024
"""Asked of the kernel at once by a fetch: fewer wake-ups per gigabyte."""
PACED_BUFFER_S = 0.25
PACED_BUFFER_BYTES_MIN = 64 * 1024
"""With a rate to keep, the kernel holds no more than this much of it beside what was read: else
megabytes per connection have left the source before the rate is felt."""

_log = get("agent")


async def run(config: Config, stop: asyncio.Event) -> None:
    """Live until `stop`. Raises OcaError when the configuration, key or store cannot be used."""
    pool = Pool(2 * config.fill.assets_parallel, partial(step_back_from_disks, config.fill))
    connector = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=30,
        socket_factory=_socket_factory(config.fill),
        ssl=trusting(config.agent.tls_ca),
    )
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, read_bufsize=READ_BUFFER_BYTES
    ) as session:
        parts = await asyncio.to_thread(assemble, config, session, pool)
        runner = await _admin(config, parts)
        tasks = [asyncio.create_task(forever(name, loop, parts.metrics))
                 for name, loop in loops_of(parts, config, session).items()]  # fmt: skip
        _log.info("agent runs", id=config.id, held=len(parts.holdings.held))
        try:
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if runner is not None:
                await runner.cleanup()
            pool.shutdown(wait=not parts.keeper.trouble)


def trusting(ca: str) -> ssl.SSLContext:
    """Whom the agent believes to be who it says: those with certificates of the CA in file `ca`,
    "" for the system's CAs. Raises WireError."""
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as exc:  # SSLError, of what is no PEM, is one
        raise WireError("agent.tls_ca", "", f"{ca}: {exc.strerror or exc}") from exc


def _socket_factory(knobs: Fill) -> Callable[[tuple[Any, ...]], socket.socket] | None:
    """Sockets with a small receive buffer, when there is a rate to keep."""
    if not knobs.rate_bps:
        return None
    streams = knobs.assets_parallel * knobs.files_parallel
    share_bytes = int(knobs.rate_bps / 8 * PACED_BUFFER_S / streams)
    size = max(PACED_BUFFER_BYTES_MIN, share_bytes)

    def make(info: tuple[Any, ...]) -> socket.socket:
        made = socket.socket(*info[:3])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        return made

    return make


async def _admin(config: Config, parts: Parts) -> web.AppRunner | None:
    """The admin listener, when there is one."""
    if not config.admin:
        return None
    parts.metrics.registry.register(WorkersCollector(Path(config.run)))
    app = admin_app(parts.metrics, parts.vitals, partial(status, parts), parts.keeper)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    host, port = split_address(config.admin, "admin")
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as exc:
        raise WireError("admin", "", f"cannot listen on {config.admin}: {exc.strerror}") from exc
    return runner


async def until_told(parent_fd: int | None = None) -> asyncio.Event:
    """An event that SIGTERM, SIGINT, or the end of the parent (EOF on its pipe) sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent_fd is not None:
        os.set_blocking(parent_fd, False)
        loop.add_reader(parent_fd, stop.set)
    return stop


def live(config: Config, parent_fd: int | None = None) -> None:
    """Run an appliance's agent until it is told to stop. Raises OcaError as `run` does.

    `parent_fd` is the reading end of the supervisor's pipe: its end is ours.
    """

    step_back(config.fill)

    async def life() -> None:
        await run(config, await until_told(parent_fd))

    uvloop.run(life())
