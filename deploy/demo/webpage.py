"""The page where a person watches a film, and the proxy by which a browser enters an ISP.

The proxy goes only where it is told it may: to the fleet's hosts (its socket bound to the viewer's
address) and to steering (which lists this proxy, and takes the viewer's address from `Forwarded`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from deploy.demo import layout
from deploy.demo.films import FILMS
from deploy.demo.processes import Crew, Process
from wire.codec import decode
from wire.errors import WireError
from wire.steer import BoxState, FleetState

PAGE = Path(__file__).with_name("page")
HLS_JS = Path(__file__).with_name("players") / "node_modules/hls.js/dist/hls.min.js"
COPY_BYTES = 64 * 1024
PATIENCE = aiohttp.ClientTimeout(total=60, sock_connect=2, sock_read=10)
ADMIN_PATIENCE = aiohttp.ClientTimeout(total=2)
PASSED_ON = ("Content-Type", "Content-Length", "Content-Range", "ETag", "Cache-Control")
VIEWER_SUFFIX = ".77.7"
# What a person may do to a box in each state, and what the process then does.
ACTIONS: dict[str, dict[str, Callable[[Crew, Process], None]]] = {
    "running": {
        "kill": lambda crew, box: box.kill(),
        "freeze": lambda crew, box: box.freeze(),
    },
    "frozen": {
        "thaw": lambda crew, box: box.thaw(),
        "kill": lambda crew, box: box.kill(),
    },
    "dead": {"revive": lambda crew, box: crew.restart(box.name)},
}


class Page:
    """The page's server; `crew` are the processes that its buttons act upon."""

    def __init__(self, crew: Crew) -> None:
        """Starts nothing yet."""
        self._crew = crew
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    def app(self) -> web.Application:
        """The application: page, players, what the page asks, and the proxy."""
        app = web.Application(middlewares=[_no_store])
        app.router.add_get("/", self._index)
        app.router.add_static("/static/", PAGE)
        app.router.add_get("/players/hls.min.js", self._hls_js)
        app.router.add_get("/api/world", self._world)
        app.router.add_get("/api/explain", self._explain)
        app.router.add_post("/api/box/{box}/{action}", self._act)
        app.router.add_get("/via/{client}/{place}/{tail:.*}", self._via)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        for session in self._sessions.values():
            await session.close()

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _hls_js(self, _: web.Request) -> web.StreamResponse:
        if not HLS_JS.is_file():
            raise web.HTTPNotFound(text="hls.js is missing: run `deploy/setup.sh demo`")
        return web.FileResponse(HLS_JS)

    async def _world(self, _: web.Request) -> web.Response:
        seen = {box.appliance: box for box in await self._fleet_state()}
        return web.json_response(
            {
                "steering": layout.STEERING,
                "isps": [
                    {"id": isp.site, "name": isp.name, "client": isp.clients + VIEWER_SUFFIX}
                    for isp in layout.ISPS
                ],
                "films": [{"id": film.title, "name": film.caption} for film in FILMS],
                "sites": [
                    {"id": place.id, "name": place.name, "words": place.words}
                    for place in layout.PLACES
                ],
                "boxes": [self._box(box, seen.get(box.id)) for box in layout.SERVERS],
            }
        )

    def _box(self, box: layout.Box, seen: BoxState | None) -> dict[str, Any]:
        process = self._crew.processes[box.id]
        state = "dead" if not process.running else "frozen" if process.frozen else "running"
        words = {"dead": "dead", "frozen": "frozen: takes calls, says nothing"}.get(state, "")
        if not words and seen is not None:
            words = f"{seen.state.replace('_', ' ')}, holds {seen.assets} assets"
        return {
            "id": box.id,
            "site": box.site,
            "host": box.host,
            "state": state,
            "words": words or "serves everything",
            "can": [] if box.site == "origin" else list(ACTIONS[state]),
        }

    async def _fleet_state(self) -> tuple[BoxState, ...]:
        try:
            url = f"http://{layout.STEERING_ADMIN}/v1/fleet"
            async with self._session("").get(url, timeout=ADMIN_PATIENCE) as reply:
                return decode(FleetState, await reply.read(), "fleet state").boxes
        except (aiohttp.ClientError, TimeoutError, WireError):
            return ()

    async def _explain(self, request: web.Request) -> web.Response:
        url = f"http://{layout.STEERING_ADMIN}/v1/explain"
        wanted = {
            key: request.query[key] for key in ("client", "title", "asset") if key in request.query
        }
        try:
            session = self._session("")
            async with session.get(url, params=wanted, timeout=ADMIN_PATIENCE) as reply:
                return web.Response(
                    body=await reply.read(), status=reply.status, content_type="application/json"
                )
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise web.HTTPBadGateway(text=f"steering does not answer: {exc}") from exc

    async def _act(self, request: web.Request) -> web.Response:
        box, action = request.match_info["box"], request.match_info["action"]
        if box not in {one.id for one in layout.BOXES}:
            raise web.HTTPNotFound(text=f"there is no appliance {box}")
        process = self._crew.processes[box]
        state = "dead" if not process.running else "frozen" if process.frozen else "running"
        act = ACTIONS[state].get(action)
        if act is None:
            raise web.HTTPConflict(text=f"{box} is {state}: it cannot be asked to {action}")
        act(self._crew, process)
        return web.Response(text="done")

    async def _via(self, request: web.Request) -> web.StreamResponse:
        client, place = request.match_info["client"], request.match_info["place"]
        headers = {"Range": request.headers["Range"]} if "Range" in request.headers else {}
        local = _checked_client(client)
        if place == layout.STEERING:
            local, headers["Forwarded"] = layout.PROXY_HOST, f"for={client}"
        elif place.removesuffix(f":{layout.PORT}") not in layout.BOX_OF_HOST:
            raise web.HTTPForbidden(text=f"this proxy does not go to {place}")
        target = request.raw_path.split(place, 1)[1]
        try:
            session = self._session(local)
            url = URL(f"http://{place}{target}", encoded=True)
            async with session.get(url, headers=headers) as upstream:
                return await _copy(request, upstream)
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise web.HTTPBadGateway(text=f"{place}: {exc or 'no answer'}") from exc

    def _session(self, local: str) -> aiohttp.ClientSession:
        """One session per local address; "" is whatever the system takes."""
        if local not in self._sessions:
            bound = aiohttp.TCPConnector(local_addr=(local, 0) if local else None)
            self._sessions[local] = aiohttp.ClientSession(
                connector=bound, timeout=PATIENCE, auto_decompress=False
            )
        return self._sessions[local]


def _checked_client(client: str) -> str:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        raise web.HTTPForbidden(text=f"{client} is no address") from None
    if not any(address in ipaddress.ip_network(isp.prefix) for isp in layout.ISPS):
        raise web.HTTPForbidden(text=f"{client} is in none of the demo's ISPs")
    return client


async def _copy(request: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=upstream.status)
    for name in PASSED_ON:
        if name in upstream.headers:
            response.headers[name] = upstream.headers[name]
    await response.prepare(request)
    try:
        async for chunk in upstream.content.iter_chunked(COPY_BYTES):
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError):
        # The head is out already: only a broken connection can still tell the player.
        if request.transport is not None:
            request.transport.abort()
    else:
        await response.write_eof()
    return response


@web.middleware
async def _no_store(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers.setdefault("Cache-Control", "no-store")
    return response
