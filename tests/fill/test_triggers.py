"""CDNI triggers: preposition, purge, invalidate, cancel and status, against a real `fill serve`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from pyroaring import BitMap

from fill.ledger import Ledger
from fill.triggers import Status, Trigger, named_assets, read_command
from tests.fill.ground import Ground, kill
from wire.codec import encode
from wire.errors import WireError
from wire.plan import Plan, PurgeAck, open_plan
from wire.reports import Inventory, pack_bitmap

WAIT_S = 20.0


@pytest.fixture
def served(ground: Ground) -> Iterator[Ground]:
    """Twelve assets, ten of them asked for, a plan in force, and `fill serve`."""
    snapshot = ground.synthetic(12)
    asked = list(snapshot.entries)[:5]
    ground.demand(*(("2026-11-22", "isp-b", asset, 10**6) for asset in asked))
    ground.fill("plan")
    service = ground.serve()
    yield ground
    kill(service)


async def ask(
    ground: Ground, method: str, path: str, body: Any = None
) -> tuple[int, Any, dict[str, str]]:
    """One request to the admin listener: status, body, headers."""
    url = path if path.startswith("http") else f"http://{ground.admin}{path}"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=None if body is None else json.dumps(body)) as reply,
    ):
        raw = await reply.read()
        return reply.status, json.loads(raw) if raw else None, dict(reply.headers)


async def trigger(ground: Ground, **fields: Any) -> str:
    """Create a trigger; its resource."""
    status, body, headers = await ask(ground, "POST", "/v1/triggers", {"trigger": fields})
    assert status == 201 and body["status"] == "pending"
    return headers["Location"]


async def until(ground: Ground, resource: str, *wanted: str) -> Any:
    """The resource as soon as it is in one of these states."""
    end_s = time.monotonic() + WAIT_S
    while True:
        _, body, headers = await ask(ground, "GET", resource)
        assert headers["Content-Type"].startswith("application/cdni")
        if body["status"] in wanted:
            return body
        assert time.monotonic() < end_s, body
        await asyncio.sleep(0.05)


def plan(ground: Ground, box: str) -> Plan:
    """The plan in force of a box."""
    number = Ledger(ground.folder / "state").current()
    return open_plan(ground.slice(box, number), ground.files.own_keys())


async def report(ground: Ground, box: str, assets: set[int]) -> None:
    """A box says what it holds."""
    epoch = ground.files.read_catalogue().epoch
    message = Inventory(
        appliance=box,
        epoch=epoch,
        boot=1,
        seq=int(time.time()),
        base_seq=None,
        added=pack_bitmap(BitMap(assets)),
        removed=pack_bitmap(BitMap()),
    )
    status, *_ = await ground.call("PUT", f"/v1/inventory/{box}", box, encode(message))
    assert status == 200


async def test_a_preposition_puts_an_asset_in_every_site_at_once(served: Ground) -> None:
    """A new generation for the boxes concerned, to be fetched at any hour, first of all and with a
    budget of just that; complete when all of them hold it; the next night keeps it."""
    before = plan(served, "b1")
    resource = await trigger(served, **{"type": "preposition", "content.urls": ["http://h/a/9/"]})
    await until(served, resource, "active")
    holders = []
    for box in ("a1", "a2", "b1", "x1"):
        now = plan(served, box)
        if 9 in {item.asset for item in now.desired}:
            holders.append(box)
            assert now.desired[0].asset == 9 and now.out_of_window
            assert now.fill_bytes == now.desired[0].bytes
            assert now.sources[now.desired[0].sources[0]].id == "origin"
    assert len(holders) == 3 and "b1" in holders and "x1" in holders
    kept = {item.asset for item in plan(served, "b1").desired}
    assert kept == {9, *(item.asset for item in before.desired)}
    for box in holders:
        assert (await ask(served, "GET", resource))[1]["status"] == "active"
        await report(served, box, {item.asset for item in plan(served, box).desired})
    await until(served, resource, "complete")
    served.fill("plan")
    assert 9 in {item.asset for item in plan(served, "b1").desired}
    assert not plan(served, "b1").out_of_window


async def test_a_purge_is_active_until_every_box_has_carried_it_out(served: Ground) -> None:
    """By title; the boxes' acknowledgements complete it."""
    resource = await trigger(served, **{"type": "purge", "content.ccid": ["t003"]})
    body = await until(served, resource, "active")
    assert served.files.read_purge(served.files.read_catalogue().epoch).assets == tuple(
        body["assets"]
    )
    for box in ("a1", "a2", "b1", "x1", "origin"):
        assert (await ask(served, "GET", resource))[1]["status"] == "active"
        ack = PurgeAck(appliance=box, number=body["purge_list"])
        assert (await served.call("POST", "/v1/purge/ack", box, encode(ack)))[0] == 200
    await until(served, resource, "complete")


async def test_what_is_in_the_catalogue_is_valid(served: Ground) -> None:
    """Assets never change under their number, so an invalidation of one purges nothing."""
    pattern = {"pattern": "https://any/a/*/part_?.bin"}
    resource = await trigger(served, **{"type": "invalidate", "content.patterns": [pattern]})
    body = await until(served, resource, "complete")
    assert len(body["assets"]) == 12 and not served.files.purge.exists()


async def test_unknown_content_fails_and_says_what(served: Ground) -> None:
    """econtent, with the URLs and titles at fault; nothing else of it is done."""
    named = {"content.urls": ["/a/9/", "/a/77/x", "/b"], "content.ccid": ["nowhere"]}
    resource = await trigger(served, **{"type": "preposition", **named})
    body = await until(served, resource, "failed")
    assert body["errors"] == [
        {"error": "econtent", "content.urls": ["/a/77/x", "/b"], "content.ccid": ["nowhere"]}
    ]
    assert Ledger(served.folder / "state").current() == 1


async def test_a_list_a_cancel_and_an_end(served: Ground) -> None:
    """Collections by state; a preposition can be called off, a purge cannot; DELETE forgets."""
    put = await trigger(served, **{"type": "preposition", "content.urls": ["/a/9/"]})
    gone = await trigger(served, **{"type": "purge", "content.urls": ["/a/2/"]})
    await until(served, put, "active")
    await until(served, gone, "active")
    _, found, _ = await ask(served, "GET", "/v1/triggers?status=active")
    assert found["triggers"] == [put, gone]
    assert (await ask(served, "POST", "/v1/triggers", {"cancel": [put]}))[0] == 200
    assert (await ask(served, "GET", put))[1]["errors"] == [{"error": "ecancelled"}]
    assert (await ask(served, "POST", "/v1/triggers", {"cancel": [gone]}))[0] == 409
    assert (await ask(served, "DELETE", put))[0] == 204
    assert (await ask(served, "GET", put))[0] == 404


async def test_triggers_outlive_the_service(ground: Ground) -> None:
    """kill -9, and the resources are what they were."""
    ground.falling_demand(ground.synthetic(12))
    ground.fill("plan")
    service = ground.serve()
    resource = await trigger(ground, **{"type": "purge", "content.urls": ["/a/2/"]})
    before = await until(ground, resource, "active")
    kill(service)
    service = ground.serve()
    try:
        assert (await ask(ground, "GET", resource))[1] == before
    finally:
        kill(service)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"trigger":{"type":"explode","content.urls":["/a/1/"]}}',
        b'{"trigger":{"type":"purge"}}',
        b'{"trigger":{"type":"purge","metadata.urls":["/m"]}}',
        b'{"trigger":{"type":"preposition","content.patterns":[{"pattern":"*"}]}}',
        b'{"trigger":{"type":"purge","content.urls":["/a/1/"]},"cancel":["/v1/triggers/1"]}',
    ],
)
def test_a_command_that_is_none_is_refused(body: bytes) -> None:
    """With the field at fault."""
    with pytest.raises(WireError):
        read_command(body)


def test_patterns_mean_what_the_rfc_says(ground: Ground) -> None:
    """`*`, `?`, `$` as escape, case as told; a pattern of many stars is matched in no time."""
    snapshot = ground.synthetic(3)

    def found(pattern: str, *, case_sensitive: bool = False) -> int:
        raw = {"pattern": pattern, "case-sensitive": case_sensitive}
        command = read_command(
            json.dumps({"trigger": {"type": "purge", "content.patterns": [raw]}}).encode()
        )
        assert command.trigger is not None
        return len(named_assets(command.trigger, snapshot)[0])

    assert found("/a/1/*") == 1 and found("/A/1/PART_0.BIN") == 1
    assert found("/A/1/*", case_sensitive=True) == 0
    assert found("/a/?/part_0.bin") == 3 and found("/a/$?/*") == 0
    assert found("*" * 500 + "x") == 0


def test_ended_triggers_stay_ended() -> None:
    """The table of steps has none out of an end."""
    done = Status(trigger=Trigger(type="purge"), ctime=0, mtime=0, status="complete")
    with pytest.raises(ValueError, match="cannot become"):
        done.moved("active", 1)
