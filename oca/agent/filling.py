"""What goes on beside the filling: yield to viewers, keep the books, tell peers what is coming."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import islice
from pathlib import Path

from oca.agent.filler import Filler
from oca.agent.holdings import Holdings
from oca.agent.loops import Loop, every
from oca.agent.manners import Manners
from oca.agent.purse import Purse
from oca.coming import say_coming
from oca.store import Store
from wire.log import get

LOOK_S = 1.0
COMING_S = 3.0
"""How often peers' question "do you fetch this?" gets a new answer; one is believed for 15 s."""
PROGRESS_S = 30.0
SAMPLES = 64
"""The disk is asked for one of so many stored files, chosen anew each minute or so."""

_log = get("fill")


class Chores:
    """The filler's errands, each in a loop of its own."""

    def __init__(
        self,
        run_dir: Path,
        filler: Filler,
        purse: Purse,
        manners: Manners,
        holdings: Holdings,
        store: Store,
    ) -> None:
        """One of each."""
        self._run_dir, self._filler, self._purse = run_dir, filler, purse
        self._manners, self._holdings, self._store = manners, holdings, store
        self._said: list[int] = []

    def loops(self) -> dict[str, Loop]:
        """The errands by name."""
        return {
            "manners": every(LOOK_S, self.yield_to_viewers),
            "purse": every(LOOK_S, self.keep_books),
            "coming": every(COMING_S, self.tell_peers),
            "progress": every(PROGRESS_S, self.say_progress),
        }

    @property
    def yields(self) -> str:
        """What viewers lack because of the fill, "" when they lack nothing."""
        return self._manners.why

    async def yield_to_viewers(self) -> None:
        """Once: see how viewers fare, and set the fill's limit."""
        if self._manners.sample is None or random.random() < LOOK_S / 60:
            self._manners.sample = await asyncio.to_thread(self._sample)
        await self._manners.look()
        self._filler.show_flow()

    def _sample(self) -> Path | None:
        """Some stored file; None when there is none."""
        assets = list(islice(self._holdings.held, SAMPLES))
        if not assets:
            return None
        folder = self._store.shelf(random.choice(assets))
        try:
            files = [path for path in folder.iterdir() if not path.name.startswith(".")]
        except OSError:
            return None
        return max(files, key=lambda path: path.stat().st_size, default=None)

    async def keep_books(self) -> None:
        """Once: write down what was spent, when more was than is written."""
        if self._purse.is_due:
            await asyncio.to_thread(self._purse.keep, ahead=True)

    async def tell_peers(self) -> None:
        """Once: say what is coming; a disk that refuses costs the site a second copy, no more."""
        coming = self._filler.coming()
        if not coming and not self._said:
            return
        try:
            await asyncio.to_thread(say_coming, self._run_dir, coming, time.time())
        except OSError as exc:
            _log.warning("peers are not told what is coming", why=str(exc))
        self._said = coming

    async def say_progress(self) -> None:
        """Once: a line in the log."""
        self._filler.log_progress()
