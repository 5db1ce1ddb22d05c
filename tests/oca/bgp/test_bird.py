"""A router (BIRD) announces, withdraws, restarts and leaves; steering's answers follow."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.oca.agent.world import SourceServer, World, served
from tests.oca.bgp.speakers import BIRD, Speakers, addresses_free
from tests.steering.replica import Replica, running
from wire.keys import parse_verify_key, public_text

pytestmark = pytest.mark.skipif(
    BIRD is None or not addresses_free(), reason="no bird here: apt-get install bird2"
)
ONE, TWO, SIX = "198.51.100.0/24", "203.0.113.0/24", "2001:db8:100::/48"
IN_ONE, IN_TWO, IN_SIX = "198.51.100.7", "203.0.113.7", "2001:db8:100::7"
HOME = "isp-a"


class Network:
    """BIRD → exabgp → `oca routes` → agent → steering, and what steering answers."""

    def __init__(self, replica: Replica, speakers: Speakers) -> None:
        self.replica, self.speakers = replica, speakers
        self.delays_s: dict[str, float] = {}

    async def home(self, client: str) -> str:
        """The home site that steering gives this client."""
        _, said = await self.replica.get(f"/v1/steer?asset=1&client={client}", admin=True)
        return str(said["home"])

    async def follows(self, what: str, wanted: dict[str, str], within_s: float = 30.0) -> None:
        """Wait until clients have these homes; how long it took is kept."""
        began_s, found = time.monotonic(), {}
        while time.monotonic() - began_s < within_s:
            found = {client: await self.home(client) for client in wanted}
            if found == wanted:
                self.delays_s[what] = round(time.monotonic() - began_s, 2)
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{what}: {found}\n{self.speakers.logs()}")


@contextlib.asynccontextmanager
async def network(folder: Path) -> AsyncIterator[Network]:
    """Everything real; fill and the origin are the tests' own."""
    speakers = Speakers(folder)
    (folder / "box").mkdir()
    world = World(folder / "box")
    async with running(folder) as replica, served(SourceServer(world.library).app()) as origin:
        world.library.add(1, 1000)
        world.source("origin", origin)
        world.fill.keys["a1"] = parse_verify_key(public_text(replica.keys["a1"]), "a1")
        world.settings["id"] = "a1"
        world.settings["agent"] = {
            "steering": [replica.url], "key_file": str(folder / "a1.pem"), "site": HOME,
            "routes_file": str(speakers.routes), "heartbeat_s": 10.0, "report_pause_s": 0.5,
        }  # fmt: skip
        world.fill.publish(world.wanting(1, 1, appliance="a1"))
        try:
            async with world.filled():
                yield Network(replica, speakers)
        finally:
            speakers.stop()


async def test_steering_follows_what_a_router_says(tmp_path: Path) -> None:
    """Announced, withdrawn, of IPv6, restarted, said farewell: each time the answers are right soon
    after, with the agent's ordinary timers."""
    async with network(tmp_path) as net:
        bird, speakers = net.speakers.bird, net.speakers
        bird([ONE])
        speakers.exabgp()
        await net.follows("start", {IN_ONE: HOME, IN_TWO: "", IN_SIX: ""})
        bird([ONE, TWO, SIX])
        await net.follows("announce", {IN_ONE: HOME, IN_TWO: HOME, IN_SIX: HOME})
        bird([ONE, SIX])
        await net.follows("withdraw", {IN_ONE: HOME, IN_TWO: "", IN_SIX: HOME})
        # A restart of the router: held, then confirmed but for what it no longer has.
        speakers.kill("bird")
        await asyncio.sleep(1.5)
        assert await net.home(IN_ONE) == HOME and await net.home(IN_SIX) == HOME
        bird([ONE, TWO])
        await net.follows("after a restart", {IN_ONE: HOME, IN_TWO: HOME, IN_SIX: ""})
        # exabgp is restarted: nobody notices.
        speakers.kill("exabgp", signal.SIGTERM)
        assert await net.home(IN_ONE) == HOME
        speakers.exabgp()
        bird([ONE], restart_s=1)
        await net.follows("after a restart of exabgp", {IN_ONE: HOME, IN_TWO: ""})
        assert (await net.replica.fleet())["a1"]["routes"] == 1
        # A session that ends on purpose, and one that is lost for longer than may be held.
        speakers.birdc("disable", "oca")
        await net.follows("farewell", {IN_ONE: ""})
        speakers.birdc("enable", "oca")
        await net.follows("enabled", {IN_ONE: HOME})
        speakers.kill("bird")
        await net.follows("lost, 1 s of hold", {IN_ONE: ""})
    print("\nsteering followed after (s):", net.delays_s)
