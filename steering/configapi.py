"""Generations of the configuration on the admin listener: look, try, publish, go back.

An adapter over aiohttp.
"""

from __future__ import annotations

from aiohttp import web

from steering.api import bounded_body, one
from steering.configuring import Configuring
from wire.codec import decode
from wire.errors import WireError
from wire.generations import Draft
from wire.web import json_response

DRAFT_BYTES_MAX = 32 * 1024 * 1024  # a fleet file of 100,000 boxes


class ConfigApi:
    """The handlers. Each change answers a ConfigChange; `?dry_run=1` only tells it."""

    def __init__(self, configuring: Configuring) -> None:
        """The one of this replica."""
        self._configuring = configuring

    def add_to(self, app: web.Application) -> None:
        """Register the paths."""
        app.router.add_get("/v1/config", self.state)
        app.router.add_post("/v1/config", self.publish)
        app.router.add_post("/v1/config/reload", self.reload)
        app.router.add_post("/v1/config/rollback", self.roll_back)

    async def state(self, _: web.Request) -> web.Response:
        """GET /v1/config → ConfigState."""
        return json_response(self._configuring.state())

    async def publish(self, request: web.Request) -> web.Response:
        """POST /v1/config: Draft → ConfigChange; raises WireError, ConflictError, TooLargeError,
        UnavailableError. `?force=1` lets most of the fleet go."""
        dry_run, force = _flag(request, "dry_run"), _flag(request, "force")
        draft = decode(Draft, await bounded_body(request, DRAFT_BYTES_MAX), "draft")
        found = await self._configuring.publish(draft, by="publish", dry_run=dry_run, force=force)
        return json_response(found)

    async def reload(self, request: web.Request) -> web.Response:
        """POST /v1/config/reload, as SIGHUP: the files → ConfigChange; raises as `publish` does."""
        dry_run, force = _flag(request, "dry_run"), _flag(request, "force")
        found = await self._configuring.reload(by="reload", dry_run=dry_run, force=force)
        return json_response(found)

    async def roll_back(self, request: web.Request) -> web.Response:
        """POST /v1/config/rollback → ConfigChange; raises NotFoundError, UnavailableError."""
        dry_run = _flag(request, "dry_run")
        return json_response(await self._configuring.roll_back(by="admin", dry_run=dry_run))


def _flag(request: web.Request, name: str) -> bool:
    """A query parameter that is 0 or 1; raises WireError."""
    text = one(request, name) or "0"
    if text not in ("0", "1"):
        raise WireError("query", name, "give 0 or 1")
    return text == "1"
