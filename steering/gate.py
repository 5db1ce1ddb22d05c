"""The limiter at work: counts what is answered in each turn of the loop, and refuses the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from steering.asked import Protocols, read_question
from steering.limiter import Kind, Limiter
from steering.offers import kept
from steering.policy import Policy
from wire.errors import UnavailableError, WireError
from wire.web import json_response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TTL_FACTOR = 4  # a player that was given its old order comes again when the rush is over
_STEERING = "/v1/steering/"
_PLAYERS = ("/v1/steer", "/v1/play/", "/v1/redirect/", _STEERING)


class Gate:
    """Who may pass in this turn of the event loop."""

    def __init__(self, limiter: Limiter) -> None:
        """One gate for all listeners of a process: they share its loop."""
        self.limiter = limiter
        self._passed = 0
        self._begun_s = 0.0

    def admits(self, kind: Kind) -> bool:
        """Whether a request that became ready is answered; the first one opens a turn."""
        if not self._begun_s:
            self._begun_s = time.perf_counter()
            asyncio.get_running_loop().call_soon(self._turned)
        if not self.limiter.admits(kind, self._passed):
            return False
        self._passed += 1
        return True

    def _turned(self) -> None:
        self.limiter.turned(self._passed, time.perf_counter() - self._begun_s)
        self._passed, self._begun_s = 0, 0.0


def kind_of(request: web.Request) -> Kind | None:
    """What a request asks for; None for what is never refused: reports and health."""
    path = request.path
    if path == "/v1/explain":
        return Kind.EXPLAIN
    if not path.startswith(_PLAYERS):
        return None
    ahead = request.method == "POST" or "prefetch" in request.headers.get("Sec-Purpose", "")
    return Kind.PREFETCH if ahead else Kind.PLAY


def shedding(gate: Gate, policy: Callable[[], Policy]) -> Middleware:
    """Refuse what the gate does not admit: a player keeps the order that it has for a while (429
    would end hls.js's steering for ever), everybody else hears 503 with Retry-After."""

    @web.middleware
    async def shed(request: web.Request, handler: Handler) -> web.StreamResponse:
        kind = kind_of(request)
        if kind is None or request.method == "OPTIONS" or gate.admits(kind):
            return await handler(request)
        if request.path.startswith(_STEERING):
            same = _same_order(request, policy().ttl_s * TTL_FACTOR)
            if same is not None:
                return same
        raise UnavailableError("busy: ask again soon", retry_after_s=policy().retry_after_s)

    return shed


def _same_order(request: web.Request, ttl_s: int) -> web.Response | None:
    """Whoever asks stays where it is, whatever its manifest lists first: nothing is to swing."""
    try:
        asked = read_question(Protocols(request.path.removeprefix(_STEERING)), request.query)
    except (WireError, ValueError):
        return None
    return json_response(kept(asked, ttl_s))
