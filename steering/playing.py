"""Manifests and steering manifests for players: `/v1/play/…` and `/v1/steering/…`.

An adapter over aiohttp: reads the request, asks `Offers`, writes the answer and one log record.
"""

from __future__ import annotations

import re
import time
from typing import Protocol

from aiohttp import web

from steering import dash, hls
from steering.api import TITLE, Api, now, one
from steering.engine import Engine
from steering.offers import Offers, listed_uri
from wire.catalogue import Title
from wire.errors import NotFoundError, PeerError, WireError
from wire.web import json_response

LISTED_MAX = 64  # pathways in one manifest; ours list the configured few and the origin
_PATHWAY = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


class GoneError(PeerError):
    """The title is no more: players stop asking (410 in HLS and DASH Content Steering)."""

    status = 410


class ManifestSource(Protocol):
    """Where the origin's manifests come from, already read."""

    async def get(self, title: Title, suffix: str) -> hls.Multivariant | dash.Manifest:
        """The top manifest of a title; raises NotFoundError, UnavailableError, ManifestError."""
        ...


class Playing:
    """The surfaces that players themselves ask."""

    def __init__(self, api: Api, engine: Engine, manifests: ManifestSource) -> None:
        """`api` knows whom a request is of, and keeps the records."""
        self._api, self._engine, self._manifests = api, engine, manifests
        self._offers = Offers(engine)

    def add_to(self, app: web.Application) -> None:
        """Register the players' paths."""
        app.router.add_get("/v1/steering/hls", self.steering)
        app.router.add_get("/v1/steering/dash", self.steering)
        app.router.add_get("/v1/play/{name}", self.play)

    async def steering(self, request: web.Request) -> web.Response:
        """GET /v1/steering/hls|dash?title=T&pathways=a,b → ContentSteering; raises WireError,
        and GoneError when the title is no more."""
        begun_s = time.perf_counter()
        client = self._api.client(request)
        title_id = one(request, "title") or ""
        if not TITLE.match(title_id):
            raise WireError("query", "title", "this is not the id of a title")
        listed = _pathways(one(request, "pathways") or "")
        self._api.check_ready()
        try:
            title = self._engine.titles.title(title_id)
        except NotFoundError as exc:
            raise GoneError(str(exc)) from exc
        again = listed_uri(self._api.base(request) + request.path, title.id, listed)
        body, decision = self._offers.priorities(client, title, listed, again, now().now_s)
        self._api.record(request, decision, None, begun_s, order=body.priority)
        return json_response(body)

    async def play(self, request: web.Request) -> web.Response:
        """GET /v1/play/TITLE.m3u8|.mpd → the manifest with pathways; raises NotFoundError,
        UnavailableError, ManifestError."""
        begun_s = time.perf_counter()
        client = self._api.client(request)
        title_id, dot, suffix = request.match_info["name"].rpartition(".")
        if suffix not in ("m3u8", "mpd"):
            raise NotFoundError("manifests here end in .m3u8 or .mpd")
        self._api.check_ready()
        title = self._engine.titles.title(title_id)
        manifest = await self._manifests.get(title, dot + suffix)
        kind = "hls" if suffix == "m3u8" else "dash"
        url = f"{self._api.base(request)}/v1/steering/{kind}"
        text, decision = self._offers.play(client, title, manifest, url, now())
        self._api.record(request, decision, None, begun_s)
        media_type = hls.MEDIA_TYPE if kind == "hls" else dash.MEDIA_TYPE
        return web.Response(
            body=text.encode(), content_type=media_type, headers={"Cache-Control": "no-store"}
        )


def _pathways(text: str) -> tuple[str, ...]:
    """The pathways that the player's manifest lists."""
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    if not names or len(names) > LISTED_MAX:
        raise WireError("query", "pathways", f"1 to {LISTED_MAX} pathway ids are needed")
    for name in names:
        if not _PATHWAY.match(name):
            raise WireError("query", "pathways", f"{name[:64]!r} is not a pathway id")
    return names
