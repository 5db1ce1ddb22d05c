"""`fill serve` as its callers meet it: a real process, real sockets, signed requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest
from pyroaring import BitMap

from fill.catalogue import Snapshot
from tests.fill.books import admin, batch, post, problem, total
from tests.fill.ground import Ground, kill
from wire.auth import bearer
from wire.catalogue import TitleIndex
from wire.codec import decode, encode
from wire.plan import PurgeAck, open_plan, open_purge
from wire.reports import Inventory, InventoryReply, pack_bitmap

# --- plans ----------------------------------------------------------------------------------------


async def test_a_box_gets_its_signed_plan_and_304_when_it_has_it(
    ground: Ground, service: object
) -> None:
    """ETag is the generation; a new generation shows at once, without a restart."""
    status, raw, _ = await ground.call("GET", "/v1/plan/a1", "a1")
    assert status == 404 and "no plan has been published yet" in problem(raw).detail
    ground.fill("plan")
    status, raw, headers = await ground.call("GET", "/v1/plan/a1", "a1")
    assert status == 200
    assert headers["ETag"] == '"1"' and headers["Content-Type"] == "application/jose"
    plan = open_plan(raw, ground.files.own_keys())
    assert plan.appliance == "a1" and plan.desired
    status, raw, _ = await ground.call("GET", "/v1/plan/a1", "a1", **{"If-None-Match": '"1"'})
    assert status == 304 and raw == b""
    ground.fill("plan")
    status, raw, headers = await ground.call("GET", "/v1/plan/a1", "a1", **{"If-None-Match": '"1"'})
    assert status == 200 and headers["ETag"] == '"2"'


async def test_a_canarys_neighbours_keep_their_etag(ground: Ground, service: object) -> None:
    """Their plan has not changed, so they are told nothing new."""
    ground.fill("plan")
    ground.fill("plan", "--canary", "b1")
    tags = {}
    for who in ("a1", "b1"):
        _, _, headers = await ground.call("GET", f"/v1/plan/{who}", who)
        tags[who] = headers["ETag"]
    assert tags == {"a1": '"1"', "b1": '"2"'}


@pytest.mark.parametrize("path", ["/v1/plan/a1", "/v1/assets/1", "/v1/purge"])
async def test_nobody_reads_without_a_signature(ground: Ground, service: object, path: str) -> None:
    """401 as a problem document; what the caller wanted does not matter."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{ground.listen}{path}") as reply,
    ):
        assert reply.status == 401
        assert reply.content_type == "application/problem+json"


async def test_signatures_are_checked_in_every_respect(ground: Ground, service: object) -> None:
    """Unknown key, another's key, another audience, an old one: 401 each."""
    ground.fill("plan")
    now_s = time.time()
    forged = ground.keys["a2"]
    headers = [
        bearer(type(forged)(forged.alg, forged.key, "a1"), "fill", now_s),
        bearer(type(forged)(forged.alg, forged.key, "nobody"), "fill", now_s),
        bearer(ground.keys["a1"], "steering", now_s),
        bearer(ground.keys["a1"], "fill", now_s - 3600),
        bearer(ground.keys["steering"], "fill", now_s),
        "Bearer x.y.z",
    ]
    for header in headers:
        status, _, _ = await ground.call("GET", "/v1/plan/a1", "a1", Authorization=header)
        assert status == 401


async def test_an_appliance_reads_no_other_plan(ground: Ground, service: object) -> None:
    """403 for a neighbour's, 404 for one that nobody knows."""
    ground.fill("plan")
    status, raw, _ = await ground.call("GET", "/v1/plan/a2", "a1")
    assert status == 403 and "speaks only for itself" in problem(raw).detail
    status, raw, _ = await ground.call("GET", "/v1/plan/zz", "a1")
    assert status == 404 and "no appliance 'zz'" in problem(raw).detail


# --- catalogue ------------------------------------------------------------------------------------


async def test_steering_reads_titles_and_sees_new_ones(ground: Ground, service: object) -> None:
    """Signed by steering's own key; ETag and 304; a new catalogue needs no restart."""
    status, raw, headers = await ground.call("GET", "/v1/catalogue/titles", "steering")
    assert status == 200
    titles = {title.id: title for title in decode(TitleIndex, raw, "titles").titles}
    assert len(titles) == 13 and titles["film"].manifest is not None
    assert {asset.name for asset in titles["film"].assets} == {"v240", "sound"}
    tag = {"If-None-Match": headers["ETag"]}
    assert (await ground.call("GET", "/v1/catalogue/titles", "steering", **tag))[0] == 304
    ground.add("new", part_0=100)
    ground.catalogue()
    status, raw, _ = await ground.call("GET", "/v1/catalogue/titles", "a1", **tag)
    assert status == 200 and b'"new"' in raw


async def test_an_assets_entry_is_byte_for_byte_that_of_the_store(
    ground: Ground, snapshot: Snapshot, service: object
) -> None:
    """What the plan's digest vouches for is what the box gets; unknown numbers are 404."""
    for number in snapshot.entries:
        status, raw, _ = await ground.call("GET", f"/v1/assets/{number}", "b1")
        assert status == 200
        assert raw == (ground.media / "a" / str(number) / ".asset.json").read_bytes()
    for unknown in ("999", "x", "-1", "9" * 40, "²"):
        status, raw, _ = await ground.call("GET", f"/v1/assets/{unknown}", "b1")
        assert status == 404 and problem(raw).status == 404


async def test_a_broken_catalogue_leaves_the_last_good_one_in_use(
    ground: Ground, service: object
) -> None:
    """An operator's slip is logged; nobody's fill stops for it."""
    assert (await ground.call("GET", "/v1/assets/1", "a1"))[0] == 200
    (ground.media / "catalogue.json").write_text("{")
    assert (await ground.call("GET", "/v1/assets/1", "a1"))[0] == 200
    assert "the last good one stays" in (ground.folder / "serve.log").read_text()


# --- inventories ----------------------------------------------------------------------------------


def inventory(snapshot: Snapshot, who: str, seq: int, added: set[int], **more: object) -> bytes:
    """An encoded inventory."""
    value = Inventory(
        appliance=who,
        epoch=str(more.pop("epoch", snapshot.epoch)),
        boot=1,
        seq=seq,
        added=pack_bitmap(BitMap(added)),
        **more,  # type: ignore[arg-type]  # tests name the fields
    )
    return encode(value)


async def put(ground: Ground, who: str, body: bytes) -> tuple[int, bytes]:
    """PUT an inventory."""
    status, raw, _ = await ground.call("PUT", f"/v1/inventory/{who}", who, body)
    return status, raw


async def test_a_box_that_claims_to_hold_everything_does_not_stop_the_night(
    ground: Ground, snapshot: Snapshot, service: subprocess.Popen[bytes]
) -> None:
    """A megabyte of bitmap may name four billion assets: only those that ever were count."""
    everything = BitMap()
    everything.add_range(0, 2**32)
    everything.run_optimize()
    report = Inventory(
        appliance="b1", epoch=snapshot.epoch, boot=1, seq=1, added=pack_bitmap(everything)
    )
    assert (await put(ground, "b1", encode(report)))[0] == 200
    kill(service)
    ground.fill("plan")
    plan = open_plan(
        (ground.folder / "state/generations/1/slices/b1.jws").read_bytes(), ground.files.own_keys()
    )
    assert {item.action for item in plan.desired} == {"keep"}


async def test_a_stranger_cannot_make_fill_hold_much(
    ground: Ground, service: subprocess.Popen[bytes]
) -> None:
    """A large body is refused before it is read, a compressed one is never unpacked."""
    before = peak_bytes(service.pid)
    host, _, port = ground.listen.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n")
    async with asyncio.timeout(5):
        assert b" 401 " in await reader.readline()
    writer.close()
    bomb = gzip.compress(bytes(60_000_000))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{ground.listen}/v1/events", data=bomb, headers=headers) as reply,
    ):
        assert reply.status == 401
    assert peak_bytes(service.pid) - before < 10_000_000


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def test_a_plan_knows_what_was_reported(
    ground: Ground, snapshot: Snapshot, service: subprocess.Popen[bytes]
) -> None:
    """Full, then a delta; `fill plan` keeps those and fetches the rest, kill -9 or not."""
    ids = sorted(snapshot.entries)[3:7]
    status, raw = await put(ground, "b1", inventory(snapshot, "b1", 1, set(ids[:3])))
    assert status == 200
    assert decode(InventoryReply, raw, "reply") == InventoryReply(boot=1, seq=1)
    removed = pack_bitmap(BitMap([ids[0]]))
    delta = inventory(snapshot, "b1", 2, {ids[3]}, base_seq=1, removed=removed)
    assert (await put(ground, "b1", delta))[0] == 200
    kill(service)
    ground.fill("plan")
    plan = open_plan(
        (ground.folder / "state/generations/1/slices/b1.jws").read_bytes(), ground.files.own_keys()
    )
    kept = {item.asset for item in plan.desired if item.action == "keep"}
    assert kept == set(ids[1:])


async def test_a_gap_is_answered_by_asking_for_everything(
    ground: Ground, snapshot: Snapshot, service: object
) -> None:
    """A delta to an inventory that is not the one held here changes nothing."""
    await put(ground, "b1", inventory(snapshot, "b1", 1, {2}))
    _, raw = await put(ground, "b1", inventory(snapshot, "b1", 3, {3}, base_seq=2))
    reply = decode(InventoryReply, raw, "reply")
    assert reply.send_full and reply.seq == 1
    _, raw = await put(ground, "b1", inventory(snapshot, "b1", 3, {2, 3}))
    assert decode(InventoryReply, raw, "reply") == InventoryReply(boot=1, seq=3)


async def test_an_inventory_of_another_world_is_refused(
    ground: Ground, snapshot: Snapshot, service: object
) -> None:
    """409 that shows both epochs; one for a neighbour is 403; nonsense is 400 with its field."""
    status, raw = await put(ground, "b1", inventory(snapshot, "b1", 1, {2}, epoch="f" * 16))
    assert status == 409 and snapshot.epoch in problem(raw).detail
    assert (await put(ground, "a1", inventory(snapshot, "b1", 1, {2})))[0] == 403
    status, raw = await put(ground, "b1", b'{"appliance":"b1"}')
    assert status == 400 and "epoch" in problem(raw).detail
    body = json.loads(inventory(snapshot, "b1", 1, {2})) | {"added": "AAAA"}
    status, raw = await put(ground, "b1", json.dumps(body).encode())
    assert status == 400 and "bitmap" in problem(raw).detail


# --- purge ----------------------------------------------------------------------------------------


async def test_a_purge_is_signed_listed_and_acknowledged_box_by_box(
    ground: Ground, snapshot: Snapshot, service: object
) -> None:
    """Boxes poll the list; --status names who has not carried it out."""
    status, raw, headers = await ground.call("GET", "/v1/purge", "a1")
    assert status == 200 and headers["ETag"] == '"0"'
    assert open_purge(raw, ground.files.own_keys()).assets == ()
    ids = sorted(snapshot.entries)[-2:]
    ground.fill("purge", str(ids[0]))
    ground.fill("purge", str(ids[1]))
    _, raw, headers = await ground.call("GET", "/v1/purge", "a1", **{"If-None-Match": '"0"'})
    purge = open_purge(raw, ground.files.own_keys())
    assert headers["ETag"] == '"2"'
    assert (purge.number, purge.assets, purge.epoch) == (2, tuple(ids), snapshot.epoch)
    for who, number in (("a1", 2), ("a2", 1), ("b1", 2), ("x1", 2), ("origin", 2)):
        ack = encode(PurgeAck(appliance=who, number=number))
        assert (await ground.call("POST", "/v1/purge/ack", who, ack))[0] == 200
    late = ground.fill("purge", "--status", check=False)
    assert late.returncode == 1
    assert late.stdout == "a2: has carried out list 1 of 2\n"
    stranger = encode(PurgeAck(appliance="a2", number=2))
    assert (await ground.call("POST", "/v1/purge/ack", "a1", stranger))[0] == 403
    await ground.call("POST", "/v1/purge/ack", "a2", stranger)
    assert "every box has carried out" in ground.fill("purge", "--status").stdout
    ground.fill("plan")
    plan = open_plan(
        (ground.folder / "state/generations/1/slices/b1.jws").read_bytes(), ground.files.own_keys()
    )
    assert not {item.asset for item in plan.desired} & set(ids)


# --- operations -----------------------------------------------------------------------------------


async def test_metrics_and_health_live_on_the_admin_listener_only(
    ground: Ground, service: object
) -> None:
    """The public side knows neither, nor the offload report."""
    await post(ground, batch(1, (1, "isp-a", 100)))
    status, raw = await admin(ground, "/metrics")
    assert status == 200
    assert b'fill_delivered_bytes_total{site="isp-a"} 100.0' in raw
    assert b'fill_event_batches_total{outcome="new"} 1.0' in raw
    assert (await admin(ground, "/healthz")) == (200, b"ok\n")
    for path in ("/metrics", "/healthz", "/v1/offload"):
        status, raw, headers = await ground.call("GET", path, "a1")
        assert status == 404 and headers["Content-Type"].startswith("application/problem+json")


async def test_a_body_without_end_is_cut_off(ground: Ground, service: object) -> None:
    """More than 32 MiB is refused as too large, and the service goes on."""
    try:
        status, _, _ = await ground.call("POST", "/v1/events", "a1", b" " * (33 * 1024 * 1024))
        assert status == 413
    except aiohttp.ClientError:
        pass  # it may also close while we are still sending
    assert (await ground.call("GET", "/v1/assets/1", "a1"))[0] == 200


def test_sigterm_ends_it_well(ground: Ground, service: subprocess.Popen[bytes]) -> None:
    """Exit code 0, and the history is closed."""
    service.terminate()
    assert service.wait(timeout=10) == 0
    assert total(ground) == 0
