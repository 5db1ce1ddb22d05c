"""A real steering process with a pretended fill and origin around it, and boxes that report."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from pyroaring import BitMap

from wire.auth import authenticate, bearer
from wire.catalogue import AssetKind, Title, TitleAsset, TitleIndex
from wire.codec import encode
from wire.keys import (
    SigningKey,
    VerifyKey,
    new_private_pem,
    parse_private_key,
    parse_verify_key,
    public_text,
)
from wire.reports import Heartbeat, Inventory, Route, Routes, pack_bitmap
from wire.token import verify

EPOCH = "00000000000000aa"
HEARTBEAT_S = 0.3
SLOW_HEARTBEAT_S = 60.0  # where silence is not the subject, a busy machine must not make any
PORT = 18080
SITES = {"isp-a": "embedded", "isp-b": "embedded", "ix": "ix", "origin": "origin"}
BOXES = {"a1": "isp-a", "a2": "isp-a", "b1": "isp-b", "x1": "ix", "x2": "ix", "origin": "origin"}
PREFIXES = {"isp-a": "127.16.0.0/16", "isp-b": "127.17.0.0/16", "ix": "127.0.0.0/8"}
HOSTS = {name: f"127.11.0.{number}" for number, name in enumerate(BOXES, start=1)}
FILM = Title(
    id="film",
    assets=(
        TitleAsset(id=1, name="360p", kind=AssetKind.VIDEO),
        TitleAsset(id=2, name="720p", kind=AssetKind.VIDEO),
        TitleAsset(id=3, name="1080p", kind=AssetKind.VIDEO),
        TitleAsset(id=4, name="audio", kind=AssetKind.AUDIO),
    ),
    manifest=5,
    manifests=("manifest.mpd", "master.m3u8"),
)
SHORT = Title(id="short", assets=(TitleAsset(id=9, name="data", kind=AssetKind.DATA),))
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
IN_A, IN_B = "127.16.5.5", "127.17.5.5"


_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody has, outside the range from which the kernel gives ports to clients; never
    the same twice, and not from `random`, whose state Hypothesis sets."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            _given.add(port)
            return port


@dataclass
class Backstage:
    """Fill's catalogue and the origin's manifests, served by the test itself."""

    folder: Path
    fill_url: str = ""
    origin_host: str = "127.0.0.1"
    origin_port: int = 0
    titles: tuple[Title, ...] = (FILM, SHORT)
    fetched: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    runner: web.AppRunner | None = None
    keys: dict[str, VerifyKey] = field(default_factory=dict)
    origin_answers: bool = True

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/catalogue/titles", self._titles)
        app.router.add_get("/a/{asset}/{name}", self._file)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        self.origin_port = free_port()
        await web.TCPSite(self.runner, self.origin_host, self.origin_port).start()
        self.fill_url = f"http://{self.origin_host}:{self.origin_port}"

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def _titles(self, request: web.Request) -> web.Response:
        if "k1" not in self.keys:
            return web.Response(status=503)
        authenticate(request.headers.get("Authorization", ""), self.keys, "fill", time.time())
        body = encode(TitleIndex(epoch=EPOCH, titles=self.titles))
        etag = f'"{hash(body)}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.Response(body=body, headers={"ETag": etag})

    async def _file(self, request: web.Request) -> web.Response:
        if not self.origin_answers:
            return web.Response(status=503)
        self.fetched.append(request.match_info["name"])
        self.tokens.append(request.match_info["asset"].partition("URISigningPackage=")[2])
        return web.Response(body=(HERE / "golden" / request.match_info["name"]).read_bytes())


class Replica:
    """One steering process, its files, and the boxes' keys."""

    def __init__(self, folder: Path, backstage: Backstage, **settings: Any) -> None:
        self.folder, self.backstage, self.settings = folder, backstage, settings
        self.heartbeat_s = settings.pop("heartbeat_s", SLOW_HEARTBEAT_S)
        self.keys = {name: self._key(name) for name in BOXES}
        self.token_key = self._key("token", "es256")
        backstage.keys = self.verify_keys
        self.public_port, self.admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.public_port}"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self.process: asyncio.subprocess.Process | None = None
        self.seq = dict.fromkeys(BOXES, 0)
        self.config = folder / "steering.toml"
        self.drained: set[str] = set()
        self.without: set[str] = set()

    @property
    def verify_keys(self) -> dict[str, VerifyKey]:
        return {"k1": parse_verify_key(public_text(self.token_key), "token")}

    def _key(self, name: str, alg: str = "ed25519") -> SigningKey:
        pem = new_private_pem(alg)
        (self.folder / f"{name}.pem").write_bytes(pem)
        return parse_private_key(pem, name, name)

    def write(self) -> None:
        fleet = [f'scheme = "http"\nport = {self.backstage.origin_port}\n']
        for site, kind in SITES.items():
            fleet.append(f'[[site]]\nid = "{site}"\nkind = "{kind}"\n')
        for name, site in BOXES.items():
            if name in self.without:
                continue
            host = self.backstage.origin_host if name == "origin" else HOSTS[name]
            state = "drained" if name in self.drained else "in_service"
            fleet.append(
                f'[[appliance]]\nid = "{name}"\nsite = "{site}"\nhosts = ["{host}"]\n'
                f'public_key = "{public_text(self.keys[name])}"\ndisks_bytes = [1000000]\n'
                f'link_bps = 1000000000\norigin_asns = [64500]\nstate = "{state}"\n'
            )
        (self.folder / "fleet.toml").write_text("\n".join(fleet))
        extra = "\n".join(f"{name} = {json.dumps(value)}" for name, value in self.settings.items())
        self.config.write_text(
            f'fleet = "fleet.toml"\nstate = "state"\nlisten = "127.0.0.1:{self.public_port}"\n'
            f'admin = "127.0.0.1:{self.admin_port}"\nsnapshot_s = 0.2\n{extra}\n'
            f'[catalogue]\nurl = "{self.backstage.fill_url}"\npoll_s = 0.2\n'
            f'[tokens]\nkey_file = "token.pem"\nkid = "k1"\n[policy]\nttl_s = 7\n'
            f"[reports]\nheartbeat_s = {self.heartbeat_s}\n"
        )

    async def start(self) -> None:
        self.write()
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "steering", "serve", "--config", str(self.config),
                stderr=log, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        await self.until("/readyz", lambda status, _: status == 200)

    async def saved(self) -> None:
        """Return when a snapshot begun after now is on disk."""
        file = self.folder / "state" / "fleet.msgpack"

        def written() -> int:
            return file.stat().st_mtime_ns if file.exists() else 0

        for _ in range(2):  # the one being written now may lack what was just reported
            before = written()
            await self.until("/healthz", lambda *_, old=before: written() != old)

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(how)
            await self.process.wait()

    async def until(self, path: str, good: Any, limit_s: float = 40.0) -> Any:
        """Ask the admin listener until the answer is good."""
        end, last = time.monotonic() + limit_s, None
        while time.monotonic() < end:
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                status, last = await self.get(path, admin=True)
                if good(status, last):
                    return last
            if self.process is not None and self.process.returncode is not None:
                raise AssertionError("steering died: " + (self.folder / "log").read_text())
            await asyncio.sleep(0.02)
        raise AssertionError(f"{path} stayed {last}")

    async def get(
        self, path: str, *, admin: bool = False, source: str = IN_A, **headers: str
    ) -> tuple[int, Any]:
        """Status and JSON (else text) of a GET, from a client's address."""
        status, _, body = await self.ask(path, admin=admin, source=source, **headers)
        try:
            return status, json.loads(body)
        except ValueError:
            return status, body.decode()

    async def ask(
        self, path: str, *, admin: bool = False, source: str = IN_A, method: str = "GET",
        **headers: str,
    ) -> tuple[int, Any, bytes]:  # fmt: skip
        """Status, headers and body."""
        local = ("127.0.0.1" if admin else source, 0)
        connector = aiohttp.TCPConnector(local_addr=local)
        base = self.admin if admin else self.url
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, base + path, headers=named) as answer,
        ):
            return answer.status, answer.headers, await answer.read()

    async def send(
        self, method: str, path: str, value: Any, *, by: str | None = None
    ) -> tuple[int, Any]:
        """Send a report, signed by the box it is of (or by another one)."""
        body = value if isinstance(value, bytes) else encode(value)
        key = self.keys[by or value.appliance]
        headers = {"Authorization": bearer(key, "steering", time.time(), body)}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def beat(self, name: str, **changes: Any) -> tuple[int, Any]:
        """One heartbeat of a box that is well, unless `changes` say otherwise."""
        self.seq[name] += 1
        values = {
            "appliance": name, "epoch": EPOCH, "boot": 1, "seq": self.seq[name], "health": 1.0,
            "inventory_seq": 1, "routes_seq": 1, "generation": 1, **changes,
        }  # fmt: skip
        return await self.send("POST", "/v1/heartbeat", Heartbeat(**values))

    async def report(self, name: str, assets: Iterable[int] = (1, 2, 3, 4)) -> None:
        """Heartbeat, inventory and routes of one box."""
        await self.beat(name)
        inventory = Inventory(
            appliance=name, epoch=EPOCH, boot=1, seq=1, added=pack_bitmap(BitMap(assets))
        )
        routes = Routes(
            appliance=name, epoch=EPOCH, boot=1, seq=1,
            routes=(Route(prefix=PREFIXES[BOXES[name]], as_path=(64500,)),),
        )  # fmt: skip
        assert (await self.send("PUT", "/v1/inventory", inventory))[0] == 200
        assert (await self.send("PUT", "/v1/routes", routes))[0] == 200

    async def send_drain(self, name: str) -> None:
        """An operator drains a box at this replica."""
        assert (await self.ask(f"/v1/drain/{name}", method="POST", admin=True))[0] == 200

    async def fleet(self) -> dict[str, Any]:
        """`/v1/fleet` by appliance."""
        _, state = await self.get("/v1/fleet", admin=True)
        return {box["appliance"]: box for box in state["boxes"]}

    def home_of(self, url: str) -> str:
        """The home site in the token of a signed URL, which must verify."""
        package = url.partition("URISigningPackage=")[2].partition("/")[0]
        return verify(package, self.verify_keys, time.time()).home


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[Replica]:
    """A replica that runs, with fill and origin behind it; everything ends with the block."""
    backstage = Backstage(folder)
    await backstage.start()
    replica = Replica(folder, backstage, **settings)
    try:
        await replica.start()
        yield replica
    finally:
        await replica.kill()
        await backstage.stop()
