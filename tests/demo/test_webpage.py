"""The page's proxy: a browser enters an ISP, nothing else; the buttons act on real processes."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from deploy.demo import layout
from deploy.demo.processes import Crew
from deploy.demo.webpage import Page

Browser = TestClient[web.Request, web.Application]
FILM = b"0123456789" * 1000


async def answer(request: web.Request) -> web.Response:
    """A box or steering: tells who asked, serves ranges, breaks off when asked to."""
    headers = {"ETag": '"x"', "X-Peer": str(request.remote)}
    asked = request.http_range
    body = FILM[asked] if "Range" in request.headers else FILM
    if "who" in request.path:
        body = f"{request.remote} {request.headers.get('Forwarded', '')}".encode()
    return web.Response(body=body, headers=headers, status=206 if len(body) == 100 else 200)


@pytest.fixture
async def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Browser]:
    """The page over a box at 127.11.0.1 and steering at 127.10.0.3, on free ports."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port = int(probe.getsockname()[1])
    monkeypatch.setattr(layout, "PORT", port)
    monkeypatch.setattr(layout, "STEERING", f"127.10.0.3:{port}")
    monkeypatch.setattr(layout, "STEERING_ADMIN", "127.0.0.1:1")
    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    for host in ("127.11.0.1", "127.10.0.3"):
        await web.TCPSite(runner, host, port).start()
    with Crew(tmp_path / "logs") as crew:
        for box in layout.SERVERS:
            crew.start(box.id, [sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)])
        async with TestClient(TestServer(Page(crew).app())) as client:
            yield client
    await runner.cleanup()


async def test_a_box_sees_the_viewer_inside_the_isp(browser: Browser) -> None:
    """The proxy's socket is bound to the viewer's address; ranges and validators pass through."""
    reply = await browser.get(f"/via/127.16.77.7/127.11.0.1:{layout.PORT}/a/7;U=x.y/who")
    assert await reply.text() == "127.16.77.7 "
    place = f"/via/127.16.77.7/127.11.0.1:{layout.PORT}/a/7/seg"
    part = await browser.get(place, headers={"Range": "bytes=5-104"})
    assert (part.status, await part.read()) == (206, FILM[5:105])
    assert part.headers["ETag"] == '"x"'


async def test_steering_is_told_the_viewer_s_address_by_the_listed_proxy(browser: Browser) -> None:
    """RFC 7239: the proxy speaks from its own, listed address."""
    reply = await browser.get(f"/via/127.17.77.7/{layout.STEERING}/who")
    assert await reply.text() == f"{layout.PROXY_HOST} for=127.17.77.7"


@pytest.mark.parametrize("path", ["127.16.7.7/127.0.0.1:22", "10.0.0.1/127.11.0.1", "x/127.11.0.1"])
async def test_the_proxy_goes_nowhere_else(browser: Browser, path: str) -> None:
    """Neither to other hosts, nor from addresses outside the demo's ISPs."""
    reply = await browser.get(f"/via/{path}/etc/passwd")
    assert reply.status == 403


async def test_a_dead_box_is_a_bad_gateway_at_once(browser: Browser) -> None:
    """So that the player goes on to the next pathway."""
    reply = await browser.get(f"/via/127.16.77.7/127.11.0.2:{layout.PORT}/a/7/seg")
    assert reply.status == 502


async def test_the_buttons_kill_freeze_and_revive(browser: Browser) -> None:
    """What a box can be asked depends on how it is."""

    async def state() -> tuple[str, list[str]]:
        world = await (await browser.get("/api/world")).json()
        box = next(one for one in world["boxes"] if one["id"] == "a1")
        return box["state"], box["can"]

    assert await state() == ("running", ["kill", "freeze"])
    assert (await browser.post("/api/box/a1/thaw")).status == 409
    for action, after in [("freeze", "frozen"), ("thaw", "running"), ("kill", "dead")]:
        assert (await browser.post(f"/api/box/a1/{action}")).status == 200
        assert (await state())[0] == after
    assert (await browser.post("/api/box/a1/revive")).status == 200
    assert (await state())[0] == "running"
    assert (await browser.post("/api/box/origin/kill")).status == 404


async def test_the_page_needs_nothing_from_elsewhere(browser: Browser) -> None:
    """It works without the Internet: every address in it is its own."""
    for path in ("/", "/static/page.js", "/static/page.css"):
        reply = await browser.get(path)
        assert reply.status == 200
        assert "://" not in (await reply.text()).replace("${location.origin}://", "")


async def test_without_steering_the_page_says_so(browser: Browser) -> None:
    """The explanation is steering's; when it is away the answer is 502, not a hanging page."""
    reply = await browser.get("/api/explain", params={"client": "127.16.7.7", "title": "x"})
    assert reply.status == 502
    assert isinstance(reply, aiohttp.ClientResponse)
