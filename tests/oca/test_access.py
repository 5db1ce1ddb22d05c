"""The gate: what it remembers, and what may never be answered from a line alone. Pure."""

from __future__ import annotations

import json

import pytest

from oca.access import Gate, Refused
from oca.http.head import read_fields, read_line
from oca.state import Peers
from wire.keys import (
    SigningKey,
    b64url,
    new_private_pem,
    parse_private_key,
    parse_verify_key,
    public_text,
)
from wire.signed import sign
from wire.token import Policy, Refusal, scope_of
from wire.tokenclient import parse_client_key, sealed

NOW_S = 1_700_000_000.0
SIGNER = parse_private_key(new_private_pem("es256"), "k1", "key")
SHARED = parse_verify_key("hs256:" + b64url(b"s" * 32), "key")
CLIENT_KEY = parse_client_key("a128kw:" + b64url(b"k" * 16), "key")
KEYS = {"k1": parse_verify_key(public_text(SIGNER), "key"), "k2": SHARED}
SECOND = SigningKey(SHARED.alg, SHARED.key, "k2")


def a_gate(remembered_max: int = 100, scheme: str = "http") -> Gate:
    seen.clear()
    return Gate(
        audience="a1",
        scheme=scheme,
        token_keys=KEYS,
        peers=Peers(),
        anybody=True,
        remembered_max=remembered_max,
        policy=Policy(client_keys={"c1": CLIENT_KEY}),
        on_proven=lambda proven: seen.append(proven.token.jti),
    )


seen: list[str] = []


def a_token(signer: SigningKey = SIGNER, **claims: object) -> str:
    known = {"exp": NOW_S + 60, "cdniuc": scope_of([7]), **claims}
    return sign(json.dumps(known).encode(), signer, "JWT").decode()


def admit(gate: Gate, token: str, client: str = "192.0.2.7", now_s: float = NOW_S):  # type: ignore[no-untyped-def]
    line = read_line(f"GET /a/7;URISigningPackage={token}/x HTTP/1.1".encode())
    return gate.admit(line, read_fields(b"Host: h\r\n"), True, now_s, client)


def refusal(gate: Gate, token: str, client: str = "192.0.2.7", now_s: float = NOW_S) -> str:
    with pytest.raises(Refused) as caught:
        admit(gate, token, client, now_s)
    return caught.value.reason


@pytest.mark.parametrize("text", ["192.0.2.0/24", sealed("192.0.2.0/24", CLIENT_KEY, "c1")])
def test_the_client_is_asked_for_with_every_request(text: str) -> None:
    """A token that was remembered for one client opens nothing for another, nor for an unknown
    one; and what it earned is never remembered by the line."""
    gate, token = a_gate(), a_token(cdniip=text)
    for _ in range(2):
        assert not admit(gate, token, "192.0.2.7").by_line
        assert not admit(gate, token, "::ffff:192.0.2.8").by_line
        for other in ("192.0.3.7", "2001:db8::1", "", "unix"):
            assert refusal(gate, token, other) == Refusal.FOREIGN_CLIENT
    assert admit(gate, a_token()).by_line


def test_a_link_of_a_chain_is_never_answered_from_its_line() -> None:
    """Each answer must bring the next token."""
    grant = admit(a_gate(), a_token(SECOND, cdnistt=1, cdniets=30))
    assert not grant.by_line
    assert grant.cookie.startswith(b"URISigningPackage=")


def test_over_tls_the_cookie_is_for_tls_and_other_sites_pages() -> None:
    """Players run in pages of other sites (RFC 6265bis: SameSite=None needs Secure)."""
    grant = admit(a_gate(scheme="https"), a_token(SECOND, cdnistt=1, cdniets=30, cdnistd=2))
    assert grant.cookie.endswith(b"; Path=/a/7; Max-Age=30; HttpOnly; Secure; SameSite=None")
    assert not admit(a_gate(), a_token(SECOND, cdnistt=1, cdniets=30, cdnistd=4)).cookie


def test_a_token_is_verified_once_and_refused_ones_push_nothing_out() -> None:
    """However many are invented; and what is remembered still expires."""
    gate, good = a_gate(remembered_max=2), a_token(jti="good")
    admit(gate, good)
    for i in range(20):
        assert refusal(gate, good[:-9] + "AAAAAAAA" + good[-1]) == Refusal.BAD_SIGNATURE
        assert refusal(gate, a_token(cdnicrit=f"x{i}")) == Refusal.UNSUPPORTED
        admit(gate, good)
    assert seen == ["good"]
    assert refusal(gate, good, now_s=NOW_S + 60) == Refusal.EXPIRED


def test_whose_demand_it_is() -> None:
    """A service that fetches for itself is nobody's; an encrypted subject is a person."""
    gate = a_gate()
    assert admit(gate, a_token(home="isp-a")).home == "isp-a"
    assert admit(gate, a_token(home="isp-a", sub="a.b.c.d.e")).home == "isp-a"
    assert admit(gate, a_token(sub="steering")).home is None
