"""A small world around one agent: assets, sources with faults, fill and steering, all real HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash
from aiohttp import web
from msgspec import UNSET

from oca.agent.main import run
from oca.config import Config
from wire.auth import authenticate
from wire.catalogue import CHUNK_BYTES, Asset, AssetKind, File
from wire.codec import decode, encode
from wire.events import EventAck, EventBatch
from wire.keys import SigningKey, new_private_pem, parse_private_key, parse_verify_key, public_text
from wire.knobs import config_of
from wire.plan import (
    Desired,
    Plan,
    PurgeAck,
    PurgeList,
    Source,
    SourceKind,
    sign_plan,
    sign_purge,
)
from wire.reports import (
    Heartbeat,
    HeartbeatReply,
    Inventory,
    InventoryReply,
    Routes,
    RoutesReply,
    unpack_bitmap,
)
from wire.web import problems

EPOCH = "00000000000000aa"
Content = dict[str, bytes]


def make_file(name: str, data: bytes) -> File:
    """The catalogue's entry of one file."""
    chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    return File(
        name=name,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        chunks=tuple(xxhash.xxh3_128(chunk).hexdigest() for chunk in chunks),
        media_type="video/mp4",
    )


def make_asset(number: int, *sizes: int) -> tuple[Asset, Content]:
    """An asset of files of these sizes, its bytes drawn from its number."""
    rng = random.Random(number)
    content = {f"seg-{index}.m4s": rng.randbytes(size) for index, size in enumerate(sizes)}
    files = tuple(make_file(name, data) for name, data in content.items())
    asset = Asset(
        id=number, title="film", name=f"v{number}", kind=AssetKind.VIDEO, modified_s=1, files=files
    )
    return asset, content


@dataclass
class Library:
    """Assets and their bytes."""

    assets: dict[int, Asset] = field(default_factory=dict)
    content: dict[int, Content] = field(default_factory=dict)

    def add(self, number: int, *sizes: int) -> Asset:
        """One more asset."""
        asset, content = make_asset(number, *sizes)
        self.assets[number], self.content[number] = asset, content
        return asset

    def desired(self, number: int, sources: Iterable[int] = (0,)) -> Desired:
        """As a plan names it."""
        asset = self.assets[number]
        digest = hashlib.sha256(encode(asset)).hexdigest()
        return Desired(asset=number, bytes=asset.bytes, digest=digest, sources=tuple(sources))


def new_key(name: str) -> SigningKey:
    """A fresh Ed25519 key."""
    return parse_private_key(new_private_pem(), name, name)


@asynccontextmanager
async def served(app: web.Application, host: str = "127.0.0.1"):
    """The base URL of an application that listens."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    try:
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


Fault = Callable[[web.Request, File, bytes, int], Any]


@dataclass
class SourceServer:
    """A peer or the origin. `fault` may take over an answer; `lacks` are 404; all is noted."""

    library: Library
    lacks: set[int] = field(default_factory=set)
    coming: set[int] = field(default_factory=set)
    fault: Fault | None = None
    asked: list[tuple[int, str, int]] = field(default_factory=list)
    sent_bytes: int = 0
    status: int = 0
    callers: list[str] = field(default_factory=list)

    def app(self) -> web.Application:
        """As an application."""
        app = web.Application()
        app.router.add_get("/a/{asset}/{name}", self._get)
        return app

    async def _get(self, request: web.Request) -> web.StreamResponse:
        number, name = int(request.match_info["asset"]), request.match_info["name"]
        data = self.library.content.get(number, {}).get(name)
        self.callers.append(request.headers.get("Authorization", ""))
        start = 0
        if request.headers.get("Range"):
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.asked.append((number, name, start))
        if self.status:
            return web.Response(status=self.status)
        if data is None or number in self.lacks:
            hope = {"Retry-After": "1"} if number in self.coming & self.lacks else {}
            return web.Response(status=404, headers=hope)
        file = next(f for f in self.library.assets[number].files if f.name == name)
        if self.fault is not None:
            answer = await self.fault(request, file, data, start)
            if answer is not None:
                return answer
        return await self.answer(request, file, data, start)

    async def answer(
        self, request: web.Request, file: File, data: bytes, start: int, pause_s: float = 0
    ) -> web.StreamResponse:
        """What an honest source answers."""
        response = web.StreamResponse(status=206 if start else 200, headers={"ETag": file.etag})
        response.content_length = len(data) - start
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        await response.prepare(request)
        for at in range(start, len(data), 65536):
            piece = data[at : at + 65536]
            await response.write(piece)
            self.sent_bytes += len(piece)
            if pause_s:
                await asyncio.sleep(pause_s)
        return response


@dataclass
class FillServer:
    """`fill serve` as the agent sees it; checks every signature."""

    library: Library
    keys: dict[str, Any]
    signer: SigningKey
    plan: bytes | None = None
    etag: str = ""
    purge: bytes | None = None
    purge_etag: str = ""
    purge_acks: list[PurgeAck] = field(default_factory=list)
    inventory: set[int] = field(default_factory=set)
    inventory_seq: tuple[int, int] = (0, 0)
    batches: dict[tuple[int, int], EventBatch] = field(default_factory=dict)
    lose_acks: int = 0
    down: bool = False

    def app(self) -> web.Application:
        """As an application."""

        @web.middleware
        async def signed(request: web.Request, handler: Any) -> web.StreamResponse:
            if self.down:
                return web.Response(status=503)
            body = await request.read()
            header = request.headers.get("Authorization", "")
            authenticate(header, self.keys, "fill", time.time(), body)
            return await handler(request)

        app = web.Application(middlewares=[problems, signed], client_max_size=2**26)
        app.router.add_get("/v1/plan/{me}", self._plan)
        app.router.add_get("/v1/assets/{asset}", self._asset)
        app.router.add_put("/v1/inventory/{me}", self._inventory)
        app.router.add_post("/v1/events", self._events)
        app.router.add_get("/v1/purge", self._purge)
        app.router.add_post("/v1/purge/ack", self._ack)
        return app

    def publish(self, plan: Plan, signer: SigningKey | None = None) -> None:
        """The plan that is handed out from now on."""
        self.plan, self.etag = sign_plan(plan, signer or self.signer), f'"{plan.generation}"'

    def publish_purge(self, purge: PurgeList) -> None:
        """The purge list that is handed out from now on."""
        self.purge, self.purge_etag = sign_purge(purge, self.signer), f'"{purge.number}"'

    async def _plan(self, request: web.Request) -> web.Response:
        if self.plan is None:
            return web.Response(status=404)
        return _document(request, self.plan, self.etag)

    async def _purge(self, request: web.Request) -> web.Response:
        if self.purge is None:
            return web.Response(status=404)
        return _document(request, self.purge, self.purge_etag)

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self.library.assets.get(int(request.match_info["asset"]))
        return web.Response(body=encode(asset)) if asset else web.Response(status=404)

    async def _inventory(self, request: web.Request) -> web.Response:
        message = decode(Inventory, await request.read(), "inventory")
        reply = take_inventory(self, message)
        return web.Response(body=encode(reply))

    async def _events(self, request: web.Request) -> web.Response:
        batch = decode(EventBatch, await request.read(), "events")
        self.batches.setdefault((batch.boot, batch.seq), batch)
        if self.lose_acks > 0:
            self.lose_acks -= 1
            return web.Response(status=503)
        seq = 0 if batch.oldest is UNSET else batch.oldest - 1
        while (batch.boot, seq + 1) in self.batches:
            seq += 1
        return web.Response(body=encode(EventAck(boot=batch.boot, seq=seq)))

    async def _ack(self, request: web.Request) -> web.Response:
        self.purge_acks.append(decode(PurgeAck, await request.read(), "ack"))
        return web.Response(status=204)

    def delivered(self) -> dict[tuple[int, str], int]:
        """Bytes by asset and home site, each batch once."""
        sums: dict[tuple[int, str], int] = {}
        for batch in self.batches.values():
            for row in batch.rows:
                sums[row.asset, row.home] = sums.get((row.asset, row.home), 0) + row.bytes
        return sums


@dataclass
class SteeringServer:
    """One steering replica as the agent sees it."""

    keys: dict[str, Any]
    heartbeats: list[Heartbeat] = field(default_factory=list)
    inventory: set[int] = field(default_factory=set)
    inventory_seq: tuple[int, int] = (0, 0)
    inventories: list[Inventory] = field(default_factory=list)
    routes: Routes | None = None
    frozen: bool = False
    forgotten: bool = False

    def app(self) -> web.Application:
        """As an application."""

        @web.middleware
        async def signed(request: web.Request, handler: Any) -> web.StreamResponse:
            if self.frozen:
                await asyncio.sleep(60)
            body = await request.read()
            header = request.headers.get("Authorization", "")
            authenticate(header, self.keys, "steering", time.time(), body)
            return await handler(request)

        app = web.Application(middlewares=[problems, signed])
        app.router.add_post("/v1/heartbeat", self._heartbeat)
        app.router.add_put("/v1/inventory", self._inventory)
        app.router.add_put("/v1/routes", self._routes)
        return app

    def forget(self) -> None:
        """As after a restart of the replica."""
        self.inventory, self.inventory_seq, self.routes = set(), (0, 0), None

    async def _heartbeat(self, request: web.Request) -> web.Response:
        beat = decode(Heartbeat, await request.read(), "heartbeat")
        self.heartbeats.append(beat)
        reply = HeartbeatReply(
            send_inventory=self.inventory_seq == (0, 0), send_routes=self.routes is None
        )
        return web.Response(body=encode(reply))

    async def _inventory(self, request: web.Request) -> web.Response:
        message = decode(Inventory, await request.read(), "inventory")
        self.inventories.append(message)
        return web.Response(body=encode(take_inventory(self, message)))

    async def _routes(self, request: web.Request) -> web.Response:
        self.routes = decode(Routes, await request.read(), "routes")
        return web.Response(body=encode(RoutesReply(taken=len(self.routes.routes), dropped={})))


def take_inventory(view: Any, message: Inventory) -> InventoryReply:
    """What a receiver does with an inventory."""
    added = set(unpack_bitmap(message.added, "added"))
    if message.base_seq is None:
        view.inventory = added
    elif (message.boot, message.base_seq) != view.inventory_seq:
        return InventoryReply(boot=view.inventory_seq[0], seq=view.inventory_seq[1], send_full=True)
    else:
        view.inventory = (view.inventory | added) - set(unpack_bitmap(message.removed, "removed"))
    view.inventory_seq = (message.boot, message.seq)
    return InventoryReply(boot=message.boot, seq=message.seq)


def _document(request: web.Request, body: bytes, etag: str) -> web.Response:
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers={"ETag": etag})
    return web.Response(body=body, headers={"ETag": etag})


class World:
    """One agent's surroundings. `config` is its configuration; `sources` go into each plan."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = Library()
        self.key, self.signer = new_key("box"), new_key("fill-1")
        folder.joinpath("box.pem").write_bytes(_pem(self.key))
        self.keys = {"box": parse_verify_key(public_text(self.key), "box")}
        self.fill = FillServer(self.library, self.keys, self.signer)
        self.sources: list[Source] = []
        self.settings: dict[str, Any] = {"agent": {}, "fill": {}}

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    def source(self, name: str, url: str, kind: SourceKind = SourceKind.ORIGIN) -> None:
        """One more source in the plans to come."""
        self.sources.append(Source(id=name, kind=kind, url=url))

    def plan(self, generation: int, desired: Iterable[Desired], **changes: Any) -> Plan:
        """A plan for this box."""
        values: dict[str, Any] = {
            "appliance": "box",
            "epoch": EPOCH,
            "generation": generation,
            "made_s": int(time.time()),
            "expires_s": int(time.time()) + 3600,
            "fill_bytes": 2**40,
            "desired": tuple(desired),
            "sources": tuple(self.sources),
            "peers": {},
        }
        return Plan(**(values | changes))

    def wanting(self, generation: int, *numbers: int, **changes: Any) -> Plan:
        """A plan that wants these assets, from every source in order."""
        ranks = range(len(self.sources))
        wanted = [self.library.desired(number, ranks) for number in numbers]
        return self.plan(generation, wanted, **changes)

    def tree(self) -> dict[str, Any]:
        """The configuration as plain data."""
        agent = {
            "site": "ispa",
            "key_file": str(self.folder / "box.pem"),
            "plan_keys": {"fill-1": public_text(self.signer)},
            "heartbeat_s": 0.2,
            "report_pause_s": 0.05,
            "plan_poll_s": 0.1,
            "purge_poll_s": 0.1,
            "events_s": 0.1,
            "timeout_s": 1.0,
            "drop_ttl_s": 0.5,
            "drop_idle_s": 0.5,
        } | self.settings["agent"]
        fill = {"connect_s": 1.0, "stall_s": 0.5, "patience_s": 0.5, "reserve_bytes": 0}
        fill |= self.settings["fill"]
        rest = {k: v for k, v in self.settings.items() if k not in ("agent", "fill")}
        return {
            "id": "box",
            "store": str(self.store),
            "run": str(self.run_dir),
            "listen": "127.0.0.1:0",
            "agent": agent,
            "fill": fill,
        } | rest

    def config(self) -> Config:
        """The configuration, checked."""
        return config_of(Config, self.tree(), "test")

    @asynccontextmanager
    async def agent(self):
        """A running agent."""
        stop = asyncio.Event()
        task = asyncio.create_task(run(self.config(), stop))
        try:
            yield task
        finally:
            stop.set()
            with suppress(asyncio.CancelledError):
                await task

    @asynccontextmanager
    async def filled(self):
        """A running agent beside a running fill."""
        async with served(self.fill.app()) as url:
            self.settings["agent"]["fill"] = url
            async with self.agent() as task:
                yield task

    def shelf(self) -> set[int]:
        """The assets that a player could be served."""
        folder = self.store / "a"
        return {int(path.name) for path in folder.iterdir()} if folder.exists() else set()

    def check_shelf(self) -> None:
        """Everything visible is whole and right."""
        for number in self.shelf():
            for name, data in self.library.content[number].items():
                assert (self.store / "a" / str(number) / name).read_bytes() == data


def _pem(key: SigningKey) -> bytes:
    from cryptography.hazmat.primitives import serialization as s

    private = key.key.private_key
    return private.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())


async def eventually(claim: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait until the claim holds."""
    end_s = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < end_s, "it never came true"
        await asyncio.sleep(0.02)
