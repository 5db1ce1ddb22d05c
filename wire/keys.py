"""Keys as people handle them: private ones in PEM files, public ones as `alg:base64url`."""

from __future__ import annotations

import base64
import binascii
import warnings
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey

from wire.errors import WireError

# RFC 9864 renames EdDSA over Ed25519 to "Ed25519"; RFC 9246's implementations know "EdDSA" only.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)

Key = OKPKey | ECKey | OctKey

# RFC 7518 §3.2: an HS256 secret is at least as long as the hash.
HS256_SECRET_BYTES_MIN = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that may sign (or, for HS256, also verify): its JOSE algorithm, key and `kid`."""

    alg: str
    key: Key
    kid: str


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A key that may only verify: its JOSE algorithm and key. One key serves one algorithm."""

    alg: str
    key: Key


def b64url(raw: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64url(text: str, what: str) -> bytes:
    """The bytes of a base64url text; raises WireError when it is not one."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise WireError(what, "", "this is not base64url") from exc


def parse_verify_key(text: str, what: str) -> VerifyKey:
    """Read `ed25519:…`, `es256:…` (uncompressed point) or `hs256:…`; raises WireError."""
    alg, _, body = text.partition(":")
    try:
        raw = unb64url(body, what)
    except WireError as exc:
        detail = "what follows the colon is not base64url: write what `keygen` printed"
        raise WireError(what, "", detail) from exc
    try:
        if alg == "ed25519":
            return VerifyKey("EdDSA", _okp(ed25519.Ed25519PublicKey.from_public_bytes(raw)))
        if alg == "es256":
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
            return VerifyKey("ES256", _ec(point))
    except ValueError as exc:
        raise WireError(what, "", f"this is not a public key: {exc}") from exc
    if alg == "hs256" and len(raw) >= HS256_SECRET_BYTES_MIN:
        return VerifyKey("HS256", OctKey.import_key(raw))
    if alg == "hs256":
        raise WireError(what, "", f"an hs256 secret has at least {HS256_SECRET_BYTES_MIN} bytes")
    hint = "write ed25519:…, es256:… or hs256:…"
    raise WireError(what, "", f"unknown kind of key {alg[:20]!r}", hint=hint)


def parse_private_key(pem: bytes, kid: str, what: str) -> SigningKey:
    """Read a PEM (PKCS 8) private key, Ed25519 or P-256; raises WireError, never shows the key."""
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise WireError(what, "", "this is not an unencrypted PEM private key") from exc
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return SigningKey("EdDSA", _okp(private), kid)
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name == "secp256r1":
        return SigningKey("ES256", _ec(private), kid)
    raise WireError(what, "", "only Ed25519 and P-256 keys are used here", hint="oca keygen FILE")


def public_text(key: SigningKey) -> str:
    """The text of a signing key's public half, as the fleet file and configurations carry it."""
    public: Any = key.key.public_key
    if isinstance(public, ed25519.Ed25519PublicKey):
        return "ed25519:" + b64url(public.public_bytes_raw())
    point = public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return "es256:" + b64url(point)


def derived_secret(key: SigningKey, purpose: bytes, length_bytes: int = 32) -> bytes:
    """A secret of its own for one purpose, the same wherever the same key is (HKDF, RFC 5869)."""
    private: Any = key.key.private_key
    number = (
        private.private_bytes_raw()
        if isinstance(private, ed25519.Ed25519PrivateKey)
        else private.private_numbers().private_value.to_bytes(32, "big")
    )
    return HKDF(hashes.SHA256(), length_bytes, salt=None, info=purpose).derive(number)


def new_private_pem(alg: str = "ed25519") -> bytes:
    """A fresh private key in PEM: `ed25519` (services, plans) or `es256` (tokens); raises WireError
    for any other kind."""
    private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if alg == "ed25519":
        private = ed25519.Ed25519PrivateKey.generate()
    elif alg == "es256":
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        raise WireError("key", "alg", f"unknown kind of key {alg!r}", hint="ed25519 or es256")
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


# Made from the key itself: by way of PEM a fleet of 10,000 boxes takes a second to read.
def _okp(key: ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey) -> OKPKey:
    return OKPKey(key, key)


def _ec(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> ECKey:
    return ECKey(key, key)
