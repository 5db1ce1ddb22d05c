"""Read the box's bottlenecks once per heartbeat: the workers' answers, counters, disk errors."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import aiohttp

from oca.agent.health import Admitting, Readings, judge
from oca.agent.metrics import Metrics
from oca.metrics import totals
from oca.reasons import CONNECTIONS_OPEN, Close

PROBE_S = 2.0
PROBES = 3
"""Connections land on any worker: of a few at once, the share answered is about the share well."""
BODY_BYTES = "oca_body_bytes_total"
FILE_ERRORS = f'oca_closes_total{{reason="{Close.FILE_ERROR.value}"}}'
SHORT_FILES = f'oca_closes_total{{reason="{Close.SHORT_FILE.value}"}}'
DRAINED_FILE = "drained"


class Vitals:
    """The latest judgement: `health`, `why`, `admit`, `served_bps`, `connections`, `draining`.
    Until the first one is `taken` nobody is told anything: a box serves after its checks pass."""

    def __init__(
        self, run_dir: Path, probe_url: str, link_bps: int, metrics: Metrics, ttl_s: float
    ) -> None:
        """`probe_url` leads to this box's own workers; empty: they are not asked. `ttl_s` is that
        of steering's answers."""
        self._admitting, self._ttl_s = Admitting(), ttl_s
        self._run_dir, self._probe_url, self._link_bps = run_dir, probe_url, link_bps
        self._metrics = metrics
        self._before: dict[str, int] | None = None
        self._before_s = 0.0
        self._refusals = 0
        self._readings_last: Readings | None = None
        self.disks, self.disks_why = 1.0, ""
        self.taken = False
        self.health, self.why, self.admit = 0.0, "not looked at yet", 1.0
        self.served_bps = self.connections = 0

    @property
    def draining(self) -> bool:
        """Whether the operator wants the box empty; a file, so that it survives a restart."""
        return (self._run_dir / DRAINED_FILE).exists()

    def drain(self, wanted: bool) -> None:
        """Ask for the box to be emptied of viewers, or let them come again."""
        path = self._run_dir / DRAINED_FILE
        if wanted:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    async def take(self) -> None:
        """One set of readings, and the judgement."""
        probes = await asyncio.gather(*(self._probe() for _ in range(PROBES)))
        now = totals(self._run_dir)
        now_s = time.monotonic()
        readings = self._readings(now, now_s, probes)
        self._before, self._before_s = now, now_s
        self._judge(readings)
        self.admit = self._admitting.next(
            readings.served_bps / readings.link_bps, now_s, self._ttl_s
        )
        self.taken = True
        self.served_bps = int(max(0.0, readings.served_bps))
        self.connections = max(0, now.get(CONNECTIONS_OPEN, 0))
        self._metrics.admit.set(self.admit)

    def note_disks(self, share: float, why: str) -> None:
        """So much of the disks' space is in use; what is wrong with the rest. It counts at once."""
        self.disks, self.disks_why = share, why
        if self._readings_last is not None:
            self._judge(self._readings_last)

    def _judge(self, readings: Readings) -> None:
        self._readings_last = readings
        readings = replace(readings, disks=self.disks, disks_why=self.disks_why)
        self.health, self.why = judge(readings)
        self._metrics.health.set(self.health)

    def _readings(self, now: dict[str, int], now_s: float, probes: list[float | None]) -> Readings:
        answered = [probe_s for probe_s in probes if probe_s is not None]
        before = now if self._before is None else self._before
        passed_s = max(1e-3, now_s - self._before_s)
        grown = {name: value - before.get(name, 0) for name, value in now.items()}
        refusals = self._metrics.disk_refusals
        errors = grown.get(FILE_ERRORS, 0) + grown.get(SHORT_FILES, 0)
        errors += refusals - self._refusals
        self._refusals = refusals
        return Readings(
            answered=len(answered) / len(probes),
            probe_s=max(answered, default=None),
            disk_errors=max(0, errors),
            served_bps=grown.get(BODY_BYTES, 0) * 8 / passed_s,
            link_bps=self._link_bps,
        )

    async def _probe(self) -> float | None:
        """Seconds until one of the workers answered anything at all, by a connection of its own."""
        if not self._probe_url:
            return 0.0
        begin_s = time.monotonic()
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=PROBE_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.options(self._probe_url, allow_redirects=False, ssl=False),
            ):
                return time.monotonic() - begin_s
        except (aiohttp.ClientError, TimeoutError):
            return None
