"""The fetcher's life: room → what is stored → workers' door → serve → stop.

An adapter. One process beside the workers owns the index, the fetches and what is evicted; hits
need no word of it. It may die at any moment: workers serve what is stored and come to the next one.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

from oca.cache.registry import make
from oca.through.disk import Room
from oca.through.hub import Hub
from oca.through.knobs import Through
from oca.through.links import Door, Link
from oca.through.lookup import Lookups
from oca.through.messages import (
    DOOR,
    RUN_FILE,
    Ask,
    FromWorker,
    Hits,
    Leave,
    Lost,
    Purge,
    Purged,
    Want,
)
from oca.through.region import Region
from oca.through.upstream import Upstream, new_session
from wire.log import get

FREE_SHARE = 0.95
"""Of what is free on the disk, the region takes no more than this share."""

_log = get("through")


class Fetcher:
    """The parts of one fetcher, joined."""

    def __init__(self, hub: Hub) -> None:
        """Nobody listens yet."""
        self.hub = hub
        self.lookups = Lookups(hub)

    def take(self, sock: socket.socket) -> None:
        """A worker came."""
        self.hub.links.add(Link(sock, self.hear, self.lose))

    def hear(self, link: Link, message: FromWorker) -> None:
        """A worker's message."""
        match message:
            case Ask():
                self.lookups.ask(link, message)
            case Want():
                self.hub.want(link, message)
            case Leave():
                self.lookups.forget(link, message.id)
                self.hub.leave(link, message.id)
            case Hits():
                self.hub.hits(message.chunks)
            case Lost():
                self.hub.lost(message.version, message.number)
            case Purge():
                link.send(Purged(self.hub.purge(message.keys, below=message.below)))

    def lose(self, link: Link) -> None:
        """A worker is gone."""
        self.lookups.lose(link)
        self.hub.lose(link)


def region_of(knobs: Through, folder: Path, held_bytes: int) -> Region:
    """The region, no larger than the disk has room for beside what it holds already."""
    free = int(shutil.disk_usage(folder).free * FREE_SHARE) + held_bytes
    size = min(knobs.dynamic_bytes, free)
    if size < knobs.dynamic_bytes:
        _log.warning("less room than dynamic_bytes", has_bytes=size, wants=knobs.dynamic_bytes)
    return Region(make(knobs.evict, max(1, size), second_request=knobs.second_request))


async def run(
    knobs: Through,
    folder: str,
    run_dir: Path,
    stop: asyncio.Event,
    sign: Callable[[], str] | None = None,
) -> None:
    """Live until `stop`. Raises WireError for a bad upstream, OSError for an unusable folder."""
    began_s = time.monotonic()
    room = Room(Path(folder))
    found = await asyncio.to_thread(lambda: list(room.kept()))
    held = sum(length for kept in found for _, length, _ in kept.chunks)
    async with new_session(knobs) as session:
        upstream = Upstream(knobs, session, sign)
        hub = Hub(room, region_of(knobs, room.folder, held), upstream, knobs)
        count = hub.restore(found)
        fetcher = Fetcher(hub)
        door = Door(run_dir / DOOR, fetcher.take)
        await asyncio.to_thread(_say_where, room.folder, run_dir)
        took_s = round(time.monotonic() - began_s, 3)
        _log.info("fetcher runs", upstream=knobs.upstream, chunks=count, took_s=took_s)
        hub.start(asyncio.create_task(_verify(hub)))
        try:
            await stop.wait()
        finally:
            door.close()
            for link in list(hub.links):
                link.close()
            hub.close()


def _say_where(folder: Path, run_dir: Path) -> None:
    (folder / RUN_FILE).write_text(str(run_dir.absolute()))


async def _verify(hub: Hub) -> None:
    """Take back what was stored before the last boot, as it proves sound."""
    verified = hub.room.unverified()
    while True:
        kept = await asyncio.to_thread(next, verified, None)
        if kept is None:
            return
        hub.restore([kept])


def live(
    knobs: Through,
    folder: str,
    run_dir: Path,
    life_fd: int | None,
    sign: Callable[[], str] | None = None,
) -> None:
    """Run until told to stop, by a signal or the end of the supervisor; raises as `run` does."""
    import uvloop

    from oca.agent.main import until_told

    async def life() -> None:
        await run(knobs, folder, run_dir, await until_told(life_fd), sign)

    uvloop.run(life())
