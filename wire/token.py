"""Signed URIs (RFC 9246): a JWT in the folder part of the path, so relative URIs inherit it.

One token per answer: valid on every host offered, scoped to the title's assets by `cdniuc`, with
the client's home site in `home`. It says nothing about a person. `examine` checks everything that
does not depend on the request; `allows_uri` and `Proven.network` are for the rest. No time has any
leeway (§2.1.4–5). A claim that we cannot honour is refused, never ignored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from wire.codec import encode
from wire.errors import ForbiddenError, WireError
from wire.ids import HomeId
from wire.jose import sign
from wire.keys import SigningKey, VerifyKey, b64url, unb64url
from wire.tokenclient import ClientError, ClientKey, Network, network_of
from wire.tokenpattern import PATTERN_CHARS_MAX, PatternError, pattern
from wire.tokenuri import PACKAGE, signed_folder, split_path

__all__ = [
    "PACKAGE", "PATTERN_CHARS_MAX", "TOKEN_BYTES_MAX", "Policy", "Proven", "Refusal", "Token",
    "TokenError", "allows_uri", "examine", "folder_scope", "hash_scope", "mint", "renewed",
    "scope_of", "signed_folder", "split_path", "verify",
]  # fmt: skip

TOKEN_BYTES_MAX = 4096  # it travels in a path; ours have ~400 bytes
RENEW_S_MAX = 30 * 86_400.0  # a token that is renewed is a short one; browsers cap cookies as well
COOKIE = 1  # cdnistt: 0 is none, 1 a cookie, 2 a redirect's query, and we never redirect

_HASHES = {"sha-256": ("sha256", 32), "sha-256-128": ("sha256", 16), "sha-384": ("sha384", 48),
           "sha-512": ("sha512", 64)}  # fmt: skip
"""RFC 6920 §9.4: name → function, bytes kept. Shorter ones can be met by trying."""

_SPECIAL = re.compile(r"([.\[\]{}()*+?^$|\\])")  # of an extended regular expression
_HEADERS = {
    alg: jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    for alg in ("HS256", "ES256", "EdDSA")
}
"""Header parameters that nobody knows are ignored (RFC 7515 §4), unless `crit` names them."""

_KNOWN = {"cdniv", "cdnicrit", "cdniip", "cdniuc", "cdniets", "cdnistt", "cdnistd", "iss", "sub",
          "aud", "exp", "nbf", "iat", "jti", "home"}  # fmt: skip


class Refusal(StrEnum):
    """Why a token was refused; for logs and metrics, never for the body of an answer."""

    MISSING = "token_missing"
    MALFORMED = "token_malformed"
    UNKNOWN_KEY = "token_unknown_key"
    WRONG_ALGORITHM = "token_wrong_algorithm"
    BAD_SIGNATURE = "token_bad_signature"
    VERSION = "token_unknown_version"
    UNSUPPORTED = "token_unsupported_claim"
    ISSUER = "token_foreign_issuer"
    AUDIENCE = "token_foreign_audience"
    EXPIRED = "token_expired"
    NOT_YET = "token_not_yet_valid"
    PATTERN = "token_pattern_refused"
    FOREIGN_URI = "token_foreign_uri"
    UNREADABLE_CLIENT = "token_client_unreadable"
    FOREIGN_CLIENT = "token_foreign_client"
    RENEWAL = "token_not_renewable_here"


class TokenError(ForbiddenError):
    """A token does not open this door; `reason` says why."""

    def __init__(self, reason: Refusal) -> None:
        """`reason` is also the text."""
        self.reason = reason
        super().__init__(reason.value)


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The claims (RFC 9246 §2.1); times in Unix seconds, `cdniets` in seconds. `home` is ours: the
    client's home site. `sub` is empty for players; a service that fetches for itself names itself
    there, and what it gets is nobody's demand (a person is a JWE there, and a player)."""

    exp: float
    cdniuc: str
    cdniv: int = 1
    iss: str = ""
    sub: str = ""
    aud: str | tuple[str, ...] = ()
    iat: float = 0
    nbf: float = 0
    jti: str = ""
    cdnicrit: str | None = None
    cdniip: str = ""
    cdniets: float | None = None
    cdnistt: int = 0
    cdnistd: int = 0
    home: HomeId = ""

    @property
    def is_service(self) -> bool:
        """Whether a service fetches for itself; an encrypted subject (§2.1.2) is a person."""
        return bool(self.sub) and self.sub.count(".") != 4


@dataclass(frozen=True, slots=True)
class Policy:
    """What a verifier knows beside keys: `issuers` (kid → the issuer that signs with it), by what
    `names` an audience may call it, and the shared keys that open `cdniip`, by kid."""

    issuers: Mapping[str, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    client_keys: Mapping[str, ClientKey] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proven:
    """A token whose signature, times and claims hold: whoever is inside `network` (None: anybody)
    may have what `allows_uri` allows. `claims` are all of them, as the key `kid` signed them, where
    they will be signed anew, and empty where not: a worker remembers many of these."""

    token: Token
    kid: str
    network: Network | None
    claims: dict[str, Any]


def scope_of(assets: Iterable[int]) -> str:
    """The `cdniuc` that covers every file of these assets, on any host; anchored on both sides.

    A query is allowed, as it names no other file: players send CMCD (CTA-5004) and `_HLS_` there.
    """
    ids = "|".join(str(asset) for asset in sorted(assets))
    return f"regex:^https?://[^/]+/a/({ids})/[^?#]*([?][^#]*)?$"


def folder_scope(uri: str) -> str:
    """The `cdniuc` of every file in the folder of this URI and below, by http or https."""
    _, _, rest = uri.partition("?")[0].partition("://")
    folder = _SPECIAL.sub(r"\\\1", rest.rpartition("/")[0])
    return f"regex:^https?://{folder}/[^?#]*([?][^#]*)?$"


def hash_scope(uri: str) -> str:
    """The `cdniuc` of this one URI in normal form, its query included (RFC 6920 §5)."""
    return "hash:sha-256;" + b64url(hashlib.sha256(uri.encode()).digest())


def mint(token: Token, key: SigningKey) -> str:
    """The signed JWT of these claims."""
    return sign(encode(token), key)


def renewed(proven: Proven, key: VerifyKey, now_s: float) -> str:
    """The next token of a chain (§3.2): the same claims, `cdniets` seconds from now.

    `key` is the shared one that the token was signed with: a public key cannot sign.
    """
    claims = {**proven.claims, "exp": int(now_s + (proven.token.cdniets or 0))}
    if "iat" in claims:
        claims["iat"] = int(now_s)
    return sign(msgspec.json.encode(claims), SigningKey(key.alg, key.key, proven.kid))


def verify(text: str, keys: Mapping[str, VerifyKey], now_s: float) -> Token:
    """The claims of a token that `examine` accepts of any issuer; raises TokenError."""
    return examine(text, keys, now_s).token


_NOTHING = Policy()


def examine(
    text: str, keys: Mapping[str, VerifyKey], now_s: float, policy: Policy = _NOTHING
) -> Proven:
    """A token as proven by its key's signature; raises TokenError with the first thing wrong.

    What remains to be checked is what depends on the request: its URI and its client.
    """
    if len(text) > TOKEN_BYTES_MAX:
        raise TokenError(Refusal.MALFORMED)
    kid, payload = _signed_payload(text, keys)
    try:
        claims = msgspec.json.decode(payload)  # no NaN, no Infinity
        token = msgspec.json.decode(payload, type=Token)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise TokenError(Refusal.MALFORMED) from exc
    _check_claims(token, claims, kid, policy)
    _check_times(token, now_s)
    try:
        scope(token.cdniuc)
    except PatternError as exc:
        raise TokenError(Refusal.PATTERN) from exc
    if token.cdnistt and (token.cdnistt != COOKIE or keys[kid].alg != "HS256"):
        raise TokenError(Refusal.RENEWAL)
    try:
        network = network_of(token.cdniip, policy.client_keys) if "cdniip" in claims else None
    except ClientError as exc:
        raise TokenError(Refusal.UNREADABLE_CLIENT) from exc
    return Proven(token, kid, network, claims if token.cdnistt else {})


def allows_uri(token: Token, uri: str) -> bool:
    """Whether the token covers this URI, its token taken out, in normal form (RFC 9246 §2.1.15)."""
    return scope(token.cdniuc)(uri)


@lru_cache(maxsize=4096)
def scope(cdniuc: str) -> Callable[[str], bool]:
    """What tells the URIs inside a container from others (§2.1.15); raises PatternError.

    A pattern is matched as a whole: an unanchored one would authorise too much.
    """
    form, _, text = cdniuc.partition(":")
    if form == "regex":
        return pattern(text).covers
    name, _, digest = text.partition(";")
    if form != "hash" or name not in _HASHES:
        raise PatternError("neither a pattern nor a hash")
    function, kept_bytes = _HASHES[name]

    def covers(uri: str) -> bool:
        made = hashlib.new(function, uri.encode()).digest()[:kept_bytes]
        return b64url(made) == digest

    return covers


def _check_claims(token: Token, claims: dict[str, Any], kid: str, policy: Policy) -> None:
    """Version, critical claims, issuer, audience, renewal (§2.1.1, 3, 8, 9, 12–14)."""
    if token.cdniv != 1:
        raise TokenError(Refusal.VERSION)
    if token.cdnicrit is not None and not set(token.cdnicrit.split(",")) <= _KNOWN:
        raise TokenError(Refusal.UNSUPPORTED)
    if "iss" in claims and policy.issuers.get(kid, token.iss) != token.iss:
        raise TokenError(Refusal.ISSUER)
    if "aud" in claims:
        audience = {token.aud} if isinstance(token.aud, str) else set(token.aud)
        if not audience & policy.names:
            raise TokenError(Refusal.AUDIENCE)
    if token.cdnistd < 0 or ("cdnistt" in claims and token.cdniets is None):
        raise TokenError(Refusal.MALFORMED)
    if token.cdnistt and not 1 <= (token.cdniets or 0) <= RENEW_S_MAX:
        raise TokenError(Refusal.MALFORMED)


def _check_times(token: Token, now_s: float) -> None:
    if token.exp <= now_s:
        raise TokenError(Refusal.EXPIRED)
    if token.nbf > now_s:
        raise TokenError(Refusal.NOT_YET)


def _signed_payload(text: str, keys: Mapping[str, VerifyKey]) -> tuple[str, bytes]:
    """(kid, payload) of a JWS that one of our keys signed by its own algorithm (RFC 8725 §3.1)."""
    header, _, rest = text.partition(".")
    _, _, signature = rest.partition(".")
    if text.count(".") != 2:
        raise TokenError(Refusal.MALFORMED)
    try:
        fields = msgspec.json.decode(unb64url(header, "token"), type=dict[str, Any])
    except (WireError, msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise TokenError(Refusal.MALFORMED) from exc
    kid = fields.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None or not isinstance(kid, str):
        raise TokenError(Refusal.UNKNOWN_KEY)
    if fields.get("alg") != key.alg:
        raise TokenError(Refusal.WRONG_ALGORITHM)
    if "crit" in fields:
        raise TokenError(Refusal.UNSUPPORTED)
    try:
        # one text for one signature (RFC 4648 §3.5): base64 readers pass over what is left over
        if b64url(unb64url(signature, "token")) != signature:
            raise TokenError(Refusal.BAD_SIGNATURE)
        return kid, jws.deserialize_compact(text, key.key, registry=_HEADERS[key.alg]).payload
    except (JoseError, WireError, ValueError, TypeError, KeyError) as exc:
        raise TokenError(Refusal.BAD_SIGNATURE) from exc
