"""What an operator or the urgent purge names is forgotten at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.faults.test_disks import free_port
from tests.faults.world import Box
from tests.oca.agent.world import EPOCH, eventually
from tests.oca.running import Oca
from tests.oca.through.test_proxy import status_of
from tests.oca.through.upstreams import Thing, Upstream, body_of
from tests.typed import Done, typed
from wire.plan import PurgeList

Proxy = Callable[..., Oca]
FRESH = {"Cache-Control": "max-age=600"}


def purge(*args: str) -> Done:
    """The command."""
    return typed("oca", "purge", *args)


def test_an_object_is_purged_by_its_url(proxy: Proxy, upstream: Upstream, tmp_path: Path) -> None:
    """The next request brings the new bytes; others stay; `--below` takes all that begins so."""
    for path in ("/p/a", "/p/b?x=1", "/q", "/p/none"):
        upstream.things[path] = Thing(body_of("old" + path, 1_500_000), dict(FRESH))
    del upstream.things["/p/none"]
    oca = proxy()
    for path in ("/p/a", "/p/b?x=1", "/q", "/p/none"):
        oca.get(path)
    new = body_of("new", 1_200_000)
    upstream.things["/p/a"] = Thing(new, dict(FRESH), etag='"v2"')
    store = str(tmp_path / "store")
    assert purge("--store", store, "http://anything.test/p/a").stdout == "1 purged\n"
    again = oca.get("/p/a")
    assert again.body == new
    assert status_of(again).startswith("fwd=uri-miss")
    assert status_of(oca.get("/q")).startswith("hit")
    assert purge("--store", store, "--below", "/p/").stdout == "3 purged\n"
    assert purge("--store", store, "/p/a", "/never").stdout == "0 purged\n"
    assert status_of(oca.get("/p/b?x=1")).startswith("fwd=uri-miss")
    assert status_of(oca.get("/q")).startswith("hit")


def test_who_asks_where_no_fetcher_is_hears_so(tmp_path: Path) -> None:
    """One line, exit 1."""
    done = purge("--store", str(tmp_path), "/x")
    assert done.returncode == 1
    assert "no caching proxy's store" in done.stderr


async def test_the_urgent_purge_reaches_what_was_pulled_through(
    tmp_path: Path, upstream: Upstream
) -> None:
    """An asset on the signed list is not served from the dynamic region any more."""
    box = Box(tmp_path, [tmp_path / "d1"], free_port(), free_port())
    box.want(1, 1, 1000)
    box.world.library.add(7, 50_000)
    body = box.world.library.content[7]["seg-0.m4s"]
    upstream.things["/a/7/seg-0.m4s"] = Thing(body, dict(FRESH))
    through = {"policy": "fetch", "upstream": upstream.url}
    box.world.settings["through"] = through
    async with box.running():
        await box.holds({0})
        for _ in range(2):
            assert await box.get(7) == (200, body)
        assert len(upstream.asked) == 1
        purged = PurgeList(epoch=EPOCH, number=1, assets=(7,))
        box.world.fill.publish_purge(purged)
        await eventually(lambda: bool(box.world.fill.purge_acks), 20)
        del upstream.things["/a/7/seg-0.m4s"]
        status, _ = await asyncio.wait_for(box.get(7), 10)
        assert status == 404
