"""Wait, don't poll: one who changes something wakes all who wait for a change."""

from __future__ import annotations

import asyncio


class Pulse:
    """`beats` counts the changes; `wait(seen)` returns when it is beyond what the waiter saw."""

    def __init__(self) -> None:
        """No change yet."""
        self.beats = 0
        self._event = asyncio.Event()

    def beat(self) -> None:
        """Something changed."""
        self.beats += 1
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seen: int, timeout_s: float | None) -> None:
        """Until `beats` differs from `seen`, or `timeout_s` has passed (None: for ever)."""
        if self.beats != seen:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return
