"""RFC 9246, claim by claim, with the RFC's own examples and keys (appendix A)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe, jws
from joserfc.jwk import ECKey, OctKey

from wire.keys import (
    SigningKey,
    VerifyKey,
    b64url,
    new_private_pem,
    parse_private_key,
    parse_verify_key,
    public_text,
)
from wire.signed import sign
from wire.token import (
    Policy,
    Refusal,
    Token,
    TokenError,
    allows_uri,
    examine,
    mint,
    renewed,
    scope_of,
    verify,
)
from wire.tokenclient import ClientError, network_of, parse_client_key, sealed
from wire.tokenuri import cookie_path, from_cookie, normal_uri, split_path, split_query

NOW_S = 1_700_000_000.0
URI = "http://h/a/7/seg-1.m4s"
SIGNER = parse_private_key(new_private_pem("es256"), "k1", "key")
EDDSA = parse_private_key(new_private_pem(), "k2", "key")
SECRET = b"s" * 32
SHARED = SigningKey("HS256", OctKey.import_key(SECRET), "k3")
KEYS = {
    "k1": parse_verify_key(public_text(SIGNER), "key"),
    "k2": parse_verify_key(public_text(EDDSA), "key"),
    "k3": parse_verify_key("hs256:" + b64url(SECRET), "key"),
}
CLIENT_KEY = parse_client_key("a256kw:" + b64url(b"k" * 32), "key")

# --- appendix A ----------------------------------------------------------------------------------

RFC_KID = "P5UpOv0eMq1wcxLf7WxIg09JdSYGYFDOWkldueaImf0"
RFC_KEYS = {
    RFC_KID: VerifyKey(
        "ES256",
        ECKey.import_key(
            {
                "kty": "EC",
                "crv": "P-256",
                "x": "be807S4O7dzB6I4hTiCUvmxCI6FuxWba1xYBlLSSsZ8",
                "y": "rOGC4vI69g-WF9AGEVI37sNNwbjIzBxSjLvIL7f3RBA",
            }
        ),
    )
}
RFC_CLIENT_KEYS = {
    "f-WbjxBC3dPuI3d24kP2hfvos7Qz688UTi6aB0hN998": parse_client_key(
        "a128gcm:4uFxxV7fhNmrtiah2d1fFg", "key"
    )
}
RFC_HEAD = (
    "eyJhbGciOiJFUzI1NiIsImtpZCI6IlA1VXBPdjBlTXExd2N4TGY3V3hJZzA5SmRTWUdZRkRPV2tsZHVlYUltZjAifQ."
)
SIMPLE = RFC_HEAD + (
    "eyJleHAiOjE2NDY4NjczNjksImlzcyI6InVDRE4gSW5jIiwiY2RuaXVjIjoiaGFzaDpzaGEtMjU2OzJ0ZGVyZldQYTg2"
    "S3U3WW56VzUxWVVwN2RHVWpCU18zU1czRUx4NGhtV1kifQ.TaNlJM3D96i_9J9XvlICO6FUIDFTqt3E2YJkEUOLfcH0b8"
    "9wYRKTbJ9Yj6h_GRgSoZoQO0cps3yUPcWGK3smCw"
)
COMPLEX = RFC_HEAD + (
    "eyJhdWQiOiJkQ0ROIExMQyIsInN1YiI6ImV5SmxibU1pT2lKQk1USTRSME5OSWl3aVlXeG5Jam9pWkdseUlpd2lhMmxr"
    "SWpvaVppMVhZbXA0UWtNelpGQjFTVE5rTWpSclVESm9ablp2Y3pkUmVqWTRPRlZVYVRaaFFqQm9Uams1T0NKOS4uQ0xB"
    "dTgweGNsYzhCcC1VaS42UDFBM0Y2aXAyRHYuQ29oZHRMTHBnQm5UdlJKUUNGdXotZyIsImNkbmlpcCI6ImV5SmxibU1p"
    "T2lKQk1USTRSME5OSWl3aVlXeG5Jam9pWkdseUlpd2lhMmxrSWpvaVppMVhZbXA0UWtNelpGQjFTVE5rTWpSclVESm9a"
    "blp2Y3pkUmVqWTRPRlZVYVRaaFFqQm9Uams1T0NKOS4uYVVEREZFUUJJYzNuV2pPYi5iR1hXVEhQa250bVBDS24wcFBQ"
    "TkVRLml5VHR0bkZ5Yk8yWUJMcXdsX1lTakEiLCJjZG5pdiI6MSwiZXhwIjoxNjQ2ODY3MzY5LCJpYXQiOjE2NDY2OTQ1"
    "NjksImlzcyI6InVDRE4gSW5jIiwianRpIjoiNURBYWZMaFpBZmhzYmUiLCJuYmYiOjE2NDY3ODA5NjksImNkbml1YyI6"
    "InJlZ2V4Omh0dHA6Ly9jZG5pXFwuZXhhbXBsZS9mb28vYmFyL1swLTldezN9XFwucG5nIn0.IjmVX0uD5MYqArc-M08u"
    "EsEeoDQn8kuYXZ9HGHDmDDxsHikT0c8jcX8xYD0z3LzQclMG65i1kT2sRbZ7isUw8w"
)
RENEWAL = RFC_HEAD + (
    "eyJjZG5pZXRzIjozMCwiY2RuaXN0dCI6MSwiY2RuaXN0ZCI6MiwiZXhwIjoxNjQ2ODY3MzY5LCJjZG5pdWMiOiJyZWdl"
    "eDpodHRwOi8vY2RuaVxcLmV4YW1wbGUvZm9vL2Jhci9bMC05XXszfVxcLnRzIn0.tlPvoKw3BCClw4Lx9PQu7MK6b2IN"
    "55ZoCPSaxovGK0zS53Wpb1MbJBow7G8LiGR39h6-2Iq7PWUSr3MdTIzHYw"
)
RFC_EXP_S = 1_646_867_369


def test_the_simple_example_opens_its_one_uri() -> None:
    """A hash in the URL segment form of RFC 6920, signed with ES256."""
    token = verify(SIMPLE, RFC_KEYS, RFC_EXP_S - 1)
    assert allows_uri(token, "http://cdni.example/foo/bar")
    assert not allows_uri(token, "http://cdni.example/foo/ba")


def test_the_complex_example_says_who_where_and_when() -> None:
    """Audience, not-before, an escaped pattern and an encrypted client."""
    policy = Policy(names=frozenset({"dCDN LLC"}), client_keys=RFC_CLIENT_KEYS)
    proven = examine(COMPLEX, RFC_KEYS, RFC_EXP_S - 1, policy)
    assert proven.network == ipaddress.ip_network("2001:db8::/32")
    assert allows_uri(proven.token, "http://cdni.example/foo/bar/123.png")
    assert not allows_uri(proven.token, "http://cdni-example/foo/bar/123.png")
    assert not proven.token.is_service  # its encrypted subject is a person
    assert refusal(COMPLEX, RFC_KEYS, 1_646_780_968, policy) is Refusal.NOT_YET
    assert refusal(COMPLEX, RFC_KEYS, RFC_EXP_S, policy) is Refusal.EXPIRED
    assert refusal(COMPLEX, RFC_KEYS, RFC_EXP_S - 1, Policy()) is Refusal.AUDIENCE
    nobody = Policy(names=policy.names)
    assert refusal(COMPLEX, RFC_KEYS, RFC_EXP_S - 1, nobody) is Refusal.UNREADABLE_CLIENT


def test_the_renewal_example_is_refused_where_only_a_public_key_is() -> None:
    """A public key cannot sign the next token, so the chain would break: said at its first link."""
    assert refusal(RENEWAL, RFC_KEYS, RFC_EXP_S - 1) is Refusal.RENEWAL


# --- keys, algorithms, tampering -----------------------------------------------------------------


def refusal(
    text: str, keys: dict[str, VerifyKey] = KEYS, now_s: float = NOW_S, policy: Policy | None = None
) -> Refusal:
    with pytest.raises(TokenError) as caught:
        examine(text, keys, now_s, policy or Policy())
    return caught.value.reason


def signed(signer: SigningKey = SIGNER, **claims: object) -> str:
    known = {"exp": NOW_S + 60, "cdniuc": scope_of([7]), **claims}
    return sign(json.dumps(known).encode(), signer, "JWT").decode()


def test_only_a_critical_header_parameter_must_be_understood() -> None:
    """RFC 7515 §4, §4.1.11: others are ignored, and never used as a key."""
    for more, reason in (({"x": 1, "jku": "http://h/"}, None), ({"x": 1, "crit": ["x"]}, "crit")):
        head = b64url(json.dumps({"alg": "HS256", "kid": "k3", **more}).encode())
        signing = head + "." + GOOD["k3"].split(".")[1]
        text = f"{signing}.{b64url(hmac.digest(SECRET, signing.encode(), 'sha256'))}"
        if reason:
            assert refusal(text) is Refusal.UNSUPPORTED
        else:
            assert examine(text, KEYS, NOW_S).kid == "k3"


@pytest.mark.parametrize("signer", [SIGNER, EDDSA, SHARED], ids=["ES256", "EdDSA", "HS256"])
def test_each_algorithm_opens_and_keys_are_told_apart_by_kid(signer: SigningKey) -> None:
    """Three keys at once, as in a rotation; each verifies what it signed and nothing else."""
    text = signed(signer)
    assert examine(text, KEYS, NOW_S).kid == signer.kid
    others = {kid: key for kid, key in KEYS.items() if kid != signer.kid}
    assert refusal(text, others) is Refusal.UNKNOWN_KEY


def test_a_key_serves_its_own_algorithm_only() -> None:
    """No `none`, no HMAC keyed with a public key's text, no other algorithm (RFC 8725 §2.1)."""
    claims = json.dumps({"exp": NOW_S + 60, "cdniuc": scope_of([7])}).encode()
    none = b64url(b'{"alg":"none","kid":"k1"}') + "." + b64url(claims) + "."
    assert refusal(none) is Refusal.WRONG_ALGORITHM
    head = b64url(b'{"alg":"HS256","kid":"k1"}') + "." + b64url(claims)
    for public in (public_text(SIGNER).encode(), KEYS["k1"].key.as_pem(private=False)):
        mac = hmac.digest(public, head.encode(), "sha256")
        assert refusal(f"{head}.{b64url(mac)}") is Refusal.WRONG_ALGORITHM
    as_shared = SigningKey("ES256", SIGNER.key, "k3")
    assert refusal(sign(claims, as_shared, "JWT").decode()) is Refusal.WRONG_ALGORITHM
    header = {"alg": "HS512", "kid": "k3"}
    long = jws.serialize_compact(header, claims, OctKey.import_key(SECRET), algorithms=["HS512"])
    assert refusal(long) is Refusal.WRONG_ALGORITHM
    inside = {"alg": "ES256", "kid": "new", "jwk": EDDSA.key.as_dict(private=False)}
    brought = jws.serialize_compact(inside, claims, SIGNER.key, algorithms=["ES256"])
    assert refusal(brought) is Refusal.UNKNOWN_KEY


@pytest.mark.parametrize("signer", [SIGNER, EDDSA, SHARED], ids=["ES256", "EdDSA", "HS256"])
@given(data=st.data())
def test_no_changed_byte_passes(signer: SigningKey, data: st.DataObject) -> None:
    """Put, cut or changed anywhere, to anything: refused, always by a TokenError."""
    text = GOOD[signer.kid]
    at = data.draw(st.integers(0, len(text) - 1))
    how = data.draw(st.sampled_from(["change", "insert", "cut", "bit"]))
    character = data.draw(st.characters(codec="latin-1") | st.sampled_from("AQgw_-.=+/!"))
    if how == "bit":
        character = chr(ord(text[at]) ^ 1 << data.draw(st.integers(0, 6)))
    rest = text[at:] if how == "insert" else text[at + 1 :]
    other = text[:at] + ("" if how == "cut" else character) + rest
    if other != text:
        with pytest.raises(TokenError):
            examine(other, KEYS, NOW_S)


GOOD = {signer.kid: signed(signer, home="isp-a") for signer in (SIGNER, EDDSA, SHARED)}


@pytest.mark.parametrize("kid", GOOD)
def test_the_last_character_of_a_signature_has_one_spelling(kid: str) -> None:
    """Its spare bits are read by nobody, so any other last character would pass unseen."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = GOOD[kid]
    for last in alphabet.replace(text[-1], ""):
        assert refusal(text[:-1] + last) is Refusal.BAD_SIGNATURE
    assert refusal(text + "=") is Refusal.BAD_SIGNATURE


# --- claims --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"cdniv": 2}, Refusal.VERSION),
        ({"cdniv": "1"}, Refusal.MALFORMED),
        ({"cdnicrit": "shiny", "shiny": 1}, Refusal.UNSUPPORTED),
        ({"cdnicrit": "home,shiny"}, Refusal.UNSUPPORTED),
        ({"cdnicrit": ""}, Refusal.UNSUPPORTED),
        ({"cdnicrit": ["home"]}, Refusal.MALFORMED),
        ({"exp": NOW_S}, Refusal.EXPIRED),
        ({"exp": NOW_S - 0.001}, Refusal.EXPIRED),
        ({"exp": "later"}, Refusal.MALFORMED),
        ({"exp": float("nan")}, Refusal.MALFORMED),
        ({"exp": None}, Refusal.MALFORMED),
        ({"nbf": NOW_S + 0.001}, Refusal.NOT_YET),
        ({"aud": "other"}, Refusal.AUDIENCE),
        ({"aud": ["other", "another"]}, Refusal.AUDIENCE),
        ({"aud": []}, Refusal.AUDIENCE),
        ({"aud": 5}, Refusal.MALFORMED),
        ({"iss": "other"}, Refusal.ISSUER),
        ({"iss": ""}, Refusal.ISSUER),
        ({"cdniuc": "http://h/a/7/x"}, Refusal.PATTERN),
        ({"cdniuc": "regex:(("}, Refusal.PATTERN),
        ({"cdniuc": "hash:md5;AAAA"}, Refusal.PATTERN),
        ({"cdniuc": "hash:sha-256-32;f4OxZQ"}, Refusal.PATTERN),
        ({"cdniuc": None}, Refusal.MALFORMED),
        ({"cdniip": "not an address"}, Refusal.UNREADABLE_CLIENT),
        ({"cdniip": ""}, Refusal.UNREADABLE_CLIENT),
        ({"cdniip": "a.b.c.d.e"}, Refusal.UNREADABLE_CLIENT),
        ({"cdniip": 5}, Refusal.MALFORMED),
        ({"cdnistt": 1}, Refusal.MALFORMED),
        ({"cdnistt": 0}, Refusal.MALFORMED),
        ({"cdnistt": 1, "cdniets": "30"}, Refusal.MALFORMED),
        ({"cdnistt": 1, "cdniets": -1}, Refusal.MALFORMED),
        ({"cdnistt": 1, "cdniets": 1e300}, Refusal.MALFORMED),
        ({"cdnistt": 1, "cdniets": 30, "cdnistd": -1}, Refusal.MALFORMED),
        ({"cdnistt": 1, "cdniets": 30}, Refusal.RENEWAL),
        ({"cdnistt": 2, "cdniets": 30}, Refusal.RENEWAL),
    ],
)
def test_a_claim_that_does_not_hold_is_refused_with_its_reason(
    claims: dict[str, object], reason: Refusal
) -> None:
    """No leeway in times (§2.1.4–5), nothing unknown passed over, nothing half right."""
    policy = Policy(issuers={"k1": "shop"}, names=frozenset({"us"}))
    text = signed(**claims)
    assert refusal(text, policy=policy) is reason


@pytest.mark.parametrize(
    "claims",
    [
        {"cdniv": 1, "iss": "shop", "aud": "us", "jti": "x", "iat": NOW_S, "nbf": NOW_S},
        {"aud": ["them", "us"]},
        {"cdnicrit": "home", "home": "isp-a"},
        {"cdnistt": 0, "cdniets": 30},
        {"a_claim_of_the_future": 1},
        {"exp": NOW_S + 0.001},
    ],
)
def test_claims_that_hold_open(claims: dict[str, object]) -> None:
    """What is optional may be there; what is unknown and not critical is passed over."""
    policy = Policy(issuers={"k1": "shop"}, names=frozenset({"us"}))
    assert allows_uri(examine(signed(**claims), KEYS, NOW_S, policy).token, URI)


def test_an_issuer_signs_with_its_own_keys_only() -> None:
    """Where the operator said whose a key is (§2.1.1)."""
    policy = Policy(issuers={"k1": "shop", "k2": "other shop"})
    assert examine(signed(SIGNER, iss="shop"), KEYS, NOW_S, policy)
    assert refusal(signed(EDDSA, iss="shop"), policy=policy) is Refusal.ISSUER


@pytest.mark.parametrize("name", ["sha-256", "sha-256-128", "sha-384", "sha-512"])
def test_a_hash_opens_one_uri(name: str) -> None:
    """RFC 6920: the digest of the whole URI, cut to what the name says."""
    function, _, kept = name.removeprefix("sha-").partition("-")
    digest = hashlib.new("sha" + function, URI.encode()).digest()
    digest = digest[: int(kept or 8 * len(digest)) // 8]
    token = verify(signed(cdniuc=f"hash:{name};{b64url(digest)}"), KEYS, NOW_S)
    assert allows_uri(token, URI)
    assert not allows_uri(token, URI + "?")


# --- the client ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["192.0.2.7", "192.0.2.7/24", "2001:db8::1", "[2001:db8::1/32]"])
@pytest.mark.parametrize("kind", ["plain", "a128gcm", "a256gcm", "a128kw", "a256cbc-hs512"])
def test_a_client_is_named_plainly_or_sealed(text: str, kind: str) -> None:
    """An address or a prefix, of either family; only who has the key reads a sealed one."""
    sizes = {"a128gcm": 16, "a256gcm": 32, "a128kw": 16, "a256cbc-hs512": 64}
    network = ipaddress.ip_network(text.strip("[]"), strict=False)
    if kind == "plain":
        assert network_of(text, {}) == network
        return
    key = parse_client_key(f"{kind}:{b64url(b'k' * sizes[kind])}", "key")
    claim = sealed(text, key, "c1")
    assert text not in claim
    assert network_of(claim, {"c1": key}) == network
    for other in ({}, {"c2": key}, {"c1": CLIENT_KEY}):
        with pytest.raises(ClientError):
            network_of(claim, other)


def test_a_sealed_client_is_never_decompressed_nor_opened_by_another_algorithm() -> None:
    """A key has one `alg`; compression would let a few bytes become many."""
    raw = OctKey.import_key(b"k" * 32)
    for header in (
        {"alg": "A256KW", "enc": "A256GCM", "kid": "c1", "zip": "DEF"},
        {"alg": "dir", "enc": "A256GCM", "kid": "c1"},
        {"alg": "A256GCMKW", "enc": "A256GCM", "kid": "c1"},
    ):
        allowed = [header["alg"], header["enc"], "DEF"]
        claim = jwe.encrypt_compact(header, "192.0.2.7", raw, algorithms=allowed)
        with pytest.raises(ClientError):
            network_of(claim, {"c1": CLIENT_KEY})


# --- the chain of tokens -------------------------------------------------------------------------


def test_a_renewed_token_is_the_same_but_for_its_time() -> None:
    """`exp` is the time of the check plus `cdniets`, `iat` is now; all else stays as signed."""
    client = sealed("192.0.2.7", CLIENT_KEY, "c1")
    text = signed(
        SHARED, cdnistt=1, cdniets=30, cdnistd=1, iat=NOW_S - 9, cdniip=client, shiny=[1], jti="j"
    )
    policy = Policy(client_keys={"c1": CLIENT_KEY})
    first = examine(text, KEYS, NOW_S, policy)
    second = examine(renewed(first, KEYS["k3"], NOW_S), KEYS, NOW_S + 29, policy)
    assert second.claims == {**first.claims, "exp": NOW_S + 30, "iat": NOW_S}
    assert second.claims["cdniip"] == client
    third = examine(renewed(second, KEYS["k3"], NOW_S + 29), KEYS, NOW_S + 58, policy)
    assert third.token.exp == NOW_S + 59


@pytest.mark.parametrize(
    ("path", "depth", "cookie"),
    [
        ("/foo/bar/001.ts", 0, "/"),
        ("/foo/bar/001.ts", 2, "/foo/bar"),
        ("/foo/bar/001.ts", 3, "/foo/bar/001.ts"),
        ("/foo/bar/001.ts", 4, None),
        ("/foo;v=1/001.ts", 1, None),
    ],
)
def test_the_depth_says_where_a_cookie_is_sent(path: str, depth: int, cookie: str | None) -> None:
    """§2.1.14: so many segments; none for a path that has fewer."""
    assert cookie_path(path, depth) == cookie


# --- the URI -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "authority", "path", "query", "normal"),
    [
        ("http", "Example.COM:80", "/a", None, "http://example.com/a"),
        ("https", "h:443", "/a", "", "https://h/a?"),
        ("https", "h:80", "/a", "b", "https://h:80/a?b"),
        ("http", "h:", "", None, "http://h/"),
        (
            "http",
            "[::1]:8080",
            "/%7Efilm/%2f%c3",
            "a=%2d%2F",
            "http://[::1]:8080/~film/%2F%C3?a=-%2F",
        ),
    ],
)
def test_a_uri_is_compared_in_its_normal_form(
    scheme: str, authority: str, path: str, query: str | None, normal: str
) -> None:
    """Case of host and escapes, the default port, escapes that need not be (§2.1.15)."""
    assert normal_uri(scheme, authority, path, query) == normal


def test_the_package_is_taken_out_wherever_it_is() -> None:
    """Path-style or form-style (RFC 6570 §3.2.7–9), what is beside it stays."""
    assert split_path("/a/7;URISigningPackage=T;v=1/x") == ("/a/7;v=1/x", "T")
    assert split_path("/a/7;XURISigningPackage=T/x")[1] is None
    assert split_query("URISigningPackage=T") == (None, "T")
    assert split_query("come=data&URISigningPackage=T&other=data") == ("come=data&other=data", "T")
    assert split_query("x=URISigningPackage=T")[1] is None
    assert from_cookie("a=b; URISigningPackage=T; c") == "T"
    assert from_cookie("XURISigningPackage=T") is None


def test_claims_are_signed_as_they_are_written() -> None:
    """What `mint` leaves out is what has its default: today's tokens read as yesterday's."""
    body = mint(Token(exp=NOW_S, cdniuc="hash:x"), SIGNER).split(".")[1]
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    assert raw == b'{"exp":%.1f,"cdniuc":"hash:x"}' % NOW_S
