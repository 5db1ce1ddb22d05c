"""Who is calling: a short-lived JWT signed by the appliance (Ed25519), bound to one body.

Heartbeats, inventories, plan polls, events and peer fill carry it as `Authorization: Bearer`.
An appliance speaks only for itself: `iss` is its id, and its public key is in the fleet file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from wire.errors import AuthError
from wire.jose import JwsError, UnknownKeyError, proven, sign
from wire.keys import SigningKey, VerifyKey, b64url

LIFE_S = 60  # long enough for a slow upload, short enough to be worthless when stolen
CLOCK_SKEW_S = 5
BEARER = "Bearer "


class WrongTimeError(AuthError):
    """`appliance` signed this, for another time: a clock is wrong, or somebody repeats it."""

    def __init__(self, appliance: str, ahead_s: float) -> None:
        """`ahead_s`: how far from now it was signed, in the future when positive."""
        self.appliance = appliance
        super().__init__(
            f"the signature is not valid at this time ({ahead_s:+.0f} s): compare the clocks (NTP)"
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """A proven caller: its appliance id, and until when the proof holds (Unix seconds)."""

    appliance: str
    exp_s: float


def bearer(key: SigningKey, audience: str, now_s: float, body: bytes = b"") -> str:
    """The value of the Authorization header for one request of `key.kid` (the appliance's id)."""
    claims = {
        "iss": key.kid,
        "aud": audience,
        "iat": int(now_s),
        "exp": int(now_s) + LIFE_S,
        "sha256": _digest(body),
    }
    return BEARER + sign(msgspec.json.encode(claims), key)


def authenticate(
    header: str, keys: Mapping[str, VerifyKey], audience: str, now_s: float, body: bytes = b""
) -> Caller:
    """Who sent this body to `audience`; raises AuthError with what did not hold."""
    caller, digest = _proven(header, keys, audience, now_s)
    if digest != _digest(body):
        raise AuthError("the body is not the one that was signed")
    return caller


def check_before_body(
    header: str, keys: Mapping[str, VerifyKey], audience: str, now_s: float
) -> Caller:
    """Who says so, before a large body is read for a stranger; raises AuthError as `authenticate`
    will."""
    return _proven(header, keys, audience, now_s)[0]


def _proven(
    header: str, keys: Mapping[str, VerifyKey], audience: str, now_s: float
) -> tuple[Caller, object]:
    """The caller of a signature that holds for `audience` now, and the digest it is bound to."""
    if not header.startswith(BEARER):
        raise AuthError("the request is not signed: Authorization: Bearer is missing")
    text = header.removeprefix(BEARER).strip()
    claims = _claims(text, keys)
    if claims.get("aud") != audience:
        raise AuthError(f"the signature is for {str(claims.get('aud'))[:64]!r}, not for {audience}")
    exp, iat = claims.get("exp"), claims.get("iat")
    if not isinstance(exp, int | float) or not isinstance(iat, int | float):
        raise AuthError("the signature carries no times")
    if not iat - CLOCK_SKEW_S <= now_s <= exp + CLOCK_SKEW_S:  # false for a NaN as well
        raise WrongTimeError(str(claims["iss"]), iat - now_s)
    if not exp - iat <= LIFE_S:
        raise AuthError(f"the signature lives longer than {LIFE_S} s")
    return Caller(str(claims["iss"]), float(exp)), claims.get("sha256")


def _claims(text: str, keys: Mapping[str, VerifyKey]) -> dict[str, object]:
    try:
        kid, payload = proven(text, keys)
        claims = msgspec.json.decode(payload)
    except UnknownKeyError as exc:
        raise AuthError(f"nobody here knows the key {str(exc)[:64]!r}") from exc
    except (JwsError, msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise AuthError("the signature does not hold") from exc
    if not isinstance(claims, dict) or claims.get("iss") != kid:
        raise AuthError("an appliance speaks only for itself")
    return claims


def _digest(body: bytes) -> str:
    return b64url(hashlib.sha256(body).digest())
