"""How the agent speaks to fill and to steering: signed, bounded, errors with a name."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
import msgspec

from wire.auth import bearer
from wire.codec import BODY_BYTES_MAX, decode, encode
from wire.errors import OcaError, WireError
from wire.events import EventAck
from wire.keys import SigningKey
from wire.plan import Desired, PurgeAck
from wire.problem import Problem
from wire.reports import (
    Heartbeat,
    HeartbeatReply,
    Inventory,
    InventoryReply,
    Routes,
    RoutesReply,
)


class ApiError(OcaError):
    """The other side is away, or refused; `status` is its answer's, 0 when there was none."""

    def __init__(self, where: str, status: int, detail: str, boot: int = 0) -> None:
        """`where` is the URL; `boot`: what the other side knows of us, where ours is older."""
        self.status, self.boot = status, boot
        said = f"status {status}: {detail}" if status else detail
        super().__init__(f"{where}: {said}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer below 400, or 304."""

    status: int
    body: bytes
    etag: str


class Api:
    """One service at one base URL. Everything sent is signed with the appliance's key."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        key: SigningKey,
        base: str,
        audience: str,
        timeout_s: float,
    ) -> None:
        """`audience` is the service's name in the signature; `timeout_s` bounds a whole call."""
        self.base, self._audience = base.rstrip("/"), audience
        self._session, self._key = session, key
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> Reply:
        """One request; raises ApiError for anything but success and 304."""
        url = self.base + path
        signature = bearer(self._key, self._audience, time.time(), body)
        own = {"Authorization": signature, "Accept-Encoding": "identity", **headers}
        if body:
            own["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method,
                url,
                data=body or None,
                headers=own,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                raw = await _bounded(response, url)
                if response.status != HTTPStatus.NOT_MODIFIED and response.status >= 300:
                    raise _refusal(url, response.status, raw)
                return Reply(response.status, raw, response.headers.get("ETag", ""))
        except TimeoutError as exc:
            raise ApiError(url, 0, "no answer in time") from exc
        except (aiohttp.ClientError, ValueError) as exc:
            raise ApiError(url, 0, str(exc)[:200] or type(exc).__name__) from exc


class Fill(Api):
    """`fill serve`, as the agent needs it. Every call raises ApiError or WireError."""

    async def document(self, path: str, etag: str) -> Reply | None:
        """A signed document (a plan, the purge list); None when `etag` is still current."""
        headers = {"If-None-Match": etag} if etag else {}
        reply = await self.call("GET", path, headers=headers)
        return None if reply.status == HTTPStatus.NOT_MODIFIED else reply

    async def entry(self, wanted: Desired) -> bytes:
        """An asset's catalogue entry, its exact bytes; raises WireError when the plan means
        another one."""
        reply = await self.call("GET", f"/v1/assets/{wanted.asset}")
        if hashlib.sha256(reply.body).hexdigest() != wanted.digest:
            what = f"{self.base}/v1/assets/{wanted.asset}"
            raise WireError(what, "", "this is not the entry that the plan means")
        return reply.body

    async def put_inventory(self, inventory: Inventory) -> InventoryReply:
        """Tell the planner what is offered."""
        path = f"/v1/inventory/{inventory.appliance}"
        reply = await self.call("PUT", path, encode(inventory))
        return decode(InventoryReply, reply.body, "inventory reply")

    async def post_events(self, batch: bytes) -> EventAck:
        """Deliver one batch of counted bytes (an encoded EventBatch)."""
        reply = await self.call("POST", "/v1/events", batch)
        return decode(EventAck, reply.body, "events reply")

    async def ack_purge(self, ack: PurgeAck) -> None:
        """Say that a purge list was carried out."""
        await self.call("POST", "/v1/purge/ack", encode(ack))


class Steering(Api):
    """One steering replica. Every call raises ApiError or WireError."""

    async def post_heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Say how the box feels; the reply says what the replica wants next."""
        reply = await self.call("POST", "/v1/heartbeat", encode(heartbeat))
        return decode(HeartbeatReply, reply.body, "heartbeat reply")

    async def put_inventory(self, inventory: Inventory) -> InventoryReply:
        """Say what the box offers, or what changed."""
        reply = await self.call("PUT", "/v1/inventory", encode(inventory))
        return decode(InventoryReply, reply.body, "inventory reply")

    async def put_routes(self, routes: Routes) -> RoutesReply:
        """Say which prefixes were announced to the box."""
        reply = await self.call("PUT", "/v1/routes", encode(routes))
        return decode(RoutesReply, reply.body, "routes reply")


async def _bounded(response: aiohttp.ClientResponse, url: str) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > BODY_BYTES_MAX:
            raise ApiError(url, response.status, f"the answer is longer than {BODY_BYTES_MAX}")
    return b"".join(pieces)


def _refusal(url: str, status: int, raw: bytes) -> ApiError:
    try:
        problem = msgspec.json.decode(raw, type=Problem)
    except msgspec.DecodeError:
        return ApiError(url, status, raw[:200].decode(errors="replace"))
    return ApiError(url, status, problem.detail or problem.title, problem.boot)
