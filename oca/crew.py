"""Put a supervisor's crew together: sockets, places for workers and the agent, then run it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from oca.admin import start_admin
from oca.counters import Generation, nobody_connected
from oca.listeners import listeners
from oca.place import Books, Place, agent_duty, fetcher_duty, worker_duty
from oca.supervisor import Settings, Supervisor, life_pipe
from wire.log import get
from wire.notify import notifier

_log = get("supervisor")


class Crew:
    """Workers for one address, and perhaps an agent."""

    def __init__(
        self, run_dir: Path, address: tuple[str, int], workers: int, args: Sequence[str]
    ) -> None:
        """Listen, and make `workers` places; `args` tell a worker what it serves.

        When systemd passed the sockets, every one of them has a worker; when it passed fewer than
        there are workers, some share one. Raises ListenError.
        """
        Generation(run_dir)
        self._run_dir = run_dir
        sockets = listeners(*address, workers)
        self._life_fd = life_pipe()
        books = Books(partial(nobody_connected, run_dir))
        self._workers = [
            Place(
                worker_duty(
                    i,
                    sockets[i % len(sockets)],
                    self._life_fd,
                    [*args, "--run", str(run_dir)],
                    books,
                )
            )
            for i in range(max(workers, len(sockets)))
        ]
        self._agents: list[Place] = []
        self._sockets = sockets
        host, port = sockets[0].getsockname()[:2]
        self.shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if address[1] not in (0, port):
            _log.warning("systemd's socket is not on the port of `listen`", port=port)

    def add_agent(self, args: Sequence[str]) -> None:
        """An appliance has one."""
        self._agents.append(Place(agent_duty(args, self._life_fd)))

    def add_fetcher(self, args: Sequence[str]) -> None:
        """Whoever pulls through has one."""
        args = [*args, "--run", str(self._run_dir)]
        self._agents.append(Place(fetcher_duty(args, self._life_fd)))

    def run(self, settings: Settings, admin: tuple[str, int] | None) -> None:
        """Until SIGTERM or SIGINT; with an admin address when the agent has none."""
        asyncio.run(self._run(settings, admin))

    async def _run(self, settings: Settings, admin: tuple[str, int] | None) -> None:
        boss = Supervisor(self._workers, self._agents, settings, notifier())

        async def beside() -> None:
            if admin is not None:
                await start_admin(self._run_dir, *admin, boss.missing, lambda: boss.draining)

        await boss.run(beside)
