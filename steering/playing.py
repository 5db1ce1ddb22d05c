"""Manifests and steering manifests for players: `/v1/play/…` and `/v1/steering/…`.

An adapter over aiohttp: reads the request, asks `Offers`, writes the answer and one log record.
"""

from __future__ import annotations

import random
import time
from typing import Protocol

from aiohttp import web

from steering import dash, hls
from steering.api import Api, now
from steering.asked import Protocols, read_question
from steering.engine import Engine
from steering.metrics import Metrics
from steering.offers import KEY_BITS, Offers
from steering.session import Seals
from wire.catalogue import Title
from wire.errors import NotFoundError, PeerError
from wire.web import json_response


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

    def __init__(
        self,
        api: Api,
        engine: Engine,
        manifests: ManifestSource,
        seals: Seals,
        metrics: Metrics,
    ) -> None:
        """`api` knows whom a request is of, and keeps the records; `seals` those of sessions."""
        self._api, self._engine, self._manifests = api, engine, manifests
        self._offers = Offers(engine, seals)
        self._sessions = metrics.sessions

    def add_to(self, app: web.Application) -> None:
        """Register the players' paths."""
        app.router.add_get("/v1/steering/hls", self.steering)
        app.router.add_get("/v1/steering/dash", self.steering)
        app.router.add_get("/v1/play/{name}", self.play)

    async def steering(self, request: web.Request) -> web.Response:
        """GET /v1/steering/hls|dash?title=T&pathways=a,b&state=S → SteeringManifest; raises
        WireError, GoneError when the title is no more, SessionOverError when its URLs are old."""
        begun_s = time.perf_counter()
        client = self._api.client(request)
        protocol = Protocols(request.path.rpartition("/")[2])
        asked = read_question(protocol, request.query)
        self._api.check_ready()
        try:
            title = self._engine.titles.title(asked.title)
        except NotFoundError as exc:
            raise GoneError(str(exc)) from exc
        url = self._api.base(request) + request.path
        found = self._offers.steering(client, title, asked, url, now(), _chance())
        self._sessions.labels(found.standing.value).inc()
        self._api.record(request, found.decision, begun_s, order=found.manifest.priority)
        return json_response(found.manifest)

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
        text, decision = self._offers.play(client, title, manifest, url, now(), _chance())
        self._api.record(request, decision, begun_s)
        media_type = hls.MEDIA_TYPE if kind == "hls" else dash.MEDIA_TYPE
        return web.Response(
            body=text.encode(), content_type=media_type, headers={"Cache-Control": "no-store"}
        )


def _chance() -> int:
    return random.getrandbits(KEY_BITS)
