"""`fill serve` as its callers meet it: a real process, real sockets, signed requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace
from pyroaring import BitMap

from fill.catalogue import Snapshot
from fill.demand import DemandRow
from fill.history import History
from tests.fill.ground import Ground, kill
from wire.auth import bearer
from wire.catalogue import TitleIndex
from wire.codec import decode, encode
from wire.events import Delivered, EventAck, EventBatch
from wire.offload import OffloadReport
from wire.plan import PurgeAck, open_plan, open_purge
from wire.problem import Problem
from wire.reports import Inventory, InventoryReply, pack_bitmap

MINUTE = int(time.time()) // 60 - 90
DAY = MINUTE // 1440


@pytest.fixture
def snapshot(ground: Ground) -> Snapshot:
    """A film and a dozen synthetic assets, with demand."""
    ground.add_film("film")
    made = ground.synthetic(12)
    ground.falling_demand(made)
    return made


@pytest.fixture
def service(ground: Ground, snapshot: Snapshot) -> Iterator[subprocess.Popen[bytes]]:
    """A running `fill serve`."""
    process = ground.serve()
    yield process
    kill(process)


def batch(seq: int, *rows: tuple[int, str, int], who: str = "a1", boot: int = 1) -> bytes:
    """An encoded batch of (asset, home, bytes) rows."""
    delivered = (Delivered(asset=a, home=h, minute=MINUTE, bytes=b) for a, h, b in rows)
    site = {"a": "isp-a", "b": "isp-b", "x": "exchange", "o": "origin"}[who[0]]
    return encode(EventBatch(appliance=who, site=site, boot=boot, seq=seq, rows=tuple(delivered)))


async def post(ground: Ground, body: bytes, who: str = "a1") -> EventAck:
    """Post a batch and return its acknowledgement."""
    status, raw, _ = await ground.call("POST", "/v1/events", who, body)
    assert status == 200, raw
    return decode(EventAck, raw, "ack")


async def admin(ground: Ground, path: str) -> tuple[int, bytes]:
    """One request to the admin listener."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{ground.admin}{path}") as reply,
    ):
        return reply.status, await reply.read()


def problem(raw: bytes) -> Problem:
    """The problem document of a refusal."""
    return decode(Problem, raw, "problem")


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
    plan = open_plan((ground.folder / "state/plans/1/b1.jws").read_bytes(), ground.files.own_keys())
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
    plan = open_plan((ground.folder / "state/plans/1/b1.jws").read_bytes(), ground.files.own_keys())
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


# --- events ---------------------------------------------------------------------------------------


async def test_events_become_demand_and_offload(
    ground: Ground, snapshot: Snapshot, service: object
) -> None:
    """Demand belongs to the home site, whoever served; offload is what that site served itself."""
    ground.fill("plan")
    one, two = list(snapshot.entries)[3:5]
    await post(ground, batch(1, (one, "isp-a", 900), (two, "isp-a", 50)))
    await post(ground, batch(1, (one, "isp-a", 50), who="x1"), "x1")
    await post(ground, batch(1, (two, "isp-b", 400), (two, "", 3), who="origin"), "origin")
    history = History(ground.folder / "state/history.sqlite")
    assert history.demand(7) == [
        DemandRow(DAY, "", two, 3),
        DemandRow(DAY, "isp-a", one, 950),
        DemandRow(DAY, "isp-a", two, 50),
        DemandRow(DAY, "isp-b", two, 400),
    ]
    history.close()
    status, raw = await admin(ground, f"/v1/offload?since={MINUTE * 60}")
    report = decode(OffloadReport, raw, "offload")
    assert status == 200
    home = report.homes["isp-a"]
    assert home.bytes == 1000 and home.by_site == {"exchange": 50, "isp-a": 950}
    assert home.by_appliance == {"a1": 950, "x1": 50}
    assert home.realised == 0.95 and home.planned is not None
    assert report.homes["isp-b"].realised == 0.0
    assert report.homes[""].bytes == 3 and report.homes[""].realised is None
    _, raw = await admin(ground, f"/v1/offload?since={MINUTE * 60 + 60}")
    assert decode(OffloadReport, raw, "offload").homes == {}
    assert (await admin(ground, "/v1/offload?since=yesterday"))[0] == 400
    table = ground.fill("offload", "--since", str(MINUTE * 60)).stdout
    assert "95.0%" in table and "exchange 50 B" in table


async def test_the_second_night_is_planned_from_what_was_watched(
    ground: Ground, snapshot: Snapshot, service: object
) -> None:
    """Events of the day decide what the next plan holds."""
    favourite = list(snapshot.entries)[-1]
    await post(ground, batch(1, (favourite, "isp-b", 10**6), who="b1"), "b1")
    ground.write_config(demand='use = "history"')
    ground.fill("plan")
    plan = open_plan((ground.folder / "state/plans/1/b1.jws").read_bytes(), ground.files.own_keys())
    assert [item.asset for item in plan.desired] == [favourite]


async def test_a_batch_sent_again_counts_once(ground: Ground, service: object) -> None:
    """Replays, in any order and at the same time, are acknowledged and not added."""
    body = batch(1, (1, "isp-a", 100))
    acks = await asyncio.gather(*(post(ground, body) for _ in range(10)))
    assert {ack.seq for ack in acks} == {1}
    changed = batch(1, (1, "isp-a", 999))  # the number decides, not the content
    assert (await post(ground, changed)).seq == 1
    assert total(ground) == 100


async def test_only_what_has_no_gap_is_acknowledged(ground: Ground, service: object) -> None:
    """3 and 2 wait for 1; another boot counts by itself."""
    assert (await post(ground, batch(3, (1, "isp-a", 1)))).seq == 0
    assert (await post(ground, batch(2, (1, "isp-a", 10)))).seq == 0
    assert (await post(ground, batch(1, (1, "isp-a", 100)))).seq == 3
    assert (await post(ground, batch(2, (1, "isp-a", 5000)))).seq == 3
    ack = await post(ground, batch(1, (1, "isp-a", 1000), boot=2))
    assert (ack.boot, ack.seq) == (2, 1)
    assert total(ground) == 1111


async def test_a_lost_history_does_not_wait_for_what_was_acknowledged(
    ground: Ground, service: object
) -> None:
    """The sender says what it still has; each batch counts once, also when it comes again."""
    assert (await post(ground, batch(7, (1, "isp-a", 1)))).seq == 0
    seventh = replace(decode(EventBatch, batch(7, (1, "isp-a", 1)), "batch"), oldest=7)
    assert (await post(ground, encode(seventh))).seq == 7
    assert (await post(ground, batch(6, (1, "isp-a", 500)))).seq == 7
    assert (await post(ground, batch(8, (1, "isp-a", 10)))).seq == 8
    too_far = replace(seventh, seq=9, oldest=10**9)
    assert (await post(ground, encode(too_far))).seq == 9
    assert total(ground) == 12


async def test_no_number_of_one_box_stops_the_books_of_all(ground: Ground, service: object) -> None:
    """What a database cannot hold is refused, and the next batch is stored."""
    huge = batch(1, (1, "isp-a", 1)).replace(b'"seq":1', b'"seq":%d' % 2**63)
    async with asyncio.timeout(5):
        status, raw, _ = await ground.call("POST", "/v1/events", "a1", huge)
        assert status == 400 and problem(raw).field == "$.seq"
        assert (await post(ground, batch(1, (1, "isp-a", 100)))).seq == 1
    most = tuple((1, "isp-a", 75 * 10**12) for _ in range(100_000))
    for seq in (2, 3):
        assert (await post(ground, batch(seq, *most))).seq == seq
    ground.fill("offload")
    ground.write_config(demand='use = "history"')
    ground.fill("plan")


async def test_a_clock_that_is_ahead_counts_as_now(ground: Ground, service: object) -> None:
    """Else its day would be the newest for ever, and all that planning looks at."""
    rows = (Delivered(asset=1, home="isp-a", minute=2**40, bytes=5),)
    await post(ground, encode(EventBatch(appliance="a1", site="isp-a", boot=1, seq=1, rows=rows)))
    history = History(ground.folder / "state/history.sqlite")
    (row,) = history.demand(1)
    history.close()
    assert abs(row.day - time.time() // 86_400) <= 1


async def test_a_tampered_body_or_another_signer_counts_nothing(
    ground: Ground, service: object
) -> None:
    """The signature covers the bytes; the appliance in the batch must be the one that signed."""
    body = batch(1, (1, "isp-a", 100))
    status, _, _ = await ground.call(
        "POST",
        "/v1/events",
        "a1",
        body.replace(b":100", b":900"),
        Authorization=bearer(ground.keys["a1"], "fill", time.time(), body),
    )
    assert status == 401
    assert (await ground.call("POST", "/v1/events", "a2", body))[0] == 403
    status, raw, _ = await ground.call("POST", "/v1/events", "a1", batch(1, (1, "isp-a", 10**15)))
    assert status == 400 and problem(raw).field == "$.rows[0].bytes"
    status, raw, _ = await ground.call("POST", "/v1/events", "a1", b'{"appliance":"a1","seq":-1}')
    assert status == 400
    assert total(ground) == 0


def total(ground: Ground) -> int:
    """All bytes in the history."""
    history = History(ground.folder / "state/history.sqlite")
    try:
        return sum(row[3] for row in history.totals(0))
    finally:
        history.close()


async def test_kill_at_any_moment_loses_nothing_that_was_acknowledged(
    ground: Ground, service: subprocess.Popen[bytes]
) -> None:
    """An agent that posts until acknowledged, through five kill -9s, is counted exactly."""
    seed = random.randrange(10**9)
    print("seed", seed)
    draw = random.Random(seed)
    process, expected, acked, seq = service, 0, 0, 0
    async with aiohttp.ClientSession() as session:
        for _ in range(5):
            kill_at = asyncio.get_running_loop().time() + draw.uniform(0.05, 0.4)
            while asyncio.get_running_loop().time() < kill_at:
                if acked == seq:
                    seq += 1
                    amount = draw.randrange(1, 10**6)
                    body = batch(seq, (1, "isp-a", amount))
                    expected += amount
                sending = asyncio.create_task(_try(session, ground, body))
                if draw.random() < 0.2:
                    await asyncio.sleep(draw.uniform(0, 0.01))
                    break
                acked = max(acked, await sending)
            process.kill()
            process.wait()
            if not sending.done():
                acked = max(acked, await sending)
            assert total(ground) >= expected - (amount if acked < seq else 0)
            process = await asyncio.to_thread(ground.serve)
    try:
        assert (await post(ground, body)).seq == seq
        assert total(ground) == expected
    finally:
        kill(process)


async def _try(session: aiohttp.ClientSession, ground: Ground, body: bytes) -> int:
    """Post once; the acknowledged number, or 0 when the service is gone."""
    try:
        async with session.post(
            f"http://{ground.listen}/v1/events", data=body, headers=ground.signed("a1", body)
        ) as reply:
            raw = await reply.read()
            return decode(EventAck, raw, "ack").seq if reply.status == 200 else 0
    except (aiohttp.ClientError, OSError):
        return 0


def test_plans_are_made_while_events_come_in(
    ground: Ground, snapshot: Snapshot, service: object
) -> None:
    """The planner reads the same database that the service writes, and neither waits long."""

    async def flood() -> int:
        for seq in range(1, 40):
            await post(ground, batch(seq, *((a, "isp-a", 10) for a in snapshot.entries)))
        return 39

    ground.write_config(demand='use = "both"\nfiles = ["demand.csv"]')
    with ThreadPoolExecutor(1) as pool:
        posted = pool.submit(asyncio.run, flood())
        ground.fill("plan")
        ground.fill("plan")
        assert posted.result() == 39
    assert total(ground) == 39 * 10 * len(snapshot.entries)


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
    plan = open_plan((ground.folder / "state/plans/1/b1.jws").read_bytes(), ground.files.own_keys())
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
