"""Reports that cannot be right: refused with the field, counted, shown; what was good stays."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from steering.intake import Intake
from steering.metrics import Metrics
from steering.record import BoxRecord
from steering.view import Silence, View
from tests.steering.replica import EPOCH, Replica, running
from wire.auth import bearer
from wire.codec import encode
from wire.fleet import read_fleet
from wire.keys import SigningKey, new_private_pem, parse_private_key, public_text
from wire.reports import Heartbeat, Inventory, Route, Routes, pack_bitmap
from wire.web import problems

GOOD = {
    "heartbeat": Heartbeat(appliance="a1", epoch=EPOCH, boot=1, seq=7, health=1.0),
    "inventory": Inventory(
        appliance="a1", epoch=EPOCH, boot=1, seq=7, added=pack_bitmap(BitMap([1, 2]))
    ),
    "routes": Routes(
        appliance="a1", epoch=EPOCH, boot=1, seq=7,
        routes=(Route(prefix="10.0.0.0/16", as_path=(64500,)),),
    ),
}  # fmt: skip


async def send(
    replica: Replica, what: str, body: bytes, *, skew_s: float = 0, chunked: bool = False
) -> tuple[int, dict[str, Any]]:
    """A report of a1's with any body; the problem that it makes."""

    async def pieces() -> Any:
        for at in range(0, len(body), 65536):
            yield body[at : at + 65536]

    key = replica.keys["a1"]
    headers = {"Authorization": bearer(key, "steering", time.time() + skew_s, body)}
    method = "POST" if what == "heartbeat" else "PUT"
    url = f"{replica.url}/v1/{what}"
    data: Any = pieces() if chunked else body
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=data, headers=headers) as answer,
    ):
        kind = answer.content_type
        assert kind == "application/problem+json" or answer.status == 200
        return answer.status, await answer.json(content_type=None)


async def test_each_kind_of_nonsense_is_refused_counted_and_shown(tmp_path: Path) -> None:
    """A wrong clock, a body over its limit, a million prefixes: the operator reads which and why,
    and the box goes on being offered as it last was."""
    async with running(tmp_path) as replica:
        await replica.report("a1")
        count: dict[str, int] = {}

        async def refused(status: int, what: str, body: bytes, says: str, **how: Any) -> None:
            found, problem = await send(replica, what, body, **how)
            count[what] = count.get(what, 0) + 1
            box = (await replica.fleet())["a1"]
            assert found == status and says in json.dumps(problem), problem
            assert box["refused"] == count and says in box["last_refusal"].replace('"', "")
            assert (box["state"], box["assets"], box["routes"]) == ("in_service", 4, 1)

        beat = encode(GOOD["heartbeat"])
        late = f'"boot":{int(time.time()) + 10 * 86_400}'.encode()
        await refused(401, "heartbeat", beat, "compare the clocks", skew_s=3600)
        await refused(401, "heartbeat", beat, "compare the clocks", skew_s=-3600)
        await refused(400, "heartbeat", beat.replace(b'"boot":1', late), "look at the box's clock")
        await refused(413, "heartbeat", beat + b" " * 70_000, "65,536")
        await refused(413, "heartbeat", beat + b" " * 300_000, "65,536", chunked=True)
        await refused(413, "inventory", b" " * 33_600_000, "33,554,432")
        routes = b",".join(b'{"prefix":"10.%d.%d.0/24"}' % (n >> 8 & 255, n & 255)
                           for n in range(1_000_000))  # fmt: skip
        many = encode(GOOD["routes"]).partition(b'"routes":[')[0] + b'"routes":[' + routes + b"]}"
        await refused(400, "routes", many, "length <= 750000")


async def test_routes_that_may_not_be_are_named_on_the_fleet_page(tmp_path: Path) -> None:
    """Dropped one by one, counted by reason, and the sum of it is the last refusal."""
    async with running(tmp_path) as replica:
        await replica.report("a1")
        bad = [("10.0.0.0/25", 64500), ("0.0.0.0/0", 64500), ("2001:db8::/64", 64500),
               ("10.1.0.0/16", 666), ("10.2.0.0/16", 667), ("10.3.0.0/16", 64500)]  # fmt: skip
        report = Routes(
            appliance="a1", epoch=EPOCH, boot=1, seq=2,
            routes=tuple(Route(prefix=prefix, as_path=(asn,)) for prefix, asn in bad),
        )  # fmt: skip
        status, reply = await send(replica, "routes", encode(report))
        box = (await replica.fleet())["a1"]
        assert status == 200 and reply["taken"] == 1 == box["routes"]
        assert sum(box["refused"].values()) == 5
        assert box["last_refusal"].startswith("routes: dropped one by one: 2 origin AS not allowed")


async def test_a_heartbeat_that_names_an_inventory_we_lack_asks_for_it(tmp_path: Path) -> None:
    """A replica with an older snapshot than the box was told: the next heartbeat brings the whole,
    and a delta that came before asks for it, too."""
    async with running(tmp_path) as replica:
        await replica.report("a1", assets=[1, 2])
        await replica.saved()
        state, kept = tmp_path / "state", tmp_path / "kept"
        await replica.kill()
        shutil.copytree(state, kept)
        await replica.start()

        def told(seq: int, base: int | None, *assets: int) -> Inventory:
            added = pack_bitmap(BitMap(assets))
            return Inventory(
                appliance="a1", epoch=EPOCH, boot=1, seq=seq, base_seq=base, added=added
            )

        assert not (await replica.send("PUT", "/v1/inventory", told(2, 1, 3)))[1]["send_full"]
        assert not (await replica.beat("a1", inventory_seq=2))[1]["send_inventory"]
        await replica.kill()
        shutil.rmtree(state)
        kept.rename(state)
        await replica.start()
        assert (await replica.beat("a1", inventory_seq=2))[1]["send_inventory"]
        assert (await replica.send("PUT", "/v1/inventory", told(3, 2, 4)))[1]["send_full"]
        assert (await replica.fleet())["a1"]["assets"] == 2
        await replica.send("PUT", "/v1/inventory", told(3, None, 1, 2, 3, 4))
        assert not (await replica.beat("a1", inventory_seq=3))[1]["send_inventory"]
        assert (await replica.fleet())["a1"]["assets"] == 4


TAKES = inspect.signature(Intake).parameters


class NoTables:
    """Nobody is located here: routes are only believed."""

    async def rebuild(self, *_: float) -> None:
        """As a builder of tables does."""


class Station:
    """The reports' surface in this process, with a view that a test can look at."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.keys = {name: self._key(name) for name in ("a1", "b1")}
        text = '[[site]]\nid = "isp"\nkind = "embedded"\n'
        for name, key in self.keys.items():
            text += (
                f'[[appliance]]\nid = "{name}"\nsite = "isp"\nhosts = ["h"]\nlink_bps = 1000000\n'
                f'public_key = "{public_text(key)}"\ndisks_bytes = [1]\norigin_asns = [64500]\n'
            )
        fleet = read_fleet(text.encode())
        self.view = View(fleet, Silence(10.0, 3))
        self.view.set_epoch(EPOCH)
        app = web.Application(middlewares=[problems], client_max_size=2**20)
        given: dict[str, Any] = {"tables": NoTables()} if "tables" in TAKES else {}
        Intake(self.view, fleet.public_keys(), cast(Metrics, None), **given).add_to(app)
        self.client = self.runner.run(self._start(app))
        for report in GOOD.values():
            self.send(encode(report), type(report).__name__.lower())

    @staticmethod
    def _key(name: str) -> SigningKey:
        return parse_private_key(new_private_pem(), name, name)

    async def _start(self, app: web.Application) -> TestClient[web.Request, web.Application]:
        client = TestClient(TestServer(app))
        await client.start_server()
        return client

    def send(self, body: bytes, what: str) -> int:
        """The status of a report that a1 signed."""
        return self.runner.run(self._send(body, what))

    async def _send(self, body: bytes, what: str) -> int:
        headers = {"Authorization": bearer(self.keys["a1"], "steering", time.time(), body)}
        method = "POST" if what == "heartbeat" else "PUT"
        path = f"/v1/{what}"
        async with self.client.request(method, path, data=body, headers=headers) as answer:
            await answer.read()
            if answer.status != 200:
                assert answer.content_type == "application/problem+json"
            return answer.status

    def send_raw(self, headers: str, body: bytes) -> int:
        """The status of a signed heartbeat whose body is not as its headers say."""
        return self.runner.run(self._send_raw(headers, body))

    async def _send_raw(self, headers: str, body: bytes) -> int:
        signature = bearer(self.keys["a1"], "steering", time.time(), b"")
        port = cast(int, self.client.server.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/heartbeat HTTP/1.1\r\nHost: s\r\nAuthorization: {signature}\r\n{headers}"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        line = await reader.readline()
        writer.close()
        return int(line.split()[1])

    def close(self) -> None:
        self.runner.run(self.client.close())
        self.runner.close()

    def state(self, name: str) -> dict[str, Any]:
        """All that is believed of a box, but for what was refused."""
        record: BoxRecord = self.view.records[name]
        fields = {field: getattr(record, field) for field in record.__dataclass_fields__}
        for counter in ("refused", "last_refusal", "heard_s"):
            fields.pop(counter)
        return copy.deepcopy(fields)


@pytest.fixture(scope="module")
def station() -> Iterator[Station]:
    made = Station()
    yield made
    made.close()


ODD = st.sampled_from(
    [None, True, -1, 0, 1, 2**31, 2**63, 2**200, 0.5, -0.5, 1e308, "", "a1", "b1", "x" * 70, "\0",
     [], {}, [[]], ["a"], {"a": 1}, [-1], "10.0.0.0/16", "::/0", "AAAA", "OjAAAAEAAAAAAAIAAQACAA=="]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_no_report_is_a_fault_of_ours_or_changes_another_box(
    station: Station, what: str, data: st.DataObject
) -> None:
    """Any value at any place, any bytes: no 5xx; what is refused changes nothing, and nothing that
    a1 says is about b1."""
    tree = json.loads(encode(GOOD[what]))
    for _ in range(data.draw(st.integers(1, 4))):
        node: Any = tree
        while isinstance(node, dict | list) and node:
            keys = sorted(node) if isinstance(node, dict) else range(len(node))
            key = data.draw(st.sampled_from([*keys]))
            if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
                node[key] = copy.deepcopy(data.draw(ODD))
                break
            node = node[key]
    body = json.dumps(tree).encode()
    if data.draw(st.integers(0, 4)) == 0:
        at = data.draw(st.integers(0, len(body)))
        body = (
            body[:at] + data.draw(st.binary(max_size=9)) + body[at + data.draw(st.integers(0, 9)) :]
        )
    other, own = station.state("b1"), station.state("a1")
    status = station.send(body, what)
    assert status in (200, 400, 403, 409, 413)
    assert station.state("b1") == other
    if status != 200:
        assert station.state("a1") == own


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Transfer-Encoding: chunked", b"zz\r\nabc\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nabcdeXX\r\n"),
        ("Content-Encoding: gzip\r\nContent-Length: 3", b"abc"),
        ("Content-Length: -4", b"abc"),
    ],
)
def test_a_body_that_is_not_as_its_headers_say_is_the_senders_fault(
    station: Station, headers: str, body: bytes
) -> None:
    """Broken chunks, a coding that is none, a length that cannot be: 400, not 500."""
    assert station.send_raw(headers, body) == 400
