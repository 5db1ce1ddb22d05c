"""What steering and fill are told: heartbeats, inventory, routes, drops, purges, plans refused."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
from msgspec import UNSET

from oca.agent import events
from oca.agent.tell import Workers
from oca.counters import Demand, Generation
from oca.state import read_peers
from oca.store import Store
from tests.oca.agent.world import (
    EPOCH,
    SourceServer,
    SteeringServer,
    World,
    eventually,
    new_key,
    served,
)
from wire.events import FillProgress
from wire.plan import PurgeList


@pytest.fixture
async def world(tmp_path: Path):
    world = World(tmp_path)
    for number in range(1, 11):
        world.library.add(number, 5_000 + number)
    async with served(SourceServer(world.library).app()) as url:
        world.source("origin", url)
        yield world


async def test_every_replica_is_told_and_a_frozen_one_delays_nobody(world: World) -> None:
    """One replica hangs on every request: the other hears heartbeats in time, and inventory."""
    well, frozen = SteeringServer(world.keys), SteeringServer(world.keys, frozen=True)
    async with served(well.app()) as url, served(frozen.app()) as frozen_url:
        world.settings["agent"]["steering"] = [frozen_url, url]
        world.fill.publish(world.wanting(1, 1, 2, 3))
        async with world.filled():
            await eventually(lambda: well.inventory == {1, 2, 3})
            before = len(well.heartbeats)
            await asyncio.sleep(1.0)
            assert len(well.heartbeats) - before >= 3
    assert not frozen.heartbeats
    beat = well.heartbeats[-1]
    assert (beat.appliance, beat.epoch, beat.generation, beat.health) == ("box", EPOCH, 1, 1.0)
    assert [b.seq for b in well.heartbeats] == sorted(b.seq for b in well.heartbeats)


async def test_a_replica_that_forgot_gets_everything_again(world: World) -> None:
    """After a replica's restart its view is whole again within a few heartbeats."""
    steering = SteeringServer(world.keys)
    routes = world.folder / "routes.json"
    routes.write_text(json.dumps([{"prefix": "127.16.0.0/16", "as_path": [64500]}]))
    async with served(steering.app()) as url:
        world.settings["agent"] |= {"steering": [url], "routes_file": str(routes)}
        world.fill.publish(world.wanting(1, 1, 2))
        async with world.filled():
            await eventually(lambda: steering.inventory == {1, 2} and steering.routes is not None)
            steering.forget()
            await eventually(lambda: steering.inventory == {1, 2})
            await eventually(lambda: steering.routes is not None)


async def test_changes_travel_as_deltas(world: World) -> None:
    """The second inventory names only what came since the first."""
    steering = SteeringServer(world.keys)
    async with served(steering.app()) as url:
        world.settings["agent"]["steering"] = [url]
        world.fill.publish(world.wanting(1, 1, 2))
        async with world.filled():
            await eventually(lambda: steering.inventory == {1, 2})
            world.fill.publish(world.wanting(2, 1, 2, 3))
            await eventually(lambda: steering.inventory == {1, 2, 3})
    assert steering.inventories[-1].base_seq is not None


async def test_routes_are_reread_when_their_file_changes(world: World) -> None:
    """Steering and the workers hear of a new prefix; a broken file leaves the last good one. A
    default route, and what is no prefix, lets nobody in."""
    steering = SteeringServer(world.keys)
    routes = world.folder / "routes.toml"
    routes.write_text('[[routes]]\nprefix = "127.16.0.0/16"\nas_path = [64500]\n')
    peers = world.run_dir / "peers.json"
    async with served(steering.app()) as url:
        world.settings["agent"] |= {"steering": [url], "routes_file": str(routes)}
        world.fill.publish(world.wanting(1, 1, peers={"b2": "ed25519:AAAA"}))
        async with world.filled():
            await eventually(lambda: steering.routes is not None and world.shelf() == {1})
            assert steering.routes is not None
            foreign = "".join(f'[[routes]]\nprefix = "{p}"\n' for p in ("0.0.0.0/0", "nonsense"))
            routes.write_text('[[routes]]\nprefix = "127.17.0.0/16"\n' + foreign)
            await eventually(lambda: steering.routes.routes[0].prefix == "127.17.0.0/16")
            routes.write_text("[[routes]]\nprefiks = 3")
            await asyncio.sleep(0.6)
            assert steering.routes.routes[0].prefix == "127.17.0.0/16"
            told = read_peers(peers.read_bytes())
    assert (told.site, told.prefixes, told.peers) == (
        "ispa",
        ("127.17.0.0/16",),
        {"b2": "ed25519:AAAA"},
    )


async def test_a_drop_leaves_the_inventory_first_and_the_disk_last(world: World) -> None:
    """Inventory → every replica confirmed → TTL and idle → unlinked, and the word is raised."""
    steering = SteeringServer(world.keys)
    async with served(steering.app()) as url:
        world.settings["agent"] |= {"steering": [url], "drop_ttl_s": 0.8, "drop_idle_s": 0.1}
        world.fill.publish(world.wanting(1, *range(1, 11)))
        async with world.filled():
            await eventually(lambda: steering.inventory == set(range(1, 11)))
            word = Generation(world.run_dir).value
            world.fill.publish(world.wanting(2, *range(1, 10)))
            await eventually(lambda: steering.inventory == set(range(1, 10)))
            confirmed_s = time.monotonic()
            assert 10 in world.shelf()
            await eventually(lambda: world.shelf() == set(range(1, 10)))
            assert time.monotonic() - confirmed_s > 0.6
            await eventually(lambda: Generation(world.run_dir).value > word)
            await eventually(lambda: not list((world.store / "trash").iterdir()))


async def test_a_drop_waits_for_a_replica_that_may_still_offer_the_box(world: World) -> None:
    """A replica that stopped answering is waited for until its view of the box is stale."""
    steering = SteeringServer(world.keys)
    async with served(steering.app()) as url:
        world.settings["agent"] |= {
            "steering": [url],
            "drop_ttl_s": 0,
            "drop_idle_s": 0,
            "heartbeat_s": 0.5,
        }
        world.fill.publish(world.wanting(1, *range(1, 11)))
        async with world.filled():
            await eventually(lambda: steering.inventory == set(range(1, 11)))
            steering.frozen = True
            frozen_s = time.monotonic()
            world.fill.publish(world.wanting(2, *range(1, 10)))
            await eventually(lambda: world.shelf() == set(range(1, 10)))
            assert time.monotonic() - frozen_s > 0.9


async def test_what_is_still_asked_for_is_not_dropped_yet(world: World) -> None:
    """Bytes still moving for an asset keep it, within the life of a token."""
    world.settings["agent"] |= {"drop_ttl_s": 0, "drop_idle_s": 1.0, "drop_bound_s": 60}
    world.fill.publish(world.wanting(1, *range(1, 11)))
    async with world.filled():
        await eventually(lambda: world.shelf() == set(range(1, 11)))
        demand = Demand(world.run_dir, 0)
        demand.add((10, "ispa"), 1000)
        await eventually(lambda: bool(world.fill.delivered()))
        world.fill.publish(world.wanting(2, *range(1, 10)))
        for _ in range(8):
            demand.add((10, "ispa"), 1000)
            await asyncio.sleep(0.25)
        assert 10 in world.shelf()
        await eventually(lambda: 10 not in world.shelf())


async def test_a_plan_that_wants_it_again_stops_the_drop(world: World) -> None:
    """Changed its mind: the asset is offered again and stays."""
    steering = SteeringServer(world.keys)
    async with served(steering.app()) as url:
        world.settings["agent"] |= {"steering": [url], "drop_ttl_s": 1.0}
        world.fill.publish(world.wanting(1, *range(1, 11)))
        async with world.filled():
            await eventually(lambda: len(steering.inventory) == 10)
            world.fill.publish(world.wanting(2, *range(1, 10)))
            await eventually(lambda: len(steering.inventory) == 9)
            world.fill.publish(world.wanting(3, *range(1, 11)))
            await eventually(lambda: len(steering.inventory) == 10)
            await asyncio.sleep(1.5)
            assert 10 in world.shelf()


async def test_a_purge_is_carried_out_at_once_and_for_ever(world: World) -> None:
    """Unlinked without waiting, acknowledged, and not fetched again, also after a restart."""
    world.settings["agent"]["drop_ttl_s"] = 3600
    world.fill.publish(world.wanting(1, 1, 2, 3))
    async with world.filled():
        await eventually(lambda: world.shelf() == {1, 2, 3})
        world.fill.publish_purge(PurgeList(epoch=EPOCH, number=4, assets=(2,)))
        await eventually(lambda: world.shelf() == {1, 3})
        await eventually(lambda: {ack.number for ack in world.fill.purge_acks} == {4})
    world.fill.purge = None
    world.fill.publish(world.wanting(2, 1, 2, 3, 4))
    async with world.filled():
        await eventually(lambda: world.shelf() == {1, 3, 4})
        await asyncio.sleep(0.5)
        assert world.shelf() == {1, 3, 4}


async def test_a_plan_that_empties_the_box_is_refused_unless_forced(world: World) -> None:
    """The agent's own brake: dropping a third needs force."""
    world.settings["agent"] |= {"drop_ttl_s": 0, "drop_idle_s": 0}
    world.settings["admin"] = "127.0.0.1:0"
    world.fill.publish(world.wanting(1, 1, 2, 3))
    async with world.filled():
        await eventually(lambda: world.fill.inventory == {1, 2, 3})
        world.fill.publish(world.wanting(2, 1, 2))
        await asyncio.sleep(0.6)
        assert world.shelf() == {1, 2, 3}
        world.fill.publish(world.wanting(3, 1, 2, force=True))
        await eventually(lambda: world.shelf() == {1, 2})


async def test_a_plan_that_is_forged_old_or_anothers_changes_nothing(world: World) -> None:
    """Bad signature, other box, other world, lower generation, expired: refused."""
    world.fill.publish(world.wanting(5, 1, 2, 3))
    async with world.filled():
        await eventually(lambda: world.shelf() == {1, 2, 3})
        bad = [
            (world.wanting(6, 1, 2, 3, 4), new_key("fill-1")),
            (world.wanting(6, 1, 2, 3, 4), new_key("fill-2")),
            (world.wanting(6, 1, 2, 3, 4, appliance="other"), None),
            (world.wanting(6, 1, 2, 3, 4, epoch="00000000000000bb"), None),
            (world.wanting(4, 1, 2, 3, 4), None),
            (world.wanting(6, 1, 2, 3, 4, expires_s=int(time.time()) - 1), None),
        ]
        for number, (plan, signer) in enumerate(bad):
            world.fill.publish(plan, signer)
            world.fill.etag = f'"bad{number}"'
            await asyncio.sleep(0.3)
            assert world.shelf() == {1, 2, 3}
        world.fill.publish(world.wanting(6, 1, 2, 3, 4))
        await eventually(lambda: world.shelf() == {1, 2, 3, 4})


async def test_a_restart_goes_on_with_the_plan_when_fill_is_away(world: World) -> None:
    """The accepted plan is on the disk; with fill down its entry for begun assets is, too."""
    world.fill.publish(world.wanting(1, 1, 2))
    async with world.filled():
        await eventually(lambda: world.shelf() == {1, 2})
    steering = SteeringServer(world.keys)
    async with served(steering.app()) as url:
        world.settings["agent"] |= {"steering": [url], "fill": "http://127.0.0.1:9"}
        async with world.agent():
            await eventually(lambda: steering.inventory == {1, 2})
            assert await _generation(steering) == 1


async def _generation(steering: SteeringServer) -> int:
    await eventually(lambda: bool(steering.heartbeats))
    return steering.heartbeats[-1].generation


async def test_counted_bytes_reach_fill_exactly_once(world: World) -> None:
    """Acks lost, fill away for a while, a restart in between: the sums are right."""
    world.run_dir.mkdir()
    demand = Demand(world.run_dir, 0)
    demand.add((1, "ispa"), 500)
    world.fill.lose_acks = 2
    async with world.filled():
        await eventually(lambda: world.fill.delivered() == {(1, "ispa"): 500})
        world.fill.down = True
        demand.add((1, "ispa"), 70)
        demand.add((2, ""), 30)
        await asyncio.sleep(0.5)
    world.fill.down = False
    async with world.filled():
        demand.add((1, "ispa"), -20)
        await asyncio.sleep(0.5)
        demand.add((1, "ispa"), 25)
        await eventually(lambda: world.fill.delivered() == {(1, "ispa"): 575, (2, ""): 30})
    for boot in {boot for boot, _seq in world.fill.batches}:
        seqs = sorted(seq for b, seq in world.fill.batches if b == boot)
        assert seqs == list(range(1, len(seqs) + 1))


async def test_the_origin_offers_its_tree_and_fetches_nothing(world: World, tmp_path: Path) -> None:
    """Role origin: the inventory is the listing, also of what the catalogue adds later."""
    from wire.codec import encode

    def put(number: int) -> None:
        folder = world.store / "a" / str(number)
        folder.mkdir(parents=True)
        for name, data in world.library.content[number].items():
            (folder / name).write_bytes(data)
        (folder / ".asset.json").write_bytes(encode(world.library.assets[number]))

    put(1)
    (world.store / "catalogue.json").write_text(json.dumps({"epoch": EPOCH}))
    steering = SteeringServer(world.keys)
    async with served(steering.app()) as url:
        world.settings["agent"]["steering"] = [url]
        world.settings["role"] = "origin"
        async with world.filled():
            await eventually(lambda: steering.inventory == {1})
            put(2)
            await eventually(lambda: steering.inventory == {1, 2})
            world.fill.publish(world.plan(1, (), peers={"b1": "ed25519:AAAA"}))
            peers = world.run_dir / "peers.json"
            await eventually(peers.exists)
            assert "b1" in read_peers(peers.read_bytes()).peers
            assert world.shelf() == {1, 2}


async def test_the_operator_sees_why(world: World, unused_port: int) -> None:
    """/metrics, /healthz, /v1/status and drain on the admin listener."""
    world.settings["admin"] = f"127.0.0.1:{unused_port}"
    base = f"http://127.0.0.1:{unused_port}"
    steering = SteeringServer(world.keys)
    world.fill.publish(world.wanting(3, 1, 2, 3))
    async with served(steering.app()) as url, aiohttp.ClientSession(base) as session:
        world.settings["agent"]["steering"] = [url]
        async with world.filled():
            await eventually(lambda: world.fill.inventory == {1, 2, 3})
            world.fill.publish(world.wanting(4, 1))
            await asyncio.sleep(0.4)
            async with session.get("/v1/status") as response:
                status = await response.json()
            async with session.get("/metrics") as response:
                metrics = await response.text()
            async with session.get("/healthz") as response:
                assert response.status == 200
            async with session.put("/v1/drain") as response:
                assert (await response.json())["draining"] is True
            await eventually(lambda: steering.heartbeats[-1].draining)
    assert status["generation"] == 3
    assert "generation 4" in status["plan_refused"] and "67%" in status["plan_refused"]
    assert "oca_fill_assets_total 3.0" in metrics
    assert "oca_plan_generation 3.0" in metrics


def test_the_workers_are_told_whole_whoever_tells(tmp_path: Path) -> None:
    """Plan and routes come at the same time, in two threads: neither overwrites the other."""
    workers = Workers(tmp_path, "ispa")
    with ThreadPoolExecutor(2) as pool:
        for number in range(50):
            told = [
                pool.submit(workers.tell_peers, {"b1": f"ed25519:{number}"}),
                pool.submit(workers.tell_prefixes, (f"10.{number}.0.0/16",)),
            ]
            for future in told:
                future.result()
            found = read_peers((tmp_path / "peers.json").read_bytes())
            assert found.prefixes == (f"10.{number}.0.0/16",)
            assert found.peers == {"b1": f"ed25519:{number}"}


async def test_a_box_whose_workers_do_not_answer_says_so_and_is_back_at_once(
    world: World, unused_port: int
) -> None:
    """Health is what the box's own workers answer; its change does not wait for a heartbeat."""
    steering = SteeringServer(world.keys)
    world.settings["listen"] = f"127.0.0.1:{unused_port}"
    world.fill.publish(world.wanting(1, 1))
    async with served(steering.app()) as url:
        world.settings["agent"] |= {"steering": [url], "heartbeat_s": 2.0}
        async with world.filled():
            await eventually(lambda: bool(steering.heartbeats))
            assert steering.heartbeats[0].health == 0
            assert steering.heartbeats[0].why == "workers do not answer"
            server = await asyncio.start_server(_answer, "127.0.0.1", unused_port)
            async with server:
                await eventually(lambda: steering.heartbeats[-1].health == 1, 3.0)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_a_replica_that_was_away_gets_everything_before_it_trusts_us_again(
    world: World,
) -> None:
    """After trouble the full inventory comes before the next heartbeat: its snapshot may be old."""
    steering = SteeringServer(world.keys)
    world.fill.publish(world.wanting(1, 1, 2))
    async with served(steering.app()) as url:
        world.settings["agent"] |= {"steering": [url], "timeout_s": 0.3}
        async with world.filled():
            await eventually(lambda: steering.inventory == {1, 2} and bool(steering.heartbeats))
            steering.frozen = True
            await asyncio.sleep(2.0)  # several time-outs, also on a busy machine
            told = len(steering.inventories)
            steering.frozen = False
            await eventually(lambda: len(steering.inventories) > told)
            assert steering.inventories[told].base_seq is None


async def test_counted_bytes_flow_on_after_fill_lost_its_history(world: World) -> None:
    """What was acknowledged and lost is gone; nothing waits for it, nothing counts twice."""
    world.run_dir.mkdir()
    demand = Demand(world.run_dir, 0)
    async with world.filled():
        for _ in range(3):
            before = len(world.fill.batches)
            demand.add((1, "ispa"), 100)
            await eventually(lambda was=before: len(world.fill.batches) > was)
        world.fill.batches.clear()
        demand.add((1, "ispa"), 7)
        await eventually(lambda: world.fill.delivered() == {(1, "ispa"): 7})
        demand.add((2, "ispa"), 5)
        await eventually(lambda: world.fill.delivered() == {(1, "ispa"): 7, (2, "ispa"): 5})


async def test_how_far_the_fill_is_goes_with_the_events(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without anybody watching: when it changed, and not again while nothing does."""
    monkeypatch.setattr(events, "PROGRESS_S", 0.1)
    world.fill.publish(world.wanting(3, 1, 2, 3))

    def told() -> list[FillProgress]:
        batches = (world.fill.batches[key] for key in sorted(world.fill.batches))
        return [batch.filling for batch in batches if batch.filling is not UNSET]

    async with world.filled():
        await eventually(lambda: bool(told()) and told()[-1].held == 3)
        done = told()[-1]
        assert (done.generation, done.left, done.left_bytes) == (3, 0, 0)
        assert done.held_bytes == sum(world.library.assets[n].bytes for n in (1, 2, 3))
        said = len(told())
        await asyncio.sleep(0.5)
        assert len(told()) == said


async def test_what_is_wanted_again_while_it_goes_is_fetched_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk unlinks slowly; meanwhile a new plan wants what is already out of sight."""
    slow, unlink = 1.0, Store.empty_trash

    def empty_trash(store: Store) -> None:
        if [*(store.root / "trash").iterdir()]:
            time.sleep(slow)
        unlink(store)

    monkeypatch.setattr(Store, "empty_trash", empty_trash)
    world.settings["agent"] |= {"drop_ttl_s": 0, "drop_idle_s": 0}
    world.fill.publish(world.wanting(1, *range(1, 11)))
    async with world.filled():
        await eventually(lambda: world.shelf() == set(range(1, 11)))
        world.fill.publish(world.wanting(2, *range(1, 10)))
        await eventually(lambda: world.shelf() == set(range(1, 10)))
        world.fill.publish(world.wanting(3, *range(1, 11)))
        await eventually(lambda: world.shelf() == set(range(1, 11)))
