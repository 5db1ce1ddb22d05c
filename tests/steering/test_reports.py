"""What appliances send to a real replica: signed, in order, refused with a reason that is shown."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import aiohttp
import msgspec
import pytest
from pyroaring import BitMap

from tests.steering.replica import EPOCH, IN_A, Replica, running
from wire.auth import bearer
from wire.codec import encode
from wire.reports import Heartbeat, Inventory, Route, Routes, pack_bitmap


def heartbeat(name: str = "a1", seq: int = 1, **more: object) -> Heartbeat:
    """A heartbeat of a box that is well."""
    values = {"appliance": name, "epoch": EPOCH, "boot": 1, "seq": seq, "health": 1.0, **more}
    return Heartbeat(**values)  # type: ignore[arg-type]


async def raw(replica: Replica, authorization: str, body: bytes) -> int:
    """The status of a heartbeat with any Authorization at all."""
    headers = {"Authorization": authorization} if authorization else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(replica.url + "/v1/heartbeat", data=body, headers=headers) as answer,
    ):
        assert answer.content_type == "application/problem+json" or answer.status == 200
        return answer.status


async def test_only_the_box_itself_may_report_for_it(tmp_path: Path) -> None:
    """Unsigned, signed for somebody else, another body, an old signature: refused."""
    async with running(tmp_path) as replica:
        body, now_s, key = encode(heartbeat()), time.time(), replica.keys["a1"]
        assert await raw(replica, "", body) == 401
        assert await raw(replica, bearer(key, "fill", now_s, body), body) == 401
        assert await raw(replica, bearer(key, "steering", now_s, b"other"), body) == 401
        assert await raw(replica, bearer(key, "steering", now_s - 600, body), body) == 401
        assert await raw(replica, bearer(replica.token_key, "steering", now_s, body), body) == 401
        assert (await replica.send("POST", "/v1/heartbeat", heartbeat(), by="b1"))[0] == 403
        fleet = await replica.fleet()
        assert fleet["a1"]["silent_s"] is None
        assert fleet["b1"]["refused"] == {"heartbeat": 1}
        assert "may not report for 'a1'" in fleet["b1"]["last_refusal"]
        assert await raw(replica, bearer(key, "steering", now_s, body), body) == 200


NONSENSE = [
    (b"{", "$"),
    (b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "$"),
    (b"\xff", ""),
    (b'{"appliance":"a1"}', "$"),
    (encode(heartbeat()).replace(b'"health":1.0', b'"health":7'), "$.health"),
    (encode(heartbeat()).replace(b'"seq":1', b'"seq":-1'), "$.seq"),
    (encode(heartbeat()).replace(b'"served_bps":0', b'"served_bps":-5'), "$.served_bps"),
]


async def test_nonsense_is_refused_counted_shown_and_changes_nothing(tmp_path: Path) -> None:
    """The last good heartbeat stays, and the operator sees what was wrong."""
    async with running(tmp_path) as replica:
        await replica.report("a1")
        for count, (body, field) in enumerate(NONSENSE, start=1):
            status, problem = await replica.send("POST", "/v1/heartbeat", body, by="a1")
            assert status == 400 and problem.get("field", "").startswith(field), problem
            box = (await replica.fleet())["a1"]
            assert box["refused"] == {"heartbeat": count} and box["state"] == "in_service"
            assert box["last_refusal"].startswith("heartbeat: ")


async def test_delta_gap_old_order_and_other_epoch(tmp_path: Path) -> None:
    """A gap asks for the whole, an older report and another catalogue's are 409."""
    async with running(tmp_path) as replica:
        await replica.report("a1", assets=[1, 2])

        async def send(seq: int, base: int | None, added: list[int], epoch: str = EPOCH) -> object:
            report = Inventory(
                appliance="a1", epoch=epoch, boot=1, seq=seq, base_seq=base,
                added=pack_bitmap(BitMap(added)),
            )  # fmt: skip
            status, reply = await replica.send("PUT", "/v1/inventory", report)
            return reply.get("send_full", False) if status == 200 else status

        assert await send(2, 1, [3]) is False
        assert await send(9, 8, [4]) is True
        assert await send(1, None, [4]) == 409
        assert await send(10, None, [4], "00000000000000bb") == 409
        box = (await replica.fleet())["a1"]
        assert box["assets"] == 3 and "inventory: other epoch" in box["refused"]
        assert (await replica.beat("a1", inventory_seq=9))[1]["send_inventory"]
        assert not (await replica.beat("a1", inventory_seq=2))[1]["send_inventory"]


async def test_routes_decide_at_once_and_bad_ones_are_dropped_one_by_one(tmp_path: Path) -> None:
    """A prefix announced is a client's home with the next answer; withdrawn, it is not."""
    async with running(tmp_path) as replica:
        await replica.report("a1")

        async def announce(seq: int, *routes: Route) -> dict[str, int]:
            report = Routes(appliance="a1", epoch=EPOCH, boot=1, seq=seq, routes=routes)
            status, reply = await replica.send("PUT", "/v1/routes", report)
            assert status == 200
            return dict(reply["dropped"])

        good = Route(prefix="127.20.0.0/16", as_path=(64500,))
        foreign = Route(prefix="127.21.0.0/16", as_path=(666,))
        long = Route(prefix="127.22.0.128/25", as_path=(64500,))
        dropped = await announce(2, good, foreign, long)
        assert dropped == {"origin AS not allowed": 1, "longer than /24": 1}
        for source, home in [("127.20.1.1", "isp-a"), ("127.21.1.1", ""), (IN_A, "")]:
            assert (await replica.get("/v1/steer?asset=1", source=source))[1]["home"] == home
        await announce(3)
        assert (await replica.get("/v1/steer?asset=1", source="127.20.1.1"))[1]["home"] == ""


async def test_thousands_of_routes_are_taken_while_players_are_answered(tmp_path: Path) -> None:
    """A large table is built beside the answers, and in force when the report is acknowledged."""
    async with running(tmp_path) as replica:
        await replica.report("b1")
        routes = tuple(
            Route(prefix=f"10.{high}.{low}.0/24", as_path=(64500,))
            for high in range(100)
            for low in range(256)
        )
        report = Routes(appliance="b1", epoch=EPOCH, boot=1, seq=2, routes=routes)
        sending = asyncio.create_task(replica.send("PUT", "/v1/routes", report))
        while not sending.done():
            assert (await replica.get("/v1/steer?asset=1"))[0] == 200
        status, reply = await sending
        assert status == 200 and reply["taken"] == 25_600
        _, told = await replica.get("/v1/steer?asset=1&client=10.99.255.7", admin=True)
        assert told["home"] == "isp-b"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_restarted_replica_answers_from_its_snapshot_before_anybody_reports(
    tmp_path: Path, how: signal.Signals
) -> None:
    """With fill gone as well: same boxes, same order, drains kept, and boxes are asked nothing."""
    async with running(tmp_path) as replica:
        for name in ("a1", "a2", "b1", "x1"):
            await replica.report(name)
        await replica.send_drain("a2")
        _, before = await replica.get("/v1/steer?asset=2")
        await replica.saved()
        await replica.kill(how)
        await replica.backstage.stop()
        begun_s = time.monotonic()
        await replica.start()
        status, after = await replica.get("/v1/steer?asset=2")
        assert status == 200 and after["places"] == before["places"]
        assert time.monotonic() - begun_s < 30
        fleet = await replica.fleet()
        assert fleet["a1"]["silent_s"] >= 0.3 and fleet["a2"]["state"] == "drained"
        assert "going on from the snapshot" in (tmp_path / "log").read_text()
        assert (await replica.beat("a1"))[1] == {"send_inventory": False, "send_routes": False}


async def test_snapshot_with_a_broken_inventory_does_not_stop_a_start(tmp_path: Path) -> None:
    """A whole file, but no bitmap in it: that box is asked anew."""
    async with running(tmp_path) as replica:
        await replica.report("a1")
        await replica.saved()
        await replica.kill()
        file = tmp_path / "state/boxes/a1.inventory"
        saved = msgspec.msgpack.decode(file.read_bytes())
        file.write_bytes(msgspec.msgpack.encode({**saved, "assets": b"not one"}))
        await replica.start()
        assert (await replica.beat("a1", seq=9))[1]["send_inventory"]


async def test_broken_snapshot_is_left_out_and_the_view_heals_from_reports(tmp_path: Path) -> None:
    """Half a file is said and ignored; heartbeats ask for what is missing."""
    state = tmp_path / "state"
    async with running(tmp_path) as replica:
        await replica.report("a1")
        await replica.saved()
        await replica.kill()
        for file in [*state.glob("*.msgpack"), *state.glob("boxes/*")]:
            file.write_bytes(file.read_bytes()[:-9])
        await replica.start()
        assert "the snapshot is not used" in (tmp_path / "log").read_text()
        reply = (await replica.beat("a1"))[1]
        assert reply == {"send_inventory": True, "send_routes": True}
        await replica.report("a1")
        assert (await replica.get("/v1/steer?asset=2"))[1]["places"][0]["pathway"] == "a1"
