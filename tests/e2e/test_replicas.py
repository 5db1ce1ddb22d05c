"""Two replicas behind a plain load balancer: either may freeze, die, be cut off, and all go on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.oca.agent.world import SourceServer, World, served
from tests.steering.replica import HEARTBEAT_S, Backstage, Replica
from wire.keys import parse_verify_key, public_text

LIMIT_S = 30.0


@dataclass
class Balancer:
    """Connections go to the replicas in turn; one that does not accept is passed over."""

    ports: list[int]
    url: str = ""
    used: list[int] = field(default_factory=list)

    async def start(self) -> None:
        self._turn = itertools.cycle(self.ports)
        self.server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in itertools.islice(self._turn, len(self.ports)):
            with contextlib.suppress(OSError):
                there = await asyncio.open_connection("127.0.0.1", port)
                self.used.append(port)
                await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
                return
        writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


@dataclass
class Lab:
    """Two real replicas with the same keys, two real agents, and the balancer in front."""

    replicas: list[Replica]
    worlds: dict[str, World]
    balancer: Balancer

    async def answers(self, times: int = 4) -> list[dict[str, Any]]:
        """What players get through the balancer, from each replica in turn."""
        said = []
        for _ in range(times):
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
                session.get(self.balancer.url + "/v1/steer?asset=1") as answer,
            ):
                assert answer.status == 200
                said.append(await answer.json())
        return said

    async def until(self, replica: Replica, good: Callable[[dict[str, Any]], bool]) -> float:
        """Wait until a replica's fleet is as wanted; how long that took (s)."""
        began_s = time.monotonic()
        await replica.until("/v1/fleet", lambda _, said: good(_by_name(said)), LIMIT_S)
        return time.monotonic() - began_s


def _by_name(state: dict[str, Any]) -> dict[str, Any]:
    return {box["appliance"]: box for box in state["boxes"]}


def holding(count: int) -> Callable[[dict[str, Any]], bool]:
    """Both boxes in service, with so many assets."""
    return lambda fleet: all(
        fleet[name]["assets"] == count and fleet[name]["state"] == "in_service"
        for name in ("a1", "b1")
    )


@contextlib.asynccontextmanager
async def lab(folder: Path) -> AsyncIterator[Lab]:
    """Everything up; ended with the block."""
    folders = [folder / name for name in ("one", "two")]
    for place in folders:
        place.mkdir()
    backstage = Backstage(folder)
    await backstage.start()
    replicas = [Replica(place, backstage, heartbeat_s=HEARTBEAT_S) for place in folders]
    first, second = replicas
    for name in (*first.keys, "token"):
        (folders[1] / f"{name}.pem").write_bytes((folders[0] / f"{name}.pem").read_bytes())
    second.keys, second.token_key = first.keys, first.token_key
    backstage.keys = first.verify_keys
    balancer = Balancer([replica.public_port for replica in replicas])
    try:
        await asyncio.gather(*(replica.start() for replica in replicas), balancer.start())
        worlds = {name: _world(folder / f"box-{name}", name, replicas) for name in ("a1", "b1")}
        yield Lab(replicas, worlds, balancer)
    finally:
        for replica in replicas:
            await replica.kill()
        await backstage.stop()
        balancer.server.close()


def _world(folder: Path, name: str, replicas: list[Replica]) -> World:
    folder.mkdir()
    world = World(folder)
    world.fill.keys[name] = parse_verify_key(public_text(replicas[0].keys[name]), name)
    for number in range(1, 5):
        world.library.add(number, 1000)
    world.settings["id"] = name
    world.settings["agent"] = {
        "steering": [replica.url for replica in replicas],
        "key_file": str(replicas[0].folder / f"{name}.pem"),
        "heartbeat_s": HEARTBEAT_S,
        "drop_ttl_s": 0,
    }
    return world


@contextlib.asynccontextmanager
async def boxes(lab: Lab) -> AsyncIterator[None]:
    """The agents run."""
    async with contextlib.AsyncExitStack() as stack:
        for name, world in lab.worlds.items():
            if not world.sources:
                source = SourceServer(world.library).app()
                world.source("origin", await stack.enter_async_context(served(source)))
            world.fill.publish(world.wanting(1, 1, 2, appliance=name))
            await stack.enter_async_context(world.filled())
        yield


async def test_one_replica_freezes_dies_and_both_are_cut_off(tmp_path: Path) -> None:
    """The frozen one delays nothing that the other hears; thawed, it catches up; killed, it answers
    from its snapshot and says how old that is; without any box both answer, and say so."""
    async with lab(tmp_path) as here:
        one, two = here.replicas
        async with boxes(here):
            for replica in here.replicas:
                await here.until(replica, holding(2))
            said = await here.answers()
            assert set(here.balancer.used) == {one.public_port, two.public_port}
            assert len({str(answer["places"]) for answer in said}) == 1
            assert not any(answer["stale"] for answer in said)

            assert two.process is not None
            two.process.send_signal(signal.SIGSTOP)
            for name, world in here.worlds.items():
                world.fill.publish(world.wanting(2, 1, 2, 3, 4, appliance=name))
            told_s = await here.until(one, holding(4))
            # Several times as long as one call may take: nobody has waited for the frozen one.
            await asyncio.sleep(2.0)
            assert holding(4)(await one.fleet())
            two.process.send_signal(signal.SIGCONT)
            thawed_s = await here.until(two, holding(4))

            await two.saved()
            await two.kill()
            assert (await here.answers(2))[0]["places"] == said[0]["places"]
            began_s = time.monotonic()
            await two.start()
            _, first = await two.get("/v1/steer?asset=1")
            back_s = time.monotonic() - began_s
            assert first["places"] == said[0]["places"]
            assert "going on from the snapshot" in (two.folder / "log").read_text()
            await here.until(two, holding(4))
        for replica in here.replicas:
            found = await replica.until("/readyz", lambda _, now: now["stale"], LIMIT_S)
            assert found["behind_s"] > 3 * HEARTBEAT_S
        cut_off = await here.answers()
        assert all(answer["stale"] for answer in cut_off)
        assert {str(answer["places"]) for answer in cut_off} == {str(said[0]["places"])}
    print(
        f"\ntold beside a frozen replica {told_s:.2f} s, caught up {thawed_s:.2f} s, "
        f"answers after a kill {back_s:.2f} s"
    )


async def test_a_box_that_lost_its_number_is_heard_again_at_once(tmp_path: Path) -> None:
    """The run folder is gone and the clock stood at 1970 when the agent began: a replica says which
    boot it remembers, and the box goes on from there; a restart without a word as well."""
    async with lab(tmp_path) as here:
        one = here.replicas[0]
        late = int(time.time()) + 3600
        await one.beat("a1", boot=late, seq=9)
        async with boxes(here):
            await here.until(one, holding(2))
            assert (await one.fleet())["a1"]["refused"].keys() <= {"heartbeat", "inventory"}
            await here.until(here.replicas[1], holding(2))
        await one.kill()
        await one.start()
        async with boxes(here):
            await here.until(one, lambda fleet: (fleet["a1"]["silent_s"] or 99) < 2)
            assert "is older than" not in str((await one.fleet())["b1"]["last_refusal"])
