"""Every errand in a loop of its own: one that fails is started again, and never stops another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from oca.agent.metrics import Metrics
from oca.agent.pulse import Pulse
from wire.errors import OcaError
from wire.log import get

AGAIN_FIRST_S, AGAIN_MAX_S = 0.5, 30.0
"""A loop that fails by a fault of ours is started again after this, doubling."""

Loop = Callable[[], Coroutine[Any, Any, None]]
Errand = Callable[[], Awaitable[None]]

_log = get("agent")


async def forever(name: str, loop: Loop, metrics: Metrics) -> None:
    """Run a loop; when it fails by a fault of ours, say so and start it again."""
    pause_s = AGAIN_FIRST_S
    while True:
        begun_s = time.monotonic()
        try:
            await loop()
        except Exception:
            metrics.loop_faults.labels(name).inc()
            _log.exception("loop failed", loop=name)
        if time.monotonic() - begun_s > AGAIN_MAX_S:
            pause_s = AGAIN_FIRST_S
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, AGAIN_MAX_S)


def every(period_s: float, errand: Errand) -> Loop:
    """An errand again and again; trouble with others is logged when it comes and when it goes."""

    async def loop() -> None:
        trouble = ""
        while True:
            trouble = await _try(errand, trouble)
            await asyncio.sleep(period_s)

    return loop


def when_changed(pulse: Pulse, errand: Errand, period_s: float = AGAIN_MAX_S) -> Loop:
    """An errand now, after every change, and every `period_s` in case of trouble."""

    async def loop() -> None:
        trouble = ""
        while True:
            seen = pulse.beats
            trouble = await _try(errand, trouble)
            await pulse.wait(seen, period_s)

    return loop


async def _try(errand: Errand, trouble: str) -> str:
    try:
        await errand()
    except OcaError as exc:
        if str(exc) != trouble:
            _log.warning("trouble", why=str(exc))
        return str(exc)
    if trouble:
        _log.info("trouble over", was=trouble)
    return ""
