"""A box with all its parts that dies at chosen and at random moments, under clients who compare.

Two disks, an agent that fills and drops by plans that change with every life, pull-through for
all else in a region too small for it. What it was doing when it died is read off the disks.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from tests.faults.test_disks import free_port
from tests.faults.world import Box
from tests.oca.agent.test_killed import toml
from tests.oca.agent.world import eventually, served
from tests.oca.through.killing import Clients, Tally, check_chunks
from tests.oca.through.upstreams import Thing, Upstream
from wire.token import Token, mint, scope_of

PLANNED, PLANNED_AT_ONCE = range(24), 14
FILES, FILE_BYTES_MAX = 24, 50_000
"""Many small ones: an asset is on its way in, or out, for a while."""
WILD = range(100, 112)
"""Assets that no plan ever names."""
WILD_BYTES = 3_300_000
REGION_BYTES = 16 * 1024**2
"""Less than all that is not planned: there is always something to evict."""
SIGHT_WITHIN_S = 4.0
CLIENTS = 5
PAUSE_S = 0.02
"""Between two pieces of what a source sends: fetches last long enough to die in."""
RECENTLY_S = 0.05
ASSASSIN = """
import os, signal, sys, time
group, patience_s, *folders = sys.argv[1:]
end_s = time.monotonic() + float(patience_s)
while time.monotonic() < end_s:
    if any(os.listdir(folder) for folder in folders):
        os.killpg(int(group), signal.SIGKILL)
        break
    time.sleep(0.0002)
"""
"""Kills a process group when something is in one of the folders: milliseconds, and our own process
is busy with clients."""


class DyingBox:
    """`hits` counts what was under way at the moments of death, `tally` what clients saw."""

    def __init__(self, folder: Path, seed: int, serving_within_s: float) -> None:
        """Nothing runs yet; `seed` draws plans and moments. A life that does not serve within
        `serving_within_s` fails."""
        self._serving_within_s = serving_within_s
        self.rng, self.hits, self.tally = random.Random(seed), Counter[str](), Tally()
        self.starts_s: list[float] = []
        """From each start to the first right answer."""
        self.box = Box(folder, [folder / "d1", folder / "d2"], free_port(), free_port())
        self.upstream = Upstream()
        self.bodies: dict[str, bytes] = {}
        for number in (*PLANNED, *WILD):
            self._make(number)
        scope = scope_of([*PLANNED, *WILD])
        token = mint(Token(exp=2**33, cdniuc=scope, home="ispa"), self.box.signer)
        self.targets = {
            path.replace("/seg", f";URISigningPackage={token}/seg"): body
            for path, body in self.bodies.items()
        }
        self.clients = Clients(self.box.port, self.targets, self.tally)
        self._wanted: set[int] = set()
        self._chunks: set[str] = set()
        self._evicted_s = 0.0

    def _make(self, number: int) -> None:
        sizes = [self.rng.randrange(1, FILE_BYTES_MAX) for _ in range(FILES)]
        self.box.world.library.add(number, *([WILD_BYTES] if number in WILD else sizes))
        for name, body in self.box.world.library.content[number].items():
            path = f"/a/{number}/{name}"
            self.bodies[path] = body
            fresh = {"Cache-Control": f"max-age={self.rng.choice((1, 60))}"}
            self.upstream.things[path] = Thing(body, fresh, gap_s=PAUSE_S / 4)

    @asynccontextmanager
    async def surroundings(self) -> AsyncIterator[Path]:
        """Origin, fill, steering and upstream; the box's configuration file."""

        async def slow(request, file, data, start):
            return await self.box.origin.answer(request, file, data, start, pause_s=PAUSE_S)

        box, world = self.box, self.box.world
        box.origin.fault = slow
        async with AsyncExitStack() as stack:
            stack.callback(self.upstream.close)
            urls = [
                await stack.enter_async_context(served(one.app()))
                for one in (box.origin, world.fill, box.steering)
            ]
            world.source("origin", urls[0])
            timing = {"heartbeat_s": 0.3, "drop_ttl_s": 0, "drop_idle_s": 0}
            world.settings["agent"] |= {"fill": urls[1], "steering": [urls[2]], **timing}
            world.settings |= {
                "workers": 2,
                "through": {
                    "policy": "fetch",
                    "upstream": self.upstream.url,
                    "dynamic_bytes": REGION_BYTES,
                },
            }
            config = world.folder / "box.toml"
            config.write_text(toml(world.tree()))
            yield config

    async def lives(self, aims: list[str]) -> None:
        """One for each aim, with another plan each time; raises AssertionError."""
        async with self.surroundings() as config:
            with self.clients.asking(CLIENTS):
                for number, aim in enumerate(aims):
                    await self._live(config, number + 1, aim)
                    await asyncio.to_thread(self._look)
            await self._settle(config, len(aims) + 1)

    def _plan(self, generation: int) -> None:
        wanted = self.rng.sample(PLANNED, PLANNED_AT_ONCE)
        world = self.box.world
        world.fill.publish(world.wanting(generation, *wanted, force=True))
        self._wanted = set(wanted)

    async def _live(self, config: Path, generation: int, aim: str) -> None:
        self._plan(generation)
        began_s = time.monotonic()
        process = await start(config)
        try:
            if aim == "start":
                await asyncio.sleep(self.rng.uniform(0, 1.2))
            else:
                await asyncio.to_thread(self._await_serving, began_s)
                await self._moment(aim, process.pid)
        finally:
            self.hits["fetching"] += bool(self.upstream.answering)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            killed_s = time.monotonic()
            await process.wait()
        self._note_chunks()
        self.hits["evicting"] += killed_s - self._evicted_s < RECENTLY_S
        self.hits["lives"] += 1

    def _await_serving(self, began_s: float) -> None:
        target = self.rng.choice(list(self.targets))
        body = self.targets[target]
        answered = False
        while not answered:
            with suppress(EOFError, OSError):
                answered = self.clients.check(target, ["Range: bytes=0-0"], body[:1], "a byte")
            took_s = time.monotonic() - began_s
            assert took_s < self._serving_within_s, f"{target[:8]} not served after {took_s:.1f} s"
            time.sleep(0.01)
        self.starts_s.append(took_s)

    async def _moment(self, aim: str, group: int) -> None:
        """Wait for the moment to die in."""
        self._note_chunks()
        sights: dict[str, Callable[[], bool]] = {
            "fill": lambda: bool(self._found("incoming/*/.*.part")),
            "fetch": lambda: bool(self.upstream.answering),
            "evict": self._note_chunks,
        }
        if aim in sights:
            await asyncio.to_thread(await_sight, sights[aim])
        elif aim == "drop":
            folders = [str(disk / "trash") for disk in self.box.disks]
            args = ["-ISc", ASSASSIN, str(group), str(SIGHT_WITHIN_S), *folders]
            await (await asyncio.create_subprocess_exec(sys.executable, *args)).wait()
        else:
            await asyncio.sleep(self.rng.uniform(0, 1.5))
        if aim == "fill":
            await asyncio.sleep(self.rng.uniform(0, 0.1))

    def _found(self, pattern: str) -> list[Path]:
        return [path for disk in self.box.disks for path in disk.glob(pattern)]

    def _note_chunks(self) -> bool:
        """Whether chunks were evicted since the last look."""
        now = {path.name for path in self.box.disks[0].glob("through/c/*/*.[0-9]*")}
        gone = len(self._chunks - now)
        self._chunks = now
        self.hits["evicted chunks"] += gone
        if gone:
            self._evicted_s = time.monotonic()
        return gone > 0

    def _look(self) -> None:
        """At what a death left: what is visible is right, and what it was in the middle of."""
        assert not self.tally.wrong, self.tally.wrong[:3]
        shelf = self._shelf()
        for number, folder in shelf.items():
            for name, data in self.box.world.library.content[number].items():
                have = hashlib.sha256((folder / name).read_bytes()).digest()
                assert have == hashlib.sha256(data).digest(), folder / name
        check_chunks(self.box.disks[0] / "through/c", self.bodies)
        self.hits["filling"] += bool(self._found("incoming/*/.*.part"))
        self.hits["dropping"] += bool(self._found("trash/*"))
        self.hits["leaving"] += bool(shelf.keys() - self._wanted)

    def _shelf(self) -> dict[int, Path]:
        return {int(path.name): path for path in self._found("a/*")}

    async def _settle(self, config: Path, generation: int) -> None:
        """A last life, to its end: all that is wanted is there, and nothing else."""
        self._plan(generation)
        process = await start(config)
        await eventually(lambda: self._shelf().keys() == self._wanted, 30)
        await eventually(lambda: not self._found("incoming/*") + self._found("trash/*"), 30)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
        await asyncio.to_thread(self._look)


def await_sight(sight: Callable[[], bool]) -> None:
    """Until there is something to see, or patience ends. Blocks."""
    end_s = time.monotonic() + SIGHT_WITHIN_S
    while not sight() and time.monotonic() < end_s:
        time.sleep(0.001)


async def start(config: Path) -> asyncio.subprocess.Process:
    """The whole box, in a process group of its own."""
    with (config.parent / "oca.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "oca", "serve", "--config", str(config)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
