"""JWS compact (RFC 7515) straight on the primitives: what is signed or checked thousands of times.

joserfc makes and reads the same texts, and tests hold one against the other; it takes 70–200 µs for
what the curve does in 20–90. Only our three algorithms (EdDSA, ES256, HS256), no `crit`, no `b64`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from wire.errors import WireError
from wire.keys import SigningKey, VerifyKey, b64url, unb64url

_ES256 = ec.ECDSA(hashes.SHA256())
_COORDINATE_BYTES = 32  # RFC 7518 §3.4: R and S of P-256, big-endian, one after the other
HEADER_CHARS_MAX = 512  # ours have ~80; longer ones are read, but not remembered


class JwsError(ValueError):
    """A text is no JWS of a key that we know."""


class UnknownKeyError(JwsError):
    """Nobody here knows the key that a text names."""


class _Header(msgspec.Struct, frozen=True):
    """The members that matter. An extension that must be understood, or a payload that is not
    encoded (RFC 7797), is refused: both would change what was signed."""

    alg: str
    kid: str = ""
    crit: Any = None
    b64: Any = None


def sign(payload: bytes, key: SigningKey) -> str:
    """The JWS of a payload; `typ` is JWT."""
    signed = _header_of(key.alg, key.kid) + b64url(payload)
    return f"{signed}.{b64url(_signature(signed.encode(), key))}"


def proven(text: str, keys: Mapping[str, VerifyKey]) -> tuple[str, bytes]:
    """(kid, payload) of a JWS that the key it names signed, by that key's own algorithm (RFC 8725
    §3.1); raises JwsError, and UnknownKeyError where there is no such key."""
    signed, dot, signature = text.rpartition(".")
    header, second, payload = signed.partition(".")
    if not dot or not second or "." in payload:
        raise JwsError("not three parts")
    read = _header if len(header) <= HEADER_CHARS_MAX else _header.__wrapped__
    said = read(header)
    key = keys.get(said.kid)
    if key is None:
        raise UnknownKeyError(said.kid)
    if said.alg != key.alg:
        raise JwsError("another algorithm than the key's")
    try:
        raw = unb64url(signature, "signature")
        if b64url(raw) != signature:  # one text for one signature (RFC 4648 §3.5)
            raise JwsError("the signature has another text")
        _check(signed.encode("ascii"), raw, key)
        return said.kid, unb64url(payload, "payload")
    except (InvalidSignature, WireError, ValueError) as exc:
        raise JwsError("the signature does not hold") from exc


@lru_cache(maxsize=64)
def _header_of(alg: str, kid: str) -> str:
    return b64url(msgspec.json.encode({"alg": alg, "kid": kid, "typ": "JWT"})) + "."


@lru_cache(maxsize=16_384)
def _header(text: str) -> _Header:
    try:
        said = msgspec.json.decode(unb64url(text, "header"), type=_Header)
    except (WireError, msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise JwsError("the header cannot be read") from exc
    if said.crit is not None or said.b64 is not None:
        raise JwsError("the header asks for an extension")
    return said


def _signature(signed: bytes, key: SigningKey) -> bytes:
    primitive = _private(key.key)
    if isinstance(primitive, ed25519.Ed25519PrivateKey):
        return primitive.sign(signed)
    if isinstance(primitive, bytes):
        return hmac.digest(primitive, signed, hashlib.sha256)
    r, s = decode_dss_signature(primitive.sign(signed, _ES256))
    return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)


def _check(signed: bytes, signature: bytes, key: VerifyKey) -> None:
    """Raise InvalidSignature or ValueError when it does not hold."""
    primitive = _public(key.key)
    if isinstance(primitive, ed25519.Ed25519PublicKey):
        primitive.verify(signature, signed)
    elif isinstance(primitive, bytes):
        if not hmac.compare_digest(hmac.digest(primitive, signed, hashlib.sha256), signature):
            raise InvalidSignature
    else:
        if len(signature) != 2 * _COORDINATE_BYTES:
            raise ValueError("not two coordinates")
        r = int.from_bytes(signature[:_COORDINATE_BYTES])
        s = int.from_bytes(signature[_COORDINATE_BYTES:])
        primitive.verify(encode_dss_signature(r, s), signed, _ES256)


def _private(key: Any) -> ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | bytes:
    return key.raw_value if key.key_type == "oct" else key.private_key  # type: ignore[no-any-return]


def _public(key: Any) -> ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | bytes:
    return key.raw_value if key.key_type == "oct" else key.public_key  # type: ignore[no-any-return]
