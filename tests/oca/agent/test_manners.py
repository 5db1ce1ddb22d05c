"""The agent stands back: for cores, for disks, and when viewers feel the fill."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
from aiohttp import web

from oca.agent.flow import Flow
from oca.agent.knobs import Fill
from oca.agent.manners import BODY_BYTES, Manners, disk_read_s
from oca.counters import open_metrics
from oca.reasons import SLOT
from tests.oca.agent.world import served

STAND_BACK = """
import json, os, sys, threading
from oca.agent.knobs import Fill
from oca.agent.manners import step_back, step_back_from_disks
step_back(Fill(nice=7, cores=[min(os.sched_getaffinity(0))]))
def look():
    step_back_from_disks(Fill(io_class="idle"))
    import ctypes
    priority = ctypes.CDLL(None).syscall(252, 1, 0) if os.uname().machine == "x86_64" else 3 << 13
    print(json.dumps([os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0)),
                      os.sched_getscheduler(0) == os.SCHED_BATCH, priority >> 13]))
thread = threading.Thread(target=look)
thread.start()
thread.join()
"""


def test_the_agents_threads_come_after_the_workers() -> None:
    """Niceness, batch scheduling, cores and the I/O class hold in threads started later."""
    done = subprocess.run([sys.executable, "-c", STAND_BACK], capture_output=True, text=True)
    assert json.loads(done.stdout) == [7, 1, True, 3], done.stderr


async def test_fill_yields_while_viewers_wait_and_takes_it_back_after(tmp_path: Path) -> None:
    """Workers that answer late halve the fill each second; when they answer soon it recovers, and
    when nobody watches nothing holds it."""
    late_s = 0.3

    async def answer(_request: web.Request) -> web.Response:
        await asyncio.sleep(late_s)
        return web.Response()

    app = web.Application()
    app.router.add_route("OPTIONS", "/", answer)
    slots = open_metrics(tmp_path, 0)
    flow = Flow(0, lambda _count: None, time.monotonic())
    async with served(app) as url, aiohttp.ClientSession() as session:
        manners = Manners(session, tmp_path, url + "/", 10**9, Fill(), flow)

        async def look(viewers_bytes: int) -> float:
            slots[SLOT[BODY_BYTES]] += viewers_bytes
            flow.came(50_000_000, time.monotonic())
            await manners.look()
            return flow.courtesy_bps

        await look(0)
        assert await look(0) == 0.0
        await asyncio.sleep(0.1)
        first_bps = await look(10_000_000)
        assert first_bps > 0 and manners.why == "workers answer late"
        await asyncio.sleep(0.1)
        second_bps = await look(10_000_000)
        assert second_bps < first_bps and flow.limit_bps == second_bps
        late_s = 0.0
        await asyncio.sleep(0.2)
        assert await look(1_000_000) > second_bps and manners.why == ""
        await asyncio.sleep(0.1)
        assert await look(0) == 0.0 and flow.limit_bps == 0


def test_a_disk_says_how_long_a_page_takes(tmp_path: Path) -> None:
    """A time on a disk, nothing for what is no file or too small."""
    path = tmp_path / "x"
    path.write_bytes(bytes(1 << 20))
    took_s = disk_read_s(path)
    assert took_s is None or 0 < took_s < 5  # None: a file system without O_DIRECT
    assert disk_read_s(tmp_path / "no") is None
    (tmp_path / "small").write_bytes(b"x")
    assert disk_read_s(tmp_path / "small") is None
