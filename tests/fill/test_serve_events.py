"""`fill serve` keeps the books: every acknowledged byte counts once, for the right home site."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from msgspec.structs import replace

from fill.catalogue import Snapshot
from fill.demand import DemandRow
from fill.history import History
from tests.fill.books import DAY, MINUTE, admin, batch, post, problem, total
from tests.fill.ground import Ground, kill
from wire.auth import bearer
from wire.codec import decode, encode
from wire.events import Delivered, EventAck, EventBatch, FillProgress
from wire.offload import OffloadReport
from wire.plan import open_plan


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
    plan = open_plan(
        (ground.folder / "state/generations/1/slices/b1.jws").read_bytes(), ground.files.own_keys()
    )
    assert [item.asset for item in plan.desired] == [favourite]


async def test_how_far_boxes_are_is_a_metric(ground: Ground, service: object) -> None:
    """What a box says of its fill with its counts, the latest word of each."""
    far = FillProgress(generation=4, held=7, held_bytes=700, left=3, left_bytes=5000)
    for seq, told in ((1, far), (2, replace(far, held=8, left=2)), (3, None)):
        body = decode(EventBatch, batch(seq), "batch")
        await post(ground, encode(body if told is None else replace(body, filling=told)))
    _, raw = await admin(ground, "/metrics")
    for line in (b'generation{box="a1"} 4', b'held{box="a1"} 8', b'left{box="a1"} 2',
                 b'left_bytes{box="a1"} 5000'):  # fmt: skip
        assert b"fill_box_" + line in raw


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
