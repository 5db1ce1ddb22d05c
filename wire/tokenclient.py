"""Whom a token is for: `cdniip` (RFC 9246 §2.1.10), the address or prefix of a client.

Pure. As a rule the claim is a JWE in compact form, for an address is about a person; a signer who
does not mind may write it plainly. A key opens one algorithm only; nothing is ever decompressed.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from wire.errors import WireError
from wire.keys import unb64url

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_CONTENT = ("A128GCM", "A256GCM", "A128CBC-HS256", "A256CBC-HS512")
_KINDS = {
    "a128gcm": ("dir", ("A128GCM",), 16),
    "a256gcm": ("dir", ("A256GCM",), 32),
    "a128cbc-hs256": ("dir", ("A128CBC-HS256",), 32),
    "a256cbc-hs512": ("dir", ("A256CBC-HS512",), 64),
    "a128kw": ("A128KW", _CONTENT, 16),
    "a256kw": ("A256KW", _CONTENT, 32),
}
"""Kind of key → its `alg`, the `enc` it may be used with, its length in bytes (RFC 7518 §4–5)."""


class ClientError(ValueError):
    """The claim names no network that we can read."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A shared key that opens `cdniip`: the one `alg` it serves, and content encryptions."""

    alg: str
    content: tuple[str, ...]
    key: OctKey


def parse_client_key(text: str, what: str) -> ClientKey:
    """Read `a128gcm:…`, `a256kw:…`, … (base64url); raises WireError, never shows the key."""
    kind, _, body = text.partition(":")
    if kind not in _KINDS:
        hint = "write one of " + ", ".join(f"{name}:…" for name in _KINDS)
        raise WireError(what, "", f"unknown kind of key {kind[:20]!r}", hint=hint)
    alg, content, size_bytes = _KINDS[kind]
    raw = unb64url(body, what)
    if len(raw) != size_bytes:
        raise WireError(what, "", f"an {kind} key has {size_bytes} bytes, this one {len(raw)}")
    return ClientKey(alg, content, OctKey.import_key(raw))


def network_of(claim: str, keys: Mapping[str, ClientKey]) -> Network:
    """The network that a `cdniip` claim names, plain or encrypted; raises ClientError."""
    text = _opened(claim, keys) if claim.count(".") == 4 else claim
    try:
        # RFC 9246 prints [2001:db8::1/32] and encrypts the brackets as well (appendix A.2)
        return ipaddress.ip_network(text.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError as exc:
        raise ClientError("no address or prefix") from exc


def sealed(text: str, key: ClientKey, kid: str) -> str:
    """The JWE of an address or prefix, for the signer of a token."""
    header = {"alg": key.alg, "enc": key.content[0], "kid": kid}
    return jwe.encrypt_compact(header, text, key.key, algorithms=[key.alg, *key.content])


def _opened(claim: str, keys: Mapping[str, ClientKey]) -> str:
    try:
        header = json.loads(unb64url(claim.partition(".")[0], "cdniip"))
        key = keys.get(str(header.get("kid", "")))
        if key is None or "zip" in header:
            raise ClientError("no key for it")
        opened = jwe.decrypt_compact(claim, key.key, algorithms=[key.alg, *key.content])
        return (opened.plaintext or b"").decode("ascii")
    except (JoseError, WireError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ClientError("cannot be opened") from exc
