"""The route table of a running replica: built anew when routes changed, kept for the next start."""

from __future__ import annotations

import asyncio
from pathlib import Path

from steering.locate import RouteTable
from steering.offload import build_elsewhere
from steering.view import View
from wire.errors import OcaError, WireError
from wire.log import get

INLINE_ROUTES_MAX = 5_000
"""Milliseconds on the loop; a process of its own would take longer to start."""
_log = get("tables")


class TableBuilder:
    """Builds tables one after the other; many wishes become one build."""

    def __init__(self, view: View, folder: Path) -> None:
        """Swaps the table of `view`; a large one is kept in `folder`."""
        self._view, self._file = view, folder / "routes.table"
        self._lock = asyncio.Lock()
        self._wished = self._built = 0

    async def rebuild(self, now_s: float) -> None:
        """Return when a table that holds what was reported before this call is in place; raises
        UnavailableError."""
        self._wished += 1
        mine = self._wished
        async with self._lock:
            if self._built >= mine:
                return
            begun = self._wished
            sources = self._view.sources(now_s)
            if sum(len(source.routes) for source in sources) <= INLINE_ROUTES_MAX:
                self._view.set_table(RouteTable.build(sources))
            else:
                made = await build_elsewhere(sources, self._file)
                self._view.set_table(RouteTable.from_buffer(made))
            self._built = begun

    def load(self, now_s: float) -> bool:
        """Go on with the routes of the snapshot; says whether the table must be built anew, as a
        large one may be older than they are."""
        sources = self._view.sources(now_s)
        if sum(len(source.routes) for source in sources) <= INLINE_ROUTES_MAX:
            self._view.set_table(RouteTable.build(sources))
            return False
        try:
            self._view.set_table(RouteTable.from_buffer(self._file.read_bytes()))
        except (OSError, WireError) as exc:
            _log.warning("the table of the last run is not used", why=str(exc))
        return True

    async def refresh(self, now_s: float) -> None:
        """As `rebuild`, where nobody waits for it: what goes wrong is said."""
        try:
            await self.rebuild(now_s)
        except OcaError as exc:
            _log.error("the route table was not built", why=str(exc))
