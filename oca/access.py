"""Who may have what: signed URIs (RFC 9246), peers that fill, clients of announced prefixes.

Pure: time is an argument. A signature is verified once and its outcome remembered, in a bounded
memory, until it expires; a session costs one verification. The reason of a refusal goes to log and
metric, never into the answer.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from oca.http.head import Fields, Line
from oca.prefixes import Prefixes
from oca.reasons import Refusal
from oca.state import Peers
from wire.auth import BEARER, authenticate
from wire.errors import AuthError
from wire.keys import VerifyKey, parse_verify_key
from wire.token import PACKAGE, Token, TokenError, allows_uri, split_path, verify
from wire.token import Refusal as TokenRefusal

_ARGUMENT = PACKAGE.encode() + b"="
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
    earned it; `peer` that an appliance fetches to fill.
    """

    path: bytes
    home: str | None
    exp_s: float
    by_line: bool
    peer: bool = False


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
    ) -> None:
        """`anybody` serves clients outside the announced prefixes; raises WireError, ValueError."""
        self._audience, self._scheme = audience, scheme
        self._token_keys, self._anybody = token_keys, anybody
        self._peer_keys = {name: parse_verify_key(text, name) for name, text in peers.peers.items()}
        self._prefixes = Prefixes(peers.prefixes or ())
        self._max = remembered_max
        self._tokens: OrderedDict[str, Token | TokenRefusal] = OrderedDict()
        self._callers: OrderedDict[str, float] = OrderedDict()

    def is_inside(self, client: Address) -> bool:
        """Whether a client may be served at all by where it is."""
        return self._anybody or client in self._prefixes

    def admit(self, line: Line, fields: Fields, inside: bool, now_s: float) -> Grant:
        """The grant for a request of a client that is `inside` or not; raises Refused."""
        authorization = fields.authorization
        if authorization is not None and authorization.startswith(BEARER.encode()):
            return self._peer(authorization.decode("latin-1"), line.path, now_s)
        if not inside:
            raise Refused(Refusal.NOT_ANNOUNCED)
        path, query, package, by_line = _find_package(line, fields)
        if package is None:
            raise Refused(TokenRefusal.MISSING)
        token = self._token(package, now_s)
        host = (line.authority or fields.host or b"").decode("latin-1")
        uri = f"{self._scheme}://{host}{path}" + ("" if query is None else f"?{query}")
        if not allows_uri(token, uri):
            raise Refused(TokenRefusal.FOREIGN_URI)
        home = None if token.sub else token.home
        return Grant(path.encode("latin-1"), home, token.exp, by_line)

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

    def _token(self, package: str, now_s: float) -> Token:
        found = self._tokens.get(package)
        if found is None:
            try:
                found = verify(package, self._token_keys, now_s)
            except TokenError as exc:
                if exc.reason in (TokenRefusal.NOT_YET, TokenRefusal.EXPIRED):
                    raise Refused(exc.reason) from exc  # our clock alone may mend it
                found = exc.reason
            _remember(self._tokens, package, found, self._max)
        if isinstance(found, TokenRefusal):
            raise Refused(found)
        if found.exp <= now_s:
            raise Refused(TokenRefusal.EXPIRED)
        return found


V = TypeVar("V")


def _remember(memory: OrderedDict[str, V], key: str, value: V, most: int) -> None:
    if len(memory) >= most:
        memory.popitem(last=False)
    memory[key] = value


def _find_package(line: Line, fields: Fields) -> tuple[str, str | None, str | None, bool]:
    """(path, query, token, whether the line carried it), the token taken out: path, query, cookie.

    RFC 9246 §3.1; a second token in the path is part of the path, which then matches nothing.
    """
    path, package = split_path(line.path.decode("latin-1"))
    query = None if line.query is None else line.query.decode("latin-1")
    if package is not None:
        return path, query, package, True
    if line.query is not None and _ARGUMENT in line.query:
        arguments = line.query.split(b"&")
        found = [a for a in arguments if a.startswith(_ARGUMENT)]
        if found:
            rest = b"&".join(a for a in arguments if a is not found[0]).decode("latin-1")
            return path, rest or None, found[0][len(_ARGUMENT) :].decode("latin-1"), True
    for crumb in (fields.cookie or b"").split(b";"):
        if crumb.strip().startswith(_ARGUMENT):
            return path, query, crumb.strip()[len(_ARGUMENT) :].decode("latin-1"), False
    return path, query, None, False
