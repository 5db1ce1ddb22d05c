"""302 to the best box, for clients that can do no better than follow.

An adapter over aiohttp. A box that sent the client away wrote its name into the query (`not=`), and
is not named again; the names stay in the query, so no chain of redirects has a loop.
"""

from __future__ import annotations

import re
import time

from aiohttp import web

from steering.api import Api, asset_number, now
from steering.batch import redirect_target
from steering.engine import Engine
from wire.errors import NotFoundError, WireError
from wire.ids import ORIGIN_ID

ARGUMENT = "not="
PASSED_MAX = 8  # boxes that sent a client away; after so many the origin is the answer
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}\Z")
_BOX = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")


class Redirect:
    """The surface for dumb clients, and for appliances whose policy is `redirect`."""

    def __init__(self, api: Api, engine: Engine) -> None:
        """`api` knows whom a request is of, and keeps the records."""
        self._api, self._engine = api, engine

    def add_to(self, app: web.Application) -> None:
        """Register the path."""
        app.router.add_get("/v1/redirect/a/{asset}/{file}", self.redirect)

    async def redirect(self, request: web.Request) -> web.Response:
        """GET or HEAD /v1/redirect/a/<asset>/<file>?… → 302 to the same file, signed, at the best
        box, the query as it was.

        A token in the path is dropped: it was made for another answer. Raises WireError,
        NotFoundError, UnavailableError.
        """
        begun_s = time.perf_counter()
        client = self._api.client(request)
        asset = asset_number(request.match_info["asset"].partition(";")[0], "path")
        name = request.match_info["file"]
        if not _FILE.match(name):
            raise NotFoundError("files are named by letters, digits, '.', '_' and '-'")
        query = request.rel_url.raw_query_string
        passed = _passed(query)
        self._api.check_ready()
        if len(passed) > PASSED_MAX:
            passed = frozenset(self._engine.view.records) - {ORIGIN_ID}
        title, _ = self._engine.what(asset, None)
        folder, decision = redirect_target(self._engine, client, title, asset, passed, now())
        self._api.record(request, decision, begun_s)
        location = f"{folder}{name}?{query}" if query else folder + name
        return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-store"})


def _passed(query: str) -> frozenset[str]:
    """The boxes that sent this client away already."""
    names = [
        argument.removeprefix(ARGUMENT)
        for argument in query.split("&")
        if argument.startswith(ARGUMENT)
    ]
    for name in names:
        if not _BOX.match(name):
            raise WireError("query", "not", "this is not the id of an appliance")
    return frozenset(names)
