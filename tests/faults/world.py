"""A box with several disks, some of which fail: agent, workers, fill and steering, all real."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from tests.oca.agent.test_killed import toml
from tests.oca.agent.world import SourceServer, SteeringServer, World, eventually, served
from wire.keys import new_private_pem, parse_private_key, public_text
from wire.reports import unpack_bitmap
from wire.token import Token, mint, scope_of

HEARTBEAT_S = 0.4
DISK = {"mounts": False, "probe_s": 0.1, "slow_s": 0.3, "hang_s": 0.6, "back_s": 0.3}


class Box:
    """One appliance: `world` around it, `steering` that it reports to, `port` of its workers."""

    def __init__(self, folder: Path, disks: list[Path], port: int, admin: int) -> None:
        self.world = World(folder)
        self.world.folder.joinpath("run").mkdir()
        self._wanted, self._generation = (1, 0), 0
        self.disks, self.port, self.admin = disks, port, admin
        self.signer = parse_private_key(new_private_pem(), "k1", "token key")
        self.origin = SourceServer(self.world.library)
        self.steering = SteeringServer(self.world.keys)
        self.world.settings |= {
            "store": "",
            "disks": [str(path) for path in disks],
            "disk": dict(DISK),
            "listen": f"127.0.0.1:{port}",
            "admin": f"127.0.0.1:{admin}",
            "workers": 1,
            "clients": "any",
            "token_keys": {"k1": public_text(self.signer)},
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything up; the box is ended by SIGTERM."""
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(served(self.origin.app()))
            fill = await stack.enter_async_context(served(self.world.fill.app()))
            steering = await stack.enter_async_context(served(self.steering.app()))
            self.steering.forget()
            self.world.sources.clear()
            self.world.source("origin", url)
            self._publish()
            self.world.settings["agent"] |= {
                "fill": fill,
                "steering": [steering],
                "heartbeat_s": HEARTBEAT_S,
            }
            config = self.world.folder / "box.toml"
            config.write_text(toml(self.world.tree()))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "oca", "serve", "--config", str(config)),
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                yield
            finally:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 20)
                except TimeoutError:
                    process.kill()
                    await process.wait()

    def want(self, generation: int, count: int, *sizes: int) -> None:
        """Publish a plan of assets 0…count."""
        for number in range(count):
            if number not in self.world.library.assets:
                self.world.library.add(number, *sizes)
        self._wanted = (generation, count)
        if self.world.sources:
            self._publish()

    def _publish(self) -> None:
        """The plan, as the origin's address is now; a later life of it has a later generation."""
        generation, count = self._wanted
        self._generation = max(generation, self._generation + 1)
        plan = self.world.wanting(self._generation, *range(count), force=True)
        self.world.fill.publish(plan)

    async def holds(self, assets: set[int], within_s: float = 30) -> None:
        """Until steering has been told of exactly these."""
        await eventually(lambda: self.steering.inventory == assets, within_s)

    async def feels(self, low: float, high: float, why: str, within_s: float = 30) -> None:
        """Until steering has been told of a health between these, and why."""

        def told() -> bool:
            beat = self.steering.heartbeats[-1]
            return low <= beat.health <= high and why in beat.why

        await eventually(told, within_s)

    def on(self, disk: Path) -> set[int]:
        """What stands on the shelf of a disk."""
        return {int(path.name) for path in (disk / "a").iterdir()}

    def place_of(self, asset: int) -> Path:
        """The folder that an asset stands in."""
        return next(
            disk / "a" / str(asset) for disk in self.disks if (disk / "a" / str(asset)).exists()
        )

    def left(self) -> list[set[int]]:
        """What left the inventory, report by report."""
        return [
            set(unpack_bitmap(message.removed, "removed"))
            for message in self.steering.inventories
            if message.removed
        ]

    async def get(self, asset: int, name: str = "seg-0.m4s") -> tuple[int, bytes]:
        """What a viewer gets."""
        token = mint(Token(exp=2**33, cdniuc=scope_of([asset]), home="ispa"), self.signer)
        url = f"http://127.0.0.1:{self.port}/a/{asset};URISigningPackage={token}/{name}"
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status, await answer.read()

    async def serves(self, assets: set[int]) -> bool:
        """Whether exactly these are served, rightly, and all others not, quickly."""
        for number, content in self.world.library.content.items():
            status, body = await self.get(number)
            right = (200, content["seg-0.m4s"]) if number in assets else (404, None)
            if (status, body if status == 200 else None) != right:
                return False
        return True
