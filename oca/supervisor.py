"""Start the crew → serve → drain → stop; on SIGHUP another configuration, one place at a time.

Owns the listening sockets, so that no queue is lost whoever dies. Children hold the read end of a
pipe that ends with this process, however it dies.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from oca.place import Place
from wire.errors import OcaError
from wire.log import get
from wire.notify import Notifier

KILL_AFTER_S = 5.0  # beyond the drain
LOOK_S = 1.0
_log = get("supervisor")


class Settings(Protocol):
    """What the crew runs by."""

    @property
    def drain_s(self) -> float:
        """How long the workers may take to finish, seconds."""

    def renew(self) -> None:
        """Take up what the operator wrote; raises OcaError, and then nothing has changed."""

    def revert(self) -> None:
        """Go back to what was in force before `renew`."""


class Supervisor:
    """Workers and the agent, from start to stop."""

    def __init__(
        self,
        workers: Sequence[Place],
        agents: Sequence[Place],
        settings: Settings,
        notifier: Notifier,
    ) -> None:
        """`workers` are replaced while they serve, `agents` (at most one) by stop and start."""
        self._workers, self._agents = workers, agents
        self._settings, self._notifier = settings, notifier
        self._stop, self._hup = asyncio.Event(), asyncio.Event()
        self._on_tty = os.isatty(0)

    async def run(self, beside: Callable[[], Awaitable[object]] | None = None) -> None:
        """start → serve → drain → stop. `beside` is started with the crew."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hup)
        tasks: list[asyncio.Task[None]] = []
        try:
            for place in (*self._workers, *self._agents):
                await place.start()
            if beside is not None:
                await beside()
            errands = (self._look(), self._reload(), self._notifier.feed(self.is_well))
            tasks = [asyncio.create_task(errand) for errand in errands]
            await self._stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await self._drain()

    def is_well(self) -> bool:
        """Whether every worker answers."""
        return all(place.is_well() for place in self._workers)

    def missing(self) -> list[str]:
        """The workers that do not answer, by name; for /readyz and /healthz."""
        return [place.name for place in self._workers if not place.is_well()]

    @property
    def draining(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def _on_hup(self) -> None:
        """Reload; but when the terminal it was started from is gone, stop."""
        if self._on_tty and not os.isatty(0):
            self._stop.set()
        else:
            self._hup.set()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for place in self._workers:
                place.look()

    async def _reload(self) -> None:
        """READY when all serve; then whenever told, another configuration and another crew."""
        for place in self._workers:
            await place.serving()
        self._notifier.ready("serving")
        while True:
            await self._hup.wait()
            self._hup.clear()
            self._notifier.reloading("reloading")
            self._notifier.ready(await self._roll())

    async def _roll(self) -> str:
        """One rolling restart by new settings, or none at all; what became of it, in words."""
        try:
            self._settings.renew()
        except (OcaError, OSError) as exc:
            _log.error("reload refused, the old configuration stays", why=str(exc))
            return f"serving by the old configuration: {exc}"
        done: list[Place] = []
        for place in self._workers:
            if not await place.replace():
                self._settings.revert()
                for changed in done:
                    await changed.replace()
                _log.error("reload given up, the old configuration stays", at=place.name)
                return "serving by the old configuration: no worker starts by the new one"
            done.append(place)
        for agent in self._agents:
            agent.renew()
        _log.info("reloaded", workers=len(done))
        return "serving, reloaded"

    async def _drain(self) -> None:
        """Ask all to finish; whoever is late is killed."""
        drain_s = self._settings.drain_s
        self._notifier.stopping("draining", drain_s + 2 * KILL_AFTER_S)
        places = (*self._workers, *self._agents)
        for place in places:
            place.stop()
        waits = [asyncio.create_task(place.ended()) for place in places]
        _done, late = await asyncio.wait(waits, timeout=drain_s + KILL_AFTER_S)
        if late:
            for place in places:
                place.stop(signal.SIGKILL)
        await asyncio.gather(*waits)


def life_pipe() -> int:
    """The read end of a pipe whose write end only this process holds: it ends when we do."""
    reader, _writer = os.pipe()
    os.set_blocking(reader, False)
    return reader
