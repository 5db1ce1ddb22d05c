"""Documents signed as their exact bytes: JWS compact serialization (RFC 7515), EdDSA or ES256."""

from __future__ import annotations

from collections.abc import Mapping

from joserfc import jws
from joserfc.errors import JoseError

from wire.errors import AuthError
from wire.keys import SigningKey, VerifyKey

JOSE_TYPE = "application/jose"


def sign(payload: bytes, key: SigningKey, typ: str) -> bytes:
    """The signed form of `payload`; `typ` says what kind of document it is ("plan", "purge")."""
    header = {"alg": key.alg, "kid": key.kid, "typ": typ}
    return jws.serialize_compact(header, payload, key.key, algorithms=[key.alg]).encode()


def open_signed(raw: bytes, keys: Mapping[str, VerifyKey], typ: str) -> bytes:
    """The payload of a signed document of kind `typ`; raises AuthError when it cannot be trusted.

    The key is chosen by `kid` and serves its own algorithm only (RFC 8725 §3.1).
    """
    try:
        header = jws.extract_compact(raw).headers()
        key = keys.get(str(header.get("kid")))
        if key is None:
            raise AuthError(f"signed {typ}: nobody here knows the key {header.get('kid')!r}")
        if header.get("typ") != typ:
            raise AuthError(f"signed {typ}: this is a {header.get('typ')!r}")
        return jws.deserialize_compact(raw, key.key, algorithms=[key.alg]).payload
    except (JoseError, ValueError, TypeError, KeyError) as exc:
        raise AuthError(f"signed {typ}: the signature does not hold") from exc
