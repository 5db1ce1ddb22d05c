"""What players ask for in JSON, and what all their surfaces share.

An adapter over aiohttp: reads the request, asks the engine, writes the answer and one log record.
All of it answers any origin (CORS) and is never cached; nothing here answers 429 (hls.js would
never ask again).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from steering.accesslog import AccessLog
from steering.address import Client, parse_client
from steering.batch import Batch
from steering.decide import Decision, Snapshot
from steering.engine import Engine, Moment
from steering.forwarded import Network, client_of
from steering.metrics import Metrics
from wire.codec import decode
from wire.errors import PeerError, UnavailableError, WireError
from wire.ids import ASSET_ID_MAX
from wire.steer import BatchQuestion
from wire.web import json_response

BATCH_BYTES_MAX = 64 * 1024  # 1,000 numbers of ten digits, spaces and all, are 16 kB
BODY_S = 10.0  # a small body that takes longer is held back on purpose
STEPS_A_TURN = 16  # titles of a batch decided at once: ~2 ms with a signature each
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
    "Cache-Control": "no-store",
}
PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}

HOST_CHARS_MAX = 261  # a DNS name of 255 and a port
_HOST = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?\Z"
)
TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TooLargeError(PeerError):
    """A body larger than its kind may be."""

    status = 413


class Api:
    """The surfaces for players. `may_name_client` is for the admin listener only."""

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        records: AccessLog,
        proxies: Sequence[Network],
        public_url: str,
        *,
        may_name_client: bool = False,
    ) -> None:
        """`public_url` is the base in manifests; empty: what the request says."""
        self._engine, self._metrics, self._records = engine, metrics, records
        self._proxies, self._public_url = proxies, public_url.rstrip("/")
        self._may_name_client = may_name_client

    def add_to(self, app: web.Application) -> None:
        """Register the players' paths."""
        app.router.add_get("/v1/steer", self.steer)
        app.router.add_post("/v1/steer", self.steer_many)

    async def steer(self, request: web.Request) -> web.Response:
        """GET /v1/steer?asset=N | ?title=T → SteerAnswer; raises WireError, NotFoundError,
        UnavailableError."""
        begun_s = time.perf_counter()
        client = self.client(request)
        asset, title_id = asset_or_title(request)
        self.check_ready()
        title, assets = self._engine.what(asset, title_id)
        answer, decision = self._engine.steer(client, title, assets, now())
        self.record(request, decision, begun_s)
        return json_response(answer)

    async def steer_many(self, request: web.Request) -> web.Response:
        """POST /v1/steer: BatchQuestion → BatchAnswer, an entry for each asset; raises WireError,
        TooLargeError, UnavailableError."""
        begun_s = time.perf_counter()
        client = self.client(request)
        question = decode(BatchQuestion, await bounded_body(request, BATCH_BYTES_MAX), "body")
        self.check_ready()
        batch = Batch(self._engine, client, question.assets, now())
        for done, decision in enumerate(batch.steps(), start=1):
            self.record(request, decision, begun_s, snapshot=batch.snapshot)
            if done % STEPS_A_TURN == 0:
                await asyncio.sleep(0)
        return json_response(batch.answer())

    def client(self, request: web.Request) -> Client:
        """Whom to answer for; raises WireError when somebody names a client who may not."""
        named = one(request, "client")
        if named is not None:
            if not self._may_name_client:
                raise WireError("query", "client", "only the admin listener takes this")
            return parse_client(named)
        header = ", ".join(request.headers.getall("Forwarded", []))
        return client_of(request.remote or "", header, self._proxies)

    def check_ready(self) -> None:
        """Raise UnavailableError while there is no catalogue to answer from."""
        if not self._engine.titles.epoch:
            raise UnavailableError(
                "this replica has no catalogue yet", retry_after_s=self._engine.rules.retry_after_s
            )

    def base(self, request: web.Request) -> str:
        """Our own base URL as players reach it; raises WireError."""
        if self._public_url:
            return self._public_url
        named = _HOST.match(request.host)
        if named is None or len(request.host) > HOST_CHARS_MAX or int(named["port"] or 0) > 65535:
            raise WireError("header", "Host", "this is not a host")
        return f"{request.scheme}://{request.host}"

    def record(
        self,
        request: web.Request,
        decision: Decision,
        begun_s: float,
        order: Sequence[str] = (),
        snapshot: Snapshot | None = None,
    ) -> None:
        """As `decided`, for the surface that was asked."""
        self.decided(_surface(request.path), decision, begun_s, order, snapshot)

    def decided(
        self,
        surface: str,
        decision: Decision,
        begun_s: float,
        order: Sequence[str] = (),
        snapshot: Snapshot | None = None,
    ) -> None:
        """Count one decision, and keep the record of it; `snapshot` is the one that it was made
        from, if not the latest."""
        self._metrics.decided(surface, decision, time.perf_counter() - begun_s)
        snapshot = snapshot or self._engine.view.latest
        if snapshot is not None:
            self._records.put(surface, decision, snapshot, order)


@web.middleware
async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer, refusals included, is readable by any page; a browser that asks whether it
    may ask (Fetch standard, CORS preflight) may."""
    if request.method == "OPTIONS":
        return web.Response(status=204, headers=PREFLIGHT)
    response = await handler(request)
    for name, value in CORS.items():
        response.headers.setdefault(name, value)
    return response


def one(request: web.Request, name: str) -> str | None:
    """A query parameter that may be there once; raises WireError when it is there twice."""
    values = request.query.getall(name, [])
    if len(values) > 1:
        raise WireError("query", name, "given more than once")
    return values[0] if values else None


def asset_or_title(request: web.Request) -> tuple[int | None, str | None]:
    """What is asked for: exactly one of `asset` and `title`; raises WireError naming the field."""
    asset, title = one(request, "asset"), one(request, "title")
    if (asset is None) == (title is None):
        raise WireError("query", "asset", "give either asset=N or title=T")
    if title is not None:
        if not TITLE.match(title):
            raise WireError("query", "title", "this is not the id of a title")
        return None, title
    return asset_number(asset or "", "query"), None


def asset_number(text: str, what: str) -> int:
    """An asset's number, as it stands in `what` (query, path); raises WireError."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise WireError(what, "asset", "this is not an asset's number")
    if int(text) > ASSET_ID_MAX:
        raise WireError(what, "asset", f"larger than {ASSET_ID_MAX}")
    return int(text)


async def bounded_body(request: web.Request, bytes_max: int) -> bytes:
    """A small body; raises TooLargeError, and WireError when it does not come."""
    if (request.content_length or 0) > bytes_max:
        raise TooLargeError(f"at most {bytes_max} bytes are read here")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.content.iter_any():
                body += part
                if len(body) > bytes_max:
                    raise TooLargeError(f"at most {bytes_max} bytes are read here")
    except TimeoutError as exc:
        raise WireError("body", "", f"it did not come within {BODY_S:g} s") from exc
    return bytes(body)


def _surface(path: str) -> str:
    """What was asked, by its path, without anything of the client's."""
    kind, _, rest = path.removeprefix("/v1/").partition("/")
    return f"{kind}/{rest}" if kind == "steering" else kind


def now() -> Moment:
    """Both clocks."""
    return Moment(time.monotonic(), time.time())
