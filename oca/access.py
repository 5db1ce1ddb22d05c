"""Who may have what: signed URIs (RFC 9246), peers that fill, clients of announced prefixes.

Pure: time is an argument. A signature that holds is verified once and remembered, in a bounded
memory, until it expires; a session costs one verification. The reason of a refusal goes to log and
metric, never into the answer.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from oca.http.head import Fields, Line
from oca.prefixes import Prefixes, address_of
from oca.reasons import Refusal
from oca.state import Peers
from wire.auth import BEARER, authenticate
from wire.errors import AuthError
from wire.keys import VerifyKey, parse_verify_key
from wire.token import PACKAGE, Policy, Proven, TokenError, allows_uri, examine, renewed
from wire.token import Refusal as TokenRefusal
from wire.tokenuri import cookie_path, from_cookie, normal_uri, split_path, split_query

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(Exception):
    """403; `reason` is a value of `oca.reasons.REFUSALS`."""

    def __init__(self, reason: str) -> None:
        """`reason` is also the text."""
        self.reason = reason
        super().__init__(reason)


class Grant(msgspec.Struct, frozen=True):
    """What a request may do: `path` is the target's path without the token.

    `home` is the client's home site, whose demand this is ("" when nobody knows it, None when it is
    no player's). `exp_s` in Unix seconds. `by_line` says that the request line and the host alone
    earned it, whoever the client is; `peer` that an appliance fetches to fill. `cookie` is what a
    Set-Cookie of the answer says: the next token of a chain.
    """

    path: bytes
    home: str | None
    exp_s: float
    by_line: bool
    peer: bool = False
    cookie: bytes = b""


class Gate:
    """The rules of one appliance, as its configuration and its agent (peers.json) give them."""

    def __init__(
        self,
        *,
        audience: str,
        scheme: str,
        token_keys: Mapping[str, VerifyKey],
        peers: Peers,
        anybody: bool,
        remembered_max: int,
        policy: Policy | None = None,
        on_proven: Callable[[Proven], None] = lambda _proven: None,
    ) -> None:
        """`anybody` serves clients outside the announced prefixes; `on_proven` is told of a token
        that is seen for the first time, and holds. Raises WireError, ValueError."""
        self._audience, self._scheme = audience, scheme
        self._token_keys, self._anybody = token_keys, anybody
        self._policy, self._on_proven = policy or Policy(), on_proven
        self._peer_keys = {name: parse_verify_key(text, name) for name, text in peers.peers.items()}
        self._prefixes = Prefixes(peers.prefixes or ())
        self._max = remembered_max
        self._tokens: OrderedDict[str, Proven] = OrderedDict()
        self._callers: OrderedDict[str, float] = OrderedDict()

    def is_inside(self, client: Address) -> bool:
        """Whether a client may be served at all by where it is."""
        return self._anybody or client in self._prefixes

    def admit(
        self, line: Line, fields: Fields, inside: bool, now_s: float, client: str = ""
    ) -> Grant:
        """The grant for a request from the address `client`, which is `inside` or not; raises
        Refused. An unknown address is outside of every network that a token names."""
        authorization = fields.authorization
        if (
            self._peer_keys
            and authorization is not None
            and authorization.startswith(BEARER.encode())
        ):
            return self._peer(authorization.decode("latin-1"), line.path, now_s)
        if not inside:
            raise Refused(Refusal.NOT_ANNOUNCED)
        path, query, package, by_line = _find_package(line, fields)
        if package is None:
            raise Refused(TokenRefusal.MISSING)
        proven = self._token(package, now_s)
        token = proven.token
        host = (line.authority or fields.host or b"").decode("latin-1")
        if not allows_uri(token, normal_uri(self._scheme, host, path, query)):
            raise Refused(TokenRefusal.FOREIGN_URI)
        if proven.network is not None and not _is_from(client, proven.network):
            raise Refused(TokenRefusal.FOREIGN_CLIENT)
        return Grant(
            path=path.encode("latin-1"),
            home=None if token.is_service else token.home,
            exp_s=token.exp,
            by_line=by_line and proven.network is None and not token.cdnistt,
            cookie=self._next(proven, path, now_s) if token.cdnistt else b"",
        )

    def _next(self, proven: Proven, path: str, now_s: float) -> bytes:
        """The cookie with the next token (RFC 9246 §3.3); empty when a cookie cannot say where."""
        where = cookie_path(path, proven.token.cdnistd)
        if where is None:
            return b""
        text = renewed(proven, self._token_keys[proven.kid], now_s)
        life_s = math.ceil(proven.token.cdniets or 0)
        more = "; Secure; SameSite=None" if self._scheme == "https" else ""
        return f"{PACKAGE}={text}; Path={where}; Max-Age={life_s}; HttpOnly{more}".encode()

    def _peer(self, header: str, path: bytes, now_s: float) -> Grant:
        exp_s = self._callers.get(header)
        if exp_s is None or exp_s <= now_s:
            try:
                caller = authenticate(header, self._peer_keys, self._audience, now_s)
            except AuthError as exc:
                raise Refused(Refusal.PEER) from exc
            exp_s = caller.exp_s
            _remember(self._callers, header, exp_s, self._max)
        return Grant(path, None, exp_s, False, peer=True)

    def _token(self, package: str, now_s: float) -> Proven:
        """A refused one is not remembered: invented ones would push out those that hold."""
        found = self._tokens.get(package)
        if found is None:
            try:
                found = examine(package, self._token_keys, now_s, self._policy)
            except TokenError as exc:
                raise Refused(exc.reason) from exc
            self._on_proven(found)
            _remember(self._tokens, package, found, self._max)
        if found.token.exp <= now_s:
            raise Refused(TokenRefusal.EXPIRED)
        return found


def _is_from(client: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return address_of(client) in network
    except ValueError:
        return False


V = TypeVar("V")


def _remember(memory: OrderedDict[str, V], key: str, value: V, most: int) -> None:
    if len(memory) >= most:
        memory.popitem(last=False)
    memory[key] = value


def _find_package(line: Line, fields: Fields) -> tuple[str, str | None, str | None, bool]:
    """(path, query, token, whether the line carried it), the token taken out: path, query, cookie.

    RFC 9246 §2; a second token in the path is part of the path, which then matches nothing.
    """
    path, package = split_path(line.path.decode("latin-1"))
    query = None if line.query is None else line.query.decode("latin-1")
    if package is not None:
        return path, query, package, True
    if query is not None:
        query, package = split_query(query)
        if package is not None:
            return path, query, package, True
    return path, query, from_cookie((fields.cookie or b"").decode("latin-1")), False
