"""The filler compares the plan that holds now, whatever comes while it looks at the disk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from oca.agent.fetch import Fetcher
from oca.agent.filler import Filler
from oca.agent.holdings import Holdings
from oca.agent.knobs import Fill
from oca.agent.metrics import Metrics
from oca.agent.pulse import Pulse
from oca.agent.purse import Purse
from oca.store import Store
from tests.oca.agent.test_rules import held, plan, want


class SlowDisk:
    """Stands in for the fetcher's threads: during the first look at the disk, something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = [happens]

    async def blocking(self, call: Callable[..., Any], *args: Any) -> Any:
        """Run `call` after letting others have their turn."""
        await asyncio.sleep(0)
        if self._happens:
            self._happens.pop()()
        return call(*args)


async def test_a_plan_that_comes_during_the_comparison_is_not_taken_for_compared(
    tmp_path: Path,
) -> None:
    """Generation 2 drops the asset; it must leave, though 1 was being compared when 2 came."""
    pulse = Pulse()
    holdings = Holdings(pulse.beat)
    holdings.reset(held(1))
    far = int(time.time()) + 1000
    holdings.follow(plan(want(1), generation=1, expires_s=far))
    disk = SlowDisk(lambda: holdings.follow(plan(generation=2, expires_s=far)))
    store = Store(tmp_path)
    filler = Filler(
        "a1",
        store,
        holdings,
        pulse,
        cast(Fetcher, disk),
        cast(Any, None),
        Purse(tmp_path, 0),
        Fill(),
        Metrics(),
    )
    running = asyncio.create_task(filler.run())
    await asyncio.sleep(0.3)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert holdings.leaving == {1}
