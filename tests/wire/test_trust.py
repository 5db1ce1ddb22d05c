"""Tokens, service signatures and signed documents open for the right key only."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from wire.auth import LIFE_S, authenticate, bearer
from wire.errors import AuthError, WireError
from wire.keys import (
    SigningKey,
    b64url,
    new_private_pem,
    parse_private_key,
    parse_verify_key,
    public_text,
)
from wire.signed import open_signed, sign
from wire.token import (
    TOKEN_BYTES_MAX,
    Refusal,
    Token,
    TokenError,
    allows_uri,
    mint,
    scope_of,
    signed_folder,
    split_path,
    verify,
)

NOW_S = 1_700_000_000.0


def key(alg: str = "ed25519", kid: str = "k1") -> SigningKey:
    return parse_private_key(new_private_pem(alg), kid, "key")


def a_token(**claims: object) -> Token:
    known = {"exp": NOW_S + 60, "cdniuc": scope_of([7, 8]), "home": "isp-a"}
    return Token(**{**known, **claims})


def refusal(text: str, signer: SigningKey) -> Refusal:
    keys = {signer.kid: parse_verify_key(public_text(signer), "key")}
    with pytest.raises(TokenError) as caught:
        verify(text, keys, NOW_S)
    return caught.value.reason


@pytest.mark.parametrize("alg", ["ed25519", "es256"])
def test_a_token_covers_its_assets_on_any_host_and_nothing_else(alg: str) -> None:
    """The scope is every file of the title's assets, anchored on both sides."""
    signer = key(alg)
    keys = {"k1": parse_verify_key(public_text(signer), "key")}
    token = verify(mint(a_token(), signer), keys, NOW_S)
    assert token.home == "isp-a"
    assert allows_uri(token, "http://127.11.0.1:18080/a/7/seg-1.m4s")
    assert allows_uri(token, "https://box.example/a/8/media.m3u8")
    assert allows_uri(token, "http://h/a/7/seg-1.m4s?CMCD=br%3D3200%2Cot%3Dv")  # CTA-5004
    for uri in (
        "http://h/a/77/seg-1.m4s",
        "http://h/a/9/seg-1.m4s",
        "http://h/b/a/7/seg-1.m4s",
        "ftp://h/a/7/seg-1.m4s",
        "http://h/a/9/seg-1.m4s?x=/a/7/seg-1.m4s",
        "http://h/a/9?/a/7/seg-1.m4s",
        "http://h/a/7?/seg-1.m4s",
        "http://evil/?http://h/a/7/x",
    ):
        assert not allows_uri(token, uri), uri


def test_every_refusal_has_its_reason() -> None:
    """Wrong key, tampered claims, expiry, early use, unsupported claims, garbage."""
    signer, stranger = key(), key(kid="k2")
    good = mint(a_token(), signer)
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["exp"] += 1
    tampered = b64url(json.dumps(claims).encode())
    none_alg = b64url(b'{"alg":"none","kid":"k1"}')
    assert refusal(mint(a_token(), stranger), signer) is Refusal.UNKNOWN_KEY
    assert refusal(f"{head}.{tampered}.{signature}", signer) is Refusal.BAD_SIGNATURE
    assert refusal(f"{none_alg}.{body}.", signer) is Refusal.WRONG_ALGORITHM
    assert refusal(mint(a_token(exp=NOW_S), signer), signer) is Refusal.EXPIRED
    assert refusal(mint(a_token(nbf=NOW_S + 60), signer), signer) is Refusal.NOT_YET
    assert refusal(mint(a_token(cdniuc="regex:(("), signer), signer) is Refusal.PATTERN
    assert refusal(mint(a_token(cdniuc="anything"), signer), signer) is Refusal.PATTERN
    for garbage in ("", ".", "..", "a.b.c", "x" * 9000, "é.é.é", good.replace(".", "")):
        assert refusal(garbage, signer) is Refusal.MALFORMED
    for pattern in ("a{99999999999999}", "(" * 900 + ")" * 900):
        assert refusal(mint(a_token(cdniuc=f"regex:{pattern}"), signer), signer)


def test_the_package_travels_in_the_folder_part() -> None:
    """Relative URIs of a playlist inherit the token, and taking it out gives the plain path."""
    url = signed_folder("http://h:1", 7, "abc.d-e_f.g")
    assert url == "http://h:1/a/7;URISigningPackage=abc.d-e_f.g/"
    assert split_path("/a/7;URISigningPackage=abc.d-e_f.g/x") == ("/a/7/x", "abc.d-e_f.g")
    assert split_path("/a/7/x") == ("/a/7/x", None)


def test_a_service_signature_binds_caller_audience_time_and_body() -> None:
    """Change any of them and it does not hold."""
    signer = key(kid="oca-a1")
    keys = {"oca-a1": parse_verify_key(public_text(signer), "key")}
    header = bearer(signer, "fill", NOW_S, b"body")
    assert authenticate(header, keys, "fill", NOW_S, b"body").appliance == "oca-a1"
    for args in (
        (header, keys, "steering", NOW_S, b"body"),
        (header, keys, "fill", NOW_S + LIFE_S + 10, b"body"),
        (header, keys, "fill", NOW_S - 60, b"body"),
        (header, keys, "fill", NOW_S, b"other"),
        (header, {}, "fill", NOW_S, b"body"),
        ("", keys, "fill", NOW_S, b"body"),
        ("Bearer x.y.z", keys, "fill", NOW_S, b"body"),
    ):
        with pytest.raises(AuthError):
            authenticate(*args)


@pytest.mark.parametrize("times", ['"iat":%d,"exp":NaN', '"iat":NaN,"exp":1e15'])
def test_no_signature_holds_for_ever(times: str) -> None:
    """A time that is no number is not a time that never comes."""
    signer = key(kid="oca-a1")
    keys = {"oca-a1": parse_verify_key(public_text(signer), "key")}
    empty = b64url(hashlib.sha256(b"").digest())
    text = times.replace("%d", str(int(NOW_S)))
    claims = f'{{"iss":"oca-a1","aud":"fill","sha256":"{empty}",{text}}}'
    header = "Bearer " + sign(claims.encode(), signer, "JWT").decode()
    with pytest.raises(AuthError):
        authenticate(header, keys, "fill", NOW_S + 10**6)


@pytest.mark.parametrize("payload", [b"[" * 5000, b'{"z":' + b"[" * 2000 + b"]" * 2000 + b"}"])
def test_claims_nested_without_end_are_refused_like_any_garbage(payload: bytes) -> None:
    """Not a fault of ours (500): the sender is to blame."""
    signer = key(kid="k1")
    keys = {"k1": parse_verify_key(public_text(signer), "key")}
    text = sign(payload, signer, "JWT").decode()
    with pytest.raises(AuthError):
        authenticate(f"Bearer {text}", keys, "fill", NOW_S)
    if len(text) < TOKEN_BYTES_MAX:
        assert refusal(text, signer) is Refusal.MALFORMED


def test_an_appliance_speaks_only_for_itself() -> None:
    """A valid key of one box does not sign for another."""
    signer = key(kid="oca-a1")
    keys = {"oca-a1": parse_verify_key(public_text(signer), "key")}
    claims = {"iss": "oca-b1", "aud": "fill", "iat": NOW_S, "exp": NOW_S + 60, "sha256": ""}
    forged = "Bearer " + sign(json.dumps(claims).encode(), signer, "JWT").decode()
    with pytest.raises(AuthError, match="only for itself"):
        authenticate(forged, keys, "fill", NOW_S)


def test_a_signed_document_is_its_exact_bytes_and_its_kind() -> None:
    """One flipped character, another key or another kind of document, and it is refused."""
    signer = key()
    keys = {"k1": parse_verify_key(public_text(signer), "key")}
    raw = sign(b'{"a": 1}', signer, "plan")
    assert open_signed(raw, keys, "plan") == b'{"a": 1}'
    with pytest.raises(AuthError, match="this is a 'plan'"):
        open_signed(raw, keys, "purge")
    for at in (5, len(raw) // 2, len(raw) - 8):
        broken = raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :]
        with pytest.raises(AuthError):
            open_signed(broken, keys, "plan")
    with pytest.raises(AuthError):
        open_signed(raw, {"k1": parse_verify_key(public_text(key()), "key")}, "plan")


@pytest.mark.parametrize("text", ["", "rsa:AAAA", "ed25519:AAAA", "es256:!", "hs256:AAAA", "x"])
def test_a_bad_key_text_is_an_error_that_names_it(text: str) -> None:
    """The operator reads which key is wrong; the key itself is not shown."""
    with pytest.raises(WireError, match="fleet key"):
        parse_verify_key(text, "fleet key")
