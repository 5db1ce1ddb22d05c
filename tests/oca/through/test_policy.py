"""What an appliance does with what its plan does not cover: not found, a redirect, or a fetch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oca.config import read
from tests.oca.running import Oca, serving, wait_until
from tests.oca.test_appliance import SMALL, Box
from tests.oca.through.upstreams import Thing, Upstream, body_of
from wire.auth import authenticate
from wire.errors import WireError
from wire.keys import SigningKey, b64url, parse_private_key, parse_verify_key, public_text
from wire.token import Token, folder_scope, mint

INSIDE = "127.16.0.1"


@contextmanager
def appliance(tmp_path: Path, *through: str) -> Iterator[tuple[Box, Oca]]:
    """One with these lines in [through]."""
    box = Box(tmp_path)
    file = box.config()
    file.write_text(file.read_text() + "[through]\n" + "\n".join(through) + "\n")
    with serving(tmp_path, "--config", str(file)) as oca:
        yield box, oca


def test_by_default_it_is_not_found(tmp_path: Path) -> None:
    """404, as ever."""
    with appliance(tmp_path) as (box, oca):
        path = f"/a/77;URISigningPackage={box.token(77)}/seg-1.m4s"
        assert oca.get(path, source=INSIDE).status == 404


def test_a_redirect_keeps_path_token_and_query(tmp_path: Path) -> None:
    """307 to the base; what is stored is served here; who has no token gets neither. The box's name
    is added, and who comes back with it is not sent round again."""
    lines = ('policy = "redirect"', 'redirect_url = "http://origin.test:8080"')
    with appliance(tmp_path, *lines) as (box, oca):
        path = f"/a/77;URISigningPackage={box.token(77)}/seg-1.m4s?x=1"
        answer = oca.get(path, source=INSIDE)
        assert answer.status == 307
        assert answer.fields["location"] == f"http://origin.test:8080{path}&not=a1"
        assert oca.get(path + "&not=b2&not=a1", source=INSIDE).status == 404
        other = oca.get(path + "&not=a12", source=INSIDE)
        assert other.fields["location"].endswith("?x=1&not=a12&not=a1")
        assert answer.fields["cache-control"] == "no-store"
        held = f"/a/7;URISigningPackage={box.token(7)}/seg-1.m4s"
        assert oca.get(held, source=INSIDE).body == SMALL
        assert oca.get("/a/77/seg-1.m4s", source=INSIDE).status == 403


def test_a_fetch_is_signed_counted_and_kept(tmp_path: Path, upstream: Upstream) -> None:
    """The token stays here, the box signs for itself; the bytes are the viewer's home's demand."""
    body = body_of("seg", 2_500_000)
    upstream.things["/a/77/seg-1.m4s"] = Thing(body, {"Cache-Control": "max-age=600"})
    lines = ('policy = "fetch"', f'upstream = "{upstream.url}"', 'audience = "origin"')
    with appliance(tmp_path, *lines) as (box, oca):
        path = f"/a/77;URISigningPackage={box.token(77)}/seg-1.m4s"
        first, second = oca.get(path, source=INSIDE), oca.get(path, source=INSIDE)
        assert first.body == second.body == body
        assert first.fields["cache-status"].startswith("a1; fwd=uri-miss")
        assert second.fields["cache-status"].startswith("a1; hit")
        (asked,) = upstream.asked
        key = parse_private_key((tmp_path / "key.pem").read_bytes(), "a1", "key")
        keys = {"a1": parse_verify_key(public_text(key), "a1")}
        authenticate(asked.headers["authorization"], keys, "origin", time.time())
        wait_until(lambda: box.counted() == {(77, "isp-a"): 2 * len(body)}, "the count")
        assert oca.get("/a/77/seg-1.m4s", source=INSIDE).status == 403
        other = f"/a/7;URISigningPackage={box.token(7)}/no-such-file"
        assert oca.get(other, source=INSIDE).status == 404


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ('policy = "fetch"', "through.upstream"),
        ('policy = "redirect"', "through.redirect_url"),
        ('policy = "fetch"\nupstream = "ftp://x"', "through.upstream"),
        ('evict = "mru"', "through.evict"),
    ],
)
def test_settings_that_do_not_go_together_are_named(lines: str, field: str) -> None:
    """The operator is told file and field."""
    text = f'id = "a1"\nstore = "s"\nrun = "r"\n[through]\n{lines}\n'
    with pytest.raises(WireError, match=field):
        read(text.encode(), "box.toml")


def test_a_chain_of_tokens_goes_on_through_what_is_fetched(
    tmp_path: Path, upstream: Upstream
) -> None:
    """RFC 9246 §3: a miss, a hit, a part and a 404 bring the next token too, and no cache after us
    may share an answer that does, whatever the origin said."""
    upstream.things["/film/v1/s-1.m4s"] = Thing(
        body_of("seg", 3000), {"Cache-Control": "public, max-age=600, s-maxage=9", "X-Of": "it"}
    )
    secret = "hs256:" + b64url(b"s" * 32)
    file = tmp_path / "box.toml"
    file.write_text(
        'id = "a1"\nstore = "store"\nrun = "run"\nlisten = "127.0.0.1:0"\nworkers = 1\n'
        f'clients = "any"\ntoken_keys = {{ k1 = "{secret}" }}\n'
        f'[through]\npolicy = "fetch"\nupstream = "{upstream.url}"\n'
    )
    uri = "http://test/film/v1/s-1.m4s"
    now_s = time.time()
    claims = Token(exp=now_s + 60, cdniuc=folder_scope(uri), cdniets=30, cdnistt=1, cdnistd=2)
    token = mint(claims, SigningKey("HS256", parse_verify_key(secret, "k1").key, "k1"))
    path = f"/film/v1;URISigningPackage={token}/s-1.m4s"
    with serving(tmp_path, "--config", str(file)) as oca:
        answers = [oca.get(path), oca.get(path), oca.get(path, "Range: bytes=0-9")]
        cookie = answers[-1].fields["set-cookie"].partition("; ")[0]
        answers.append(oca.get("/film/v1/none", f"Cookie: {cookie}"))
    assert [answer.status for answer in answers] == [200, 200, 206, 404]
    for answer in answers:
        assert answer.fields["set-cookie"].endswith("; Path=/film/v1; Max-Age=30; HttpOnly")
        assert answer.fields["cache-control"].startswith("private")
        assert "public" not in answer.fields["cache-control"]
    assert answers[1].fields["cache-control"] == "private, max-age=600"
    assert answers[1].fields["x-of"] == "it"
    assert [asked.target for asked in upstream.asked] == ["/film/v1/s-1.m4s", "/film/v1/none"]
