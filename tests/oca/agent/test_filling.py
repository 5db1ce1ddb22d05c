"""An agent fills its store from real HTTP sources, whatever they do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from tests.oca.agent.world import SourceServer, SteeringServer, World, eventually, served
from wire.catalogue import CHUNK_BYTES
from wire.plan import SourceKind


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_what_the_plan_wants_is_fetched_verified_and_visible(world: World) -> None:
    """From nothing to the whole plan: files, catalogue entry, nothing left in incoming."""
    world.library.add(1, 100_000, 0, 5)
    world.library.add(7, CHUNK_BYTES + 12_345)
    origin = SourceServer(world.library)
    async with served(origin.app()) as url:
        world.source("origin", url)
        world.fill.publish(world.wanting(1, 7, 1))
        async with world.filled():
            await eventually(lambda: world.shelf() == {1, 7})
            await eventually(lambda: world.fill.inventory == {1, 7})
    world.check_shelf()
    assert not list((world.store / "incoming").iterdir())
    assert (world.store / "a" / "1" / ".asset.json").exists()


async def truncate(request: web.Request, file, data, start):
    response = web.StreamResponse(headers={"ETag": file.etag})
    response.content_length = len(data)
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    request.transport.close()
    return response


async def reset(request: web.Request, file, data, start):
    request.transport.abort()
    return web.Response()


async def stall(request: web.Request, file, data, start):
    response = web.StreamResponse(headers={"ETag": file.etag})
    response.content_length = len(data)
    await response.prepare(request)
    await response.write(data[:1000])
    await asyncio.sleep(30)
    return response


async def trickle(request: web.Request, file, data, start):
    response = web.StreamResponse(headers={"ETag": file.etag})
    response.content_length = len(data)
    await response.prepare(request)
    for at in range(0, len(data), 10):
        await response.write(data[at : at + 10])
        await asyncio.sleep(0.05)
    return response


async def lie(request: web.Request, file, data, start):
    return web.Response(body=b"x" + data[1:], headers={"ETag": file.etag})


async def lie_late(request: web.Request, file, data, start):
    return web.Response(body=data[:-1] + bytes([data[-1] ^ 1]), headers={"ETag": file.etag})


async def too_few(request: web.Request, file, data, start):
    return web.Response(body=data[:-1], headers={"ETag": file.etag})


async def too_many(request: web.Request, file, data, start):
    response = web.StreamResponse(headers={"ETag": file.etag})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(data + b"and more")
    return response


async def other_version(request: web.Request, file, data, start):
    return web.Response(body=data, headers={"ETag": '"another"'})


async def wrong_range(request: web.Request, file, data, start):
    size = len(data)
    headers = {"ETag": file.etag, "Content-Range": f"bytes 1-{size - 1}/{size}"}
    return web.Response(status=206, body=data[1:], headers=headers)


async def redirect(request: web.Request, file, data, start):
    return web.Response(status=302, headers={"Location": "/elsewhere"})


FAULTS = [
    truncate, reset, stall, trickle, lie, lie_late, too_few, too_many, other_version,
    wrong_range, redirect,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_bad_source_is_passed_over_and_never_visible(world: World, fault) -> None:
    """Wrong bytes, too few, too many, a stall, a reset: the next source is asked."""
    world.library.add(3, 300_000, 200_000)
    bad, good = SourceServer(world.library, fault=fault), SourceServer(world.library)
    async with served(bad.app()) as bad_url, served(good.app()) as good_url:
        world.source("bad", bad_url, SourceKind.SITE)
        world.source("origin", good_url)
        world.fill.publish(world.wanting(1, 3))
        async with world.filled():
            await eventually(lambda: world.shelf() == {3})
    assert bad.asked
    assert good.asked or fault is too_many  # its surplus is cut off: what came before is right
    world.check_shelf()


@pytest.mark.parametrize(
    "fault", [f for f in FAULTS if f is not too_many], ids=lambda f: f.__name__
)
async def test_an_asset_that_only_bad_sources_have_never_appears(world: World, fault) -> None:
    """No honest source: nothing is visible, and the agent lives on for what others have."""
    world.library.add(3, 200_000)
    world.library.add(4, 1000)
    bad, good = SourceServer(world.library, fault=fault), SourceServer(world.library, lacks={3})
    async with served(bad.app()) as bad_url, served(good.app()) as good_url:
        world.source("bad", bad_url, SourceKind.SITE)
        world.source("origin", good_url)
        world.fill.publish(world.wanting(1, 3, 4))
        async with world.filled():
            await eventually(lambda: world.shelf() == {4})
            await asyncio.sleep(1.0)
            assert world.shelf() == {4}


async def test_a_cut_download_goes_on_where_it_stopped(world: World) -> None:
    """After a cut the rest is asked for by range, also from another source."""
    world.library.add(3, 3_000_000)
    bad, good = SourceServer(world.library, fault=truncate), SourceServer(world.library)
    async with served(bad.app()) as bad_url, served(good.app()) as good_url:
        world.source("bad", bad_url, SourceKind.SITE)
        world.source("origin", good_url)
        world.fill.publish(world.wanting(1, 3))
        async with world.filled():
            await eventually(lambda: world.shelf() == {3})
    world.check_shelf()
    ((_asset, _name, start),) = good.asked
    assert start > 1_000_000


async def test_a_liar_is_struck_off_and_asked_no_more(world: World) -> None:
    """One lie is enough: other assets are not asked of it, and the heartbeat names it."""
    for number in range(1, 9):
        world.library.add(number, 50_000)
    world.settings["fill"] = {"assets_parallel": 1}
    bad, good = SourceServer(world.library, fault=lie), SourceServer(world.library)
    steering = SteeringServer(world.keys)
    async with (
        served(bad.app()) as bad_url,
        served(good.app()) as good_url,
        served(steering.app()) as steering_url,
    ):
        world.settings["agent"]["steering"] = [steering_url]
        world.source("bad", bad_url, SourceKind.SITE)
        world.source("origin", good_url)
        world.fill.publish(world.wanting(1, *range(1, 9)))
        async with world.filled():
            await eventually(lambda: len(world.shelf()) == 8)
            await eventually(lambda: "bad (wrong_bytes)" in steering.heartbeats[-1].why)
            assert steering.heartbeats[-1].health == 1.0
    world.check_shelf()
    assert len(bad.asked) == 1


async def test_wrong_bytes_cost_a_chunk_not_the_file(world: World) -> None:
    """A chunk that is wrong is found at its end, and only it is fetched again."""
    world.library.add(3, 3 * CHUNK_BYTES)

    async def spoil_second_chunk(request, file, data, start):
        spoilt = data[: CHUNK_BYTES + 5] + b"!!!!!" + data[CHUNK_BYTES + 10 :]
        return web.Response(body=spoilt, headers={"ETag": file.etag})

    bad, good = SourceServer(world.library, fault=spoil_second_chunk), SourceServer(world.library)
    async with served(bad.app()) as bad_url, served(good.app()) as good_url:
        world.source("bad", bad_url, SourceKind.SITE)
        world.source("origin", good_url)
        world.fill.publish(world.wanting(1, 3))
        async with world.filled():
            await eventually(lambda: world.shelf() == {3})
    world.check_shelf()
    assert [start for _asset, _name, start in good.asked] == [CHUNK_BYTES]


async def test_the_second_box_takes_it_from_the_first(world: World) -> None:
    """A peer in the site that has it is asked before anybody outside."""
    world.library.add(3, 100_000)
    peer, origin = SourceServer(world.library), SourceServer(world.library)
    async with served(peer.app()) as peer_url, served(origin.app()) as origin_url:
        world.source("peer", peer_url, SourceKind.PEER)
        world.source("origin", origin_url)
        world.fill.publish(world.wanting(1, 3))
        async with world.filled():
            await eventually(lambda: world.shelf() == {3})
    assert not origin.asked
    assert peer.callers[0].startswith("Bearer ")


async def test_a_box_waits_for_its_sites_first_copy_but_not_for_ever(world: World) -> None:
    """A peer that gets an asset first is waited for, for as long as it gives a sign or patience
    lasts; what it never gets is fetched from outside after that."""
    for number in range(4):
        world.library.add(number, 2_000)
    peer = SourceServer(world.library, lacks={0, 1, 2, 3}, coming={0, 1, 2})
    origin = SourceServer(world.library)
    async with served(peer.app()) as peer_url, served(origin.app()) as origin_url:
        world.source("peer", peer_url, SourceKind.PEER)
        world.source("origin", origin_url)
        world.settings["fill"] = {"patience_s": 1.0}
        world.fill.publish(world.wanting(1, 0, 1, 2, 3))
        async with world.filled():
            await asyncio.sleep(0.6)
            assert world.shelf() == set() and not origin.asked
            await eventually(lambda: world.shelf() == {3})
            await asyncio.sleep(2.0)
            assert {asset for asset, _name, _start in origin.asked} == {3}
            peer.lacks = {1, 2}
            await eventually(lambda: world.shelf() == {0, 3})
            peer.coming = set()
            await eventually(lambda: len(world.shelf()) == 4)
    world.check_shelf()
    assert {asset for asset, _name, _start in origin.asked} == {1, 2, 3}


async def test_peers_share_the_load_and_none_gets_more_than_it_bears(world: World) -> None:
    """Files of one asset come from several peers at once, so many from each and no more."""
    world.library.add(1, *[100_000] * 24)
    world.settings["fill"] = {"files_parallel": 12, "source_parallel": 4}

    async def slowly(request, file, data, start):
        return await first.answer(request, file, data, start, pause_s=0.05)

    first, second = SourceServer(world.library), SourceServer(world.library)
    first.fault = second.fault = slowly
    origin = SourceServer(world.library)
    async with (
        served(first.app()) as first_url,
        served(second.app()) as second_url,
        served(origin.app()) as origin_url,
    ):
        world.source("first", first_url, SourceKind.PEER)
        world.source("second", second_url, SourceKind.PEER)
        world.source("origin", origin_url)
        world.fill.publish(world.wanting(1, 1))
        async with world.filled():
            await eventually(lambda: world.shelf() == {1})
    world.check_shelf()
    assert len(first.asked) >= 6 and len(second.asked) >= 6 and not origin.asked


async def test_a_quota_is_filled_in_the_plans_order(world: World) -> None:
    """When space is short what is worth most comes first, and the rest is named as left out."""
    for number in range(1, 6):
        world.library.add(number, 10_000)
    world.settings["fill"] = {"capacity_bytes": 30_000}
    origin = SourceServer(world.library)
    async with served(origin.app()) as url:
        world.source("origin", url)
        world.fill.publish(world.wanting(1, 5, 4, 3, 2, 1))
        async with world.filled():
            await eventually(lambda: world.shelf() == {5, 4, 3})
            await asyncio.sleep(0.5)
            assert world.shelf() == {5, 4, 3}


async def test_the_budget_of_a_plan_bounds_what_it_fetches(world: World) -> None:
    """fill_bytes is what may come under one plan."""
    for number in range(1, 6):
        world.library.add(number, 10_000)
    origin = SourceServer(world.library)
    async with served(origin.app()) as url:
        world.source("origin", url)
        world.fill.publish(world.wanting(1, 1, 2, 3, 4, 5, fill_bytes=25_000))
        async with world.filled():
            await eventually(lambda: world.shelf() == {1, 2})
            await asyncio.sleep(0.5)
            assert world.shelf() == {1, 2}


async def test_a_restart_does_not_give_the_budget_again(world: World) -> None:
    """What a night's budget paid for is written down; another plan in the night has its own."""
    for number in range(1, 6):
        world.library.add(number, 100_000)
    origin = SourceServer(world.library)
    async with served(origin.app()) as url:
        world.source("origin", url)
        world.fill.publish(world.wanting(1, 1, 2, 3, 4, 5, fill_bytes=350_000))
        async with world.filled():
            await eventually(lambda: world.shelf() == {1, 2, 3})
            await asyncio.sleep(1.2)
        async with world.filled():
            await asyncio.sleep(1.0)
            assert world.shelf() == {1, 2, 3}
            world.fill.publish(world.wanting(2, 1, 2, 3, 4, 5, fill_bytes=350_000))
            await eventually(lambda: world.shelf() == {1, 2, 3, 4, 5})


async def test_the_nights_budget_holds_whatever_plans_come(world: World) -> None:
    """The operator's bound on a night is not lifted by another plan."""
    for number in range(1, 5):
        world.library.add(number, 100_000)
    world.settings["fill"] = {"budget_bytes": 250_000}
    origin = SourceServer(world.library)
    async with served(origin.app()) as url:
        world.source("origin", url)
        world.fill.publish(world.wanting(1, 1, 2, 3, 4))
        async with world.filled():
            await eventually(lambda: world.shelf() == {1, 2})
            world.fill.publish(world.wanting(2, 3, 4, force=True))
            await asyncio.sleep(1.0)
            assert not world.shelf() & {3, 4}


async def test_what_is_pulled_in_vain_is_paid_for(world: World) -> None:
    """A liar costs budget: bytes are counted as they come, whatever becomes of them."""
    world.library.add(1, 200_000)
    world.library.add(2, 200_000)
    bad, good = SourceServer(world.library, fault=lie_late), SourceServer(world.library)
    async with served(bad.app()) as bad_url, served(good.app()) as good_url:
        world.source("bad", bad_url, SourceKind.SITE)
        world.source("origin", good_url)
        world.settings["fill"] = {"assets_parallel": 1}
        world.fill.publish(world.wanting(1, 1, 2, fill_bytes=500_000))
        async with world.filled():
            await eventually(lambda: world.shelf() == {1})
            await asyncio.sleep(0.5)
            assert world.shelf() == {1}


async def test_a_rate_limit_holds(world: World) -> None:
    """2 MB at 8 Mb/s take two seconds, not one."""
    world.library.add(1, 1_000_000, 1_000_000)
    world.settings["fill"] = {"rate_bps": 8_000_000}
    origin = SourceServer(world.library)
    loop = asyncio.get_running_loop()
    async with served(origin.app()) as url:
        world.source("origin", url)
        world.fill.publish(world.wanting(1, 1))
        async with world.filled():
            await eventually(lambda: bool(origin.asked))
            begin_s = loop.time()
            await eventually(lambda: world.shelf() == {1})
            assert 1.4 < loop.time() - begin_s < 15


async def test_nothing_is_fetched_outside_the_window(world: World) -> None:
    """A closed window stays closed, until a plan says that it may be any hour."""
    world.library.add(1, 1000)
    world.settings["fill"] = {"window": _closed_now()}
    origin = SourceServer(world.library)
    async with served(origin.app()) as url:
        world.source("origin", url)
        world.fill.publish(world.wanting(1, 1))
        async with world.filled():
            await asyncio.sleep(0.6)
            assert not origin.asked
            world.fill.publish(world.wanting(2, 1, out_of_window=True))
            await eventually(lambda: world.shelf() == {1})


def _closed_now() -> str:
    import datetime

    hour = datetime.datetime.now().hour
    return f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00"


async def test_an_entry_that_the_plan_does_not_mean_is_not_taken(world: World) -> None:
    """The catalogue entry is bound to the plan by its digest."""
    world.library.add(1, 1000)
    origin = SourceServer(world.library)
    async with served(origin.app()) as url:
        world.source("origin", url)
        plan = world.wanting(1, 1)
        world.library.add(2, 2000)
        world.library.assets[1] = world.library.assets[2]
        world.fill.publish(plan)
        async with world.filled():
            await asyncio.sleep(0.6)
            assert world.shelf() == set()
    assert not origin.asked


async def test_a_source_on_trial_holds_up_nobody(world: World) -> None:
    """A near source that hangs costs the one request that tries it; the rest comes from afar."""
    world.library.add(1, *[50_000] * 16)
    world.settings["fill"] = {"stall_s": 2.0, "assets_parallel": 1}
    bad, good = SourceServer(world.library, fault=stall), SourceServer(world.library)
    async with served(bad.app()) as bad_url, served(good.app()) as good_url:
        world.source("bad", bad_url, SourceKind.SITE)
        world.source("origin", good_url)
        world.fill.publish(world.wanting(1, 1))
        async with world.filled():
            await eventually(lambda: len(good.asked) >= 12, within_s=5.0)
            await eventually(lambda: world.shelf() == {1})
    world.check_shelf()


async def test_a_source_that_comes_back_is_asked_again_for_all(world: World) -> None:
    """An asset of many files: the one request on trial is waited for by the others."""
    world.library.add(1, *[100_000] * 8)
    broken = True

    async def stall_a_while(request, file, data, start):
        if broken:
            return await stall(request, file, data, start)
        await asyncio.sleep(0.2)
        return None

    origin = SourceServer(world.library, fault=stall_a_while)
    async with served(origin.app()) as url:
        world.source("origin", url)
        world.fill.publish(world.wanting(1, 1))
        async with world.filled():
            await asyncio.sleep(1.2)
            broken = False
            await eventually(lambda: world.shelf() == {1})
    world.check_shelf()
