"""The agent's place among the processes: behind the workers for cores and for disks."""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import platform
import random
import struct
import time
from pathlib import Path

import aiohttp

from oca import ioprio
from oca.agent.courtesy import Feel, Targets, crowded, next_limit_bps
from oca.agent.flow import Flow
from oca.agent.knobs import Fill
from oca.metrics import totals
from wire.log import get

BODY_BYTES = "oca_body_bytes_total"
PAGE_BYTES = 4096
PROBE_S = 2.0
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")
"""sched_attr(2): size, policy, flags, nice, priority, runtime, deadline, period."""
SLICE_NS = 100_000_000
"""The longest a scheduler grants (Linux ≥ 6.12). It is no time that the agent may keep a core:
whoever wakes up with a shorter slice takes the core at once (EEVDF, PREEMPT_SHORT)."""

_log = get("fill")


def step_back(knobs: Fill) -> None:
    """At start, before any thread: the process's niceness and cores. What the system forbids is
    logged, and nothing else changes."""
    try:
        if knobs.nice:
            give_way(0, knobs.nice)
        if knobs.cores:
            os.sched_setaffinity(0, knobs.cores)
    except (OSError, ValueError) as exc:
        _log.warning("the agent keeps its priority", why=str(exc))


def give_way(thread: int, nice: int) -> None:
    """A thread (0: this one, and those it starts) becomes batch work in the longest slices, so
    that whoever wakes up beside it runs at once; raises OSError."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        raw = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_BATCH, 0, nice, 0, SLICE_NS, 0, 0)
        libc = ctypes.CDLL(None, use_errno=True)
        if not libc.syscall(number, thread, raw, 0):
            return
    os.setpriority(os.PRIO_PROCESS, thread, nice)


def step_back_from_disks(knobs: Fill) -> None:
    """In each thread that touches disks: its I/O priority (ioprio_set(2)), where one matters."""
    if knobs.io_class == "normal":
        return
    why = ioprio.give_way(ioprio.IDLE if knobs.io_class == "idle" else ioprio.LOW)
    if why:
        _log.warning("fill keeps its I/O priority", why=why)


def disk_read_s(path: Path) -> float | None:
    """Seconds that one page takes to come from the disk, past the page cache; None when this file
    system cannot say. Blocks."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        pages = os.fstat(fd).st_size // PAGE_BYTES
        if not pages:
            return None
        with mmap.mmap(-1, PAGE_BYTES) as page:
            begin_s = time.monotonic()
            os.preadv(fd, [page], random.randrange(pages) * PAGE_BYTES)
            return time.monotonic() - begin_s
    except OSError:
        return None
    finally:
        os.close(fd)


class Manners:
    """Looks once a second how viewers fare, and tells the flow what fill may take."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        run_dir: Path,
        probe_url: str,
        link_bps: float,
        knobs: Fill,
        flow: Flow,
    ) -> None:
        """`probe_url` leads to the box's own workers; "": they are not asked."""
        self._session, self._run_dir, self._probe_url = session, run_dir, probe_url
        self._link_bps, self._flow = link_bps, flow
        self._targets = Targets(knobs.yield_answer_s, knobs.yield_disk_s)
        self._served: tuple[float, int] | None = None
        self.why = ""
        self.sample: Path | None = None
        """A stored file that the disk may be asked for."""

    async def look(self) -> None:
        """Once: measure, and raise or lower the limit."""
        now_s = time.monotonic()
        served_bps, fill_bps = self._served_bps(now_s), self._flow.bps(now_s)
        answer_s = disk_s = None
        if served_bps and fill_bps > 1:
            answer_s = await self._probe()
            if self.sample is not None:
                disk_s = await asyncio.to_thread(disk_read_s, self.sample)
        feel = Feel(served_bps, fill_bps, self._link_bps, answer_s, disk_s)
        why = crowded(feel, self._targets)
        if why and why != self.why:
            _log.info("fill yields to viewers", why=why, fill_bps=round(fill_bps))
        self.why = why
        self._flow.yield_to(next_limit_bps(self._flow.courtesy_bps, feel, self._targets))

    def _served_bps(self, now_s: float) -> float:
        """What viewers took since the last look."""
        served = totals(self._run_dir).get(BODY_BYTES, 0)
        before, self._served = self._served, (now_s, served)
        if before is None or now_s <= before[0]:
            return 0.0
        return max(0, served - before[1]) * 8 / (now_s - before[0])

    async def _probe(self) -> float | None:
        """Seconds until a worker answered; late is late, however it ends."""
        if not self._probe_url:
            return None
        begin_s = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=PROBE_S)
        try:
            async with self._session.options(
                self._probe_url, allow_redirects=False, ssl=False, timeout=timeout
            ):
                pass
        except (aiohttp.ClientError, TimeoutError):
            return PROBE_S
        return time.monotonic() - begin_s
