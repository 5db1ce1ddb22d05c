"""A replica with a world of full size in it, put there without the network: for measuring answers.

`python -m benchmarks.steering_rig MODE --port N` serves: `empty` is the bare aiohttp handler that
answers are compared with, `answers` the replica as it is, `fresh` one that signs every answer anew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import signal
import tempfile
import time
from pathlib import Path

import aiohttp
import numpy as np
import uvloop
from aiohttp import web

from benchmarks.steering_world import (
    EPOCH,
    FULL,
    Size,
    announcements,
    box_keys,
    fleet,
    fleet_text,
    independent,
    planned,
    titles,
)
from steering.config import Catalogue, Config, Tokens
from steering.loading import Loaded
from steering.locate import RouteTable, Source
from steering.packed import Packed, pack
from steering.server import Replica
from steering.titles import table_of
from steering.tokens import TokenMint
from steering.view import View
from wire import log
from wire.catalogue import Title
from wire.fleet import Fleet
from wire.keys import SigningKey, new_private_pem, parse_private_key
from wire.reports import Heartbeat, Route
from wire.web import serve_until_stopped

DATA = Path("/work/shared/data")
CACHE = Path("var/bench-steering")
KEYS = 4


def pems() -> list[str]:
    """The boxes' keys, the same for every process of a run."""
    file = CACHE / "keys.json"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([new_private_pem().decode() for _ in range(KEYS)]))
    found: list[str] = json.loads(file.read_text())
    return found


def route_sources(size: Size) -> list[Source]:
    """Every site's announcements, from the last run's files where there are any."""
    folder = CACHE / f"routes-{size.exchanges}-{size.embedded}"
    if not folder.exists():
        by_site: dict[str, list[Route]] = {}
        for site, route in announcements(DATA, size):
            by_site.setdefault(site, []).append(route)
        part = folder.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        for site, found in by_site.items():
            (part / site).write_bytes(pack(found).to_bytes())
        part.rename(folder)
    return [
        Source(file.name, Packed.from_buffer(file.read_bytes()))
        for file in sorted(folder.iterdir())
    ]


def fill_view(view: View, size: Size, held: str, now_s: float) -> None:
    """Every box has reported: a heartbeat, and what it holds (`independent` or `planned`)."""
    rng = np.random.default_rng(1)
    make = {"independent": independent, "planned": planned}[held]
    for name, record in view.records.items():
        record.inventory, record.inventory_epoch = make(size, rng), EPOCH
        record.inventory_at = (1, 1)
        beat = Heartbeat(
            appliance=name, epoch=EPOCH, boot=1, seq=1, health=1.0, inventory_seq=1,
            capacity_bps=record.spec.link_bps,
        )  # fmt: skip
        view.heartbeat(beat, now_s)
    sources = route_sources(size)
    for source in sources:
        view.records[f"{source.site}-b0"].routes = source.routes
    # The load generator's own address has an embedded site of 8 boxes and an exchange of 48.
    for site, prefix in (("e0", "127.0.0.0/16"), ("x0", "127.0.0.0/8")):
        own = Source(site, pack([Route(prefix=prefix, as_path=(64_500,))]))
        view.records[f"{site}-b1"].routes = own.routes
        sources.append(own)
    view.set_table(RouteTable.build(sources))


class FreshTokens(TokenMint):
    """Forgets every token at once, so that each answer costs a signature."""

    def for_title(self, title: Title, home: str, now_s: float) -> str:
        """As always, but signed anew."""
        self._made.clear()
        return super().for_title(title, home, now_s)


def loaded(folder: Path, made: Fleet, key: SigningKey) -> Loaded:
    """A configuration as `steering serve` reads it."""
    config = Config(
        fleet="", state="state", catalogue=Catalogue(url="http://127.0.0.1:9"),
        tokens=Tokens(key_file="", kid=key.kid),
    )  # fmt: skip
    path, text = folder / "steering.toml", fleet_text(made)
    return Loaded(path, config, made, text, key, (), folder / "state")


async def make_replica(
    folder: Path, session: aiohttp.ClientSession, size: Size, held: str, *, fresh: bool
) -> Replica:
    """A replica of a full world."""
    key = parse_private_key(new_private_pem(), "k1", "key")
    replica = Replica(loaded(folder, fleet(size, box_keys(pems())), key), session)
    replica.engine.set_titles(table_of(titles(size)))
    # Heard in the far future, so that nobody falls silent while there are no heartbeats.
    fill_view(replica.view, size, held, time.monotonic() + 1e6)
    if fresh:
        tokens = replica.engine.tokens
        tokens.__class__ = FreshTokens
    gc.collect()
    gc.freeze()
    return replica


async def serve(mode: str, port: int, size: Size, held: str) -> None:
    """Until SIGTERM; prints `ready` when it listens soon."""
    address = f"127.0.0.1:{port}"
    if mode == "empty":
        app = web.Application()
        app.router.add_get("/v1/steer", _empty)
        await serve_until_stopped({address: app})
        return
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession() as session:
            replica = await make_replica(Path(folder), session, size, held, fresh=mode == "fresh")
            front = replica.front()
            sweeping = asyncio.create_task(front.sweep())
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _swap, replica)
            await serve_until_stopped({address: replica.public()}, {address: front.lane})
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping


def _swap(replica: Replica) -> None:
    """A full table is built and put in place, as after a report that changed something."""
    task = asyncio.create_task(replica.tables.rebuild(time.monotonic()))
    task.add_done_callback(lambda done: print("swapped", done.exception(), flush=True))


async def _empty(_: web.Request) -> web.Response:
    return web.Response()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["empty", "answers", "fresh"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--held", default="independent", choices=["independent", "planned"])
    parser.add_argument("--small", action="store_true", help="a hundredth of the world")
    asked = parser.parse_args()
    log.configure("steering", "info")
    size = Size(exchanges=5, embedded=95, assets=100_000) if asked.small else FULL
    uvloop.run(serve(asked.mode, asked.port, size, asked.held))


if __name__ == "__main__":
    main()
