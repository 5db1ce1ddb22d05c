"""`GET /v1/steer` as bytes: what the fast lane answers, from the same engine as everything else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate

from steering.address import Client, parse_client
from steering.api import CORS, Api, now
from steering.decide import Decision
from steering.engine import Engine
from steering.forwarded import Network, is_listed
from wire.catalogue import Title
from wire.codec import encode
from wire.errors import OcaError, UnavailableError
from wire.problem import PROBLEM_TYPE, problem_of
from wire.token import PACKAGE

PEERS_MAX = 4_096  # clients remembered as read; with keep-alive each asks many times
BASES_MAX = 65_536  # of one fleet there are at most as many as boxes


class HotAnswers:
    """Whole responses, heads and all; None where aiohttp's handlers have more to say."""

    def __init__(self, engine: Engine, api: Api, proxies: Sequence[Network]) -> None:
        """`api` keeps the records. What a listed proxy passes on is not for here: whose request
        it is stands in a header."""
        self._engine, self._api, self._proxies = engine, api, proxies
        self._peers: dict[str, Client | None] = {}
        self._bases: dict[str, str] = {}
        cors = "".join(f"{name}: {value}\r\n" for name, value in CORS.items())
        self._head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{cors}".encode()
        self._date, self._date_s = b"", 0

    def steer(self, peer: str, asset: int | None, title: str | None) -> bytes | None:
        """As `Api.steer`; None also when it would be an error, which aiohttp's handler words."""
        begun_s = time.perf_counter()
        client = self._client(peer)
        if client is None or not self._engine.titles.epoch:
            return None
        at = now()
        try:
            found, assets = self._engine.what(asset, title)
            if asset is None:
                answer, decision = self._engine.steer(client, found, assets, at)
                body = encode(answer)
            else:
                decision, token = self._engine.choose(client, found, assets, at)
                body = self._body(decision, found, asset, token, self._engine.ttl_s(client, at))
        except OcaError:
            return None
        self._api.decided("steer", decision, begun_s)
        return self._response(body, int(at.unix_s))

    def busy(self) -> bytes:
        """503, and when to come back."""
        retry_s = self._engine.rules.retry_after_s
        problem = problem_of(UnavailableError("busy: ask again soon", retry_after_s=retry_s))
        body = encode(problem)
        cors = "".join(f"{name}: {value}\r\n" for name, value in CORS.items())
        head = (
            f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {PROBLEM_TYPE}\r\n{cors}"
            f"Retry-After: {retry_s}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _body(self, decision: Decision, title: Title, asset: int, token: str, ttl_s: int) -> bytes:
        """What `encode(SteerAnswer)` gives for one asset, without making the objects. Ids, names
        and tokens have no letter that JSON would write differently; base URLs may."""
        name = next((item.name for item in title.assets if item.id == asset), "")
        places = ",".join(
            [
                f'{{"pathway":"{place.pathway}","site":"{place.site}","rank":{place.rank}}}'
                for place in decision.places
            ]
        )
        tail = f'/a/{asset};{PACKAGE}={token}/"'
        urls = ",".join(
            [f'"{box.id}":{self._quoted(box.base_url)}{tail}' for box in decision.holders[asset]]
        )
        return (
            f'{{"version":1,"title":"{title.id}","home":"{decision.home}",'
            f'"ttl_s":{ttl_s},"places":[{places}],'
            f'"assets":[{{"asset":{asset},"name":"{name}","urls":{{{urls}}}}}],'
            f'"stale":{"true" if decision.stale else "false"}}}'
        ).encode()

    def _quoted(self, base_url: str) -> str:
        """A base URL as the beginning of a JSON string."""
        known = self._bases.get(base_url)
        if known is None:
            if len(self._bases) >= BASES_MAX:
                self._bases.clear()
            known = self._bases[base_url] = encode(base_url).decode()[:-1]
        return known

    def _response(self, body: bytes, unix_s: int) -> bytes:
        if unix_s != self._date_s:
            self._date_s = unix_s
            self._date = f"Date: {formatdate(unix_s, usegmt=True)}\r\nContent-Length: ".encode()
        return b"%b%b%d\r\n\r\n%b" % (self._head, self._date, len(body), body)

    def _client(self, peer: str) -> Client | None:
        """Whose connection it is; None for a proxy's."""
        known = self._peers.get(peer)
        if known is None and peer not in self._peers:
            if len(self._peers) >= PEERS_MAX:
                self._peers.clear()
            client = parse_client(peer, "peer")
            known = None if is_listed(client, self._proxies) else client
            self._peers[peer] = known
        return known
