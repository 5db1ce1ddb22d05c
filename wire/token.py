"""Signed URIs (RFC 9246): a JWT in the folder part of the path, so relative URIs inherit it.

One token per answer: valid on every host offered, scoped to the title's assets by `cdniuc`, with
the client's home site in `home`. It says nothing about a person. Verifying checks everything that
does not depend on the request; `allows_uri` checks the rest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Literal

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from wire.codec import encode
from wire.errors import ForbiddenError
from wire.ids import HomeId
from wire.keys import SigningKey, VerifyKey, b64url

PACKAGE = "URISigningPackage"
TOKEN_BYTES_MAX = 4096  # it travels in a path; ours have ~400 bytes
PATTERN_CHARS_MAX = 2048
CLOCK_SKEW_S = 5  # between steering and a box: NTP keeps well within it

_IN_PATH = re.compile(r";URISigningPackage=([^;/?#]*)")
_UNSUPPORTED = ("cdniip", "cdniets", "cdnistt", "cdnistd")
_KNOWN = {"cdniv", "cdnicrit", "cdniuc", "iss", "sub", "aud", "exp", "nbf", "iat", "jti"}


class Refusal(StrEnum):
    """Why a token was refused; for logs and metrics, never for the body of an answer."""

    MISSING = "token_missing"
    MALFORMED = "token_malformed"
    UNKNOWN_KEY = "token_unknown_key"
    BAD_SIGNATURE = "token_bad_signature"
    EXPIRED = "token_expired"
    NOT_YET = "token_not_yet_valid"
    UNSUPPORTED = "token_unsupported_claim"
    FOREIGN_URI = "token_foreign_uri"


class TokenError(ForbiddenError):
    """A token does not open this door; `reason` says why."""

    def __init__(self, reason: Refusal) -> None:
        """`reason` is also the text."""
        self.reason = reason
        super().__init__(reason.value)


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The claims (RFC 9246 §2.1); times in Unix seconds. `home` is ours: the client's
    home site. `sub` is empty for players; a service that fetches for itself names itself there, and
    what it gets is nobody's demand."""

    exp: float
    cdniuc: str
    cdniv: Literal[1] = 1
    iss: str = ""
    sub: str = ""
    iat: float = 0
    nbf: float = 0
    jti: str = ""
    home: HomeId = ""


def scope_of(assets: Iterable[int]) -> str:
    """The `cdniuc` that covers every file of these assets, on any host; anchored on both sides.

    A query is allowed, as it names no other file: players send CMCD (CTA-5004) and `_HLS_` there.
    """
    ids = "|".join(str(asset) for asset in sorted(assets))
    return f"regex:^https?://[^/]+/a/({ids})/[^?#]*([?][^#]*)?$"


def mint(token: Token, key: SigningKey) -> str:
    """The signed JWT of these claims."""
    header = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
    return jws.serialize_compact(header, encode(token), key.key, algorithms=[key.alg])


def verify(text: str, keys: Mapping[str, VerifyKey], now_s: float) -> Token:
    """The claims of a token whose signature and times hold; raises TokenError with the reason."""
    if len(text) > TOKEN_BYTES_MAX:
        raise TokenError(Refusal.MALFORMED)
    payload = _signed_payload(text, keys)
    try:
        claims = json.loads(payload)
        token = msgspec.json.decode(payload, type=Token)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise TokenError(Refusal.MALFORMED) from exc
    critical = claims.get("cdnicrit", "")
    if (
        any(name in claims for name in _UNSUPPORTED)
        or not set(str(critical).split(",") if critical else ()) <= _KNOWN
    ):
        raise TokenError(Refusal.UNSUPPORTED)
    if token.exp <= now_s:
        raise TokenError(Refusal.EXPIRED)
    if token.nbf > now_s + CLOCK_SKEW_S:
        raise TokenError(Refusal.NOT_YET)
    usable = token.cdniuc.startswith("hash:sha-256;") or matcher(token.cdniuc) is not None
    if len(token.cdniuc) > PATTERN_CHARS_MAX or not usable:
        raise TokenError(Refusal.MALFORMED)
    return token


def allows_uri(token: Token, uri: str) -> bool:
    """Whether the token covers this URI (with the token taken out of it), RFC 9246 §2.1.13."""
    match = matcher(token.cdniuc)
    if match is not None:
        return match.fullmatch(uri) is not None
    digest = b64url(hashlib.sha256(uri.encode()).digest())
    return token.cdniuc == f"hash:sha-256;{digest}"


def split_path(path: str) -> tuple[str, str | None]:
    """The path without its URI Signing Package, and the package (None where there is none)."""
    found = _IN_PATH.search(path)
    if found is None:
        return path, None
    return path[: found.start()] + path[found.end() :], found.group(1)


def signed_folder(base_url: str, asset: int, package: str) -> str:
    """The URL of an asset's folder on one host, token included; ends with a slash."""
    return f"{base_url}/a/{asset};{PACKAGE}={package}/"


@lru_cache(maxsize=4096)
def matcher(cdniuc: str) -> re.Pattern[str] | None:
    """The compiled pattern of a `regex:` container; None for `hash:` and for what is neither.

    Matched as a whole: an unanchored pattern would authorise too much.
    """
    if not cdniuc.startswith("regex:"):
        return None
    try:
        return re.compile(cdniuc.removeprefix("regex:"))
    except (re.error, OverflowError, RecursionError):
        return None


def _signed_payload(text: str, keys: Mapping[str, VerifyKey]) -> bytes:
    try:
        header = jws.extract_compact(text.encode()).headers()
        key = keys.get(str(header.get("kid", "")))
    except (JoseError, ValueError, TypeError, KeyError) as exc:
        raise TokenError(Refusal.MALFORMED) from exc
    if key is None:
        raise TokenError(Refusal.UNKNOWN_KEY)
    try:
        return jws.deserialize_compact(text, key.key, algorithms=[key.alg]).payload
    except (JoseError, ValueError, TypeError, KeyError) as exc:
        raise TokenError(Refusal.BAD_SIGNATURE) from exc
