"""Upstreams that cut, lie, stall or vanish: never a wrong byte, and what is broken is not kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oca.through.chunks import CHUNK_BYTES
from tests.oca.running import Oca
from tests.oca.through.upstreams import Asked, Thing, Upstream, body_of, raw

Proxy = Callable[..., Oca]
FRESH = {"Cache-Control": "max-age=60"}


def test_a_cut_is_mended_without_the_client_noticing(proxy: Proxy, upstream: Upstream) -> None:
    """Reset in the middle: the rest is asked for from there, of the same version."""
    body = body_of("cut", 5_000_000)
    upstream.things["/c"] = Thing(body, FRESH, cut_at=[1_700_000, 900_000])
    oca = proxy()
    assert oca.get("/c").body == body
    starts = [a.range[0] for a in upstream.asked if a.range]
    assert 0 < starts[0] <= 1_700_000 < starts[1] <= 2_600_000
    assert upstream.asked[1].headers["if-range"] == '"v1"'
    assert oca.get("/c").body == body


def test_a_cut_of_what_has_no_validator_is_a_cut(proxy: Proxy, upstream: Upstream) -> None:
    """Nothing says that the rest is of the same version: the client sees the cut, not other bytes,
    and the next one gets all of it."""
    body = body_of("none", 5_000_000)
    upstream.things["/c"] = Thing(body, FRESH, etag="", modified="", cut_at=[1_700_000])
    oca = proxy()
    with pytest.raises((EOFError, ConnectionError)):
        oca.get("/c")
    assert oca.get("/c").body == body


def test_it_changed_while_it_was_cut(proxy: Proxy, upstream: Upstream) -> None:
    """The rest is of another version: cut, and the next answer is the new one, whole."""
    old, new = body_of("old", 5_000_000), body_of("new", 5_000_000)
    thing = Thing(old, FRESH, cut_at=[1_700_000])
    later = Thing(new, FRESH, etag='"v2"')

    def swap(asked: Asked) -> None:
        upstream.things["/c"] = later
        thing(asked)

    upstream.things["/c"] = swap
    oca = proxy()
    with pytest.raises((EOFError, ConnectionError)):
        oca.get("/c")
    assert oca.get("/c").body == new


@pytest.mark.parametrize(
    "head",
    [
        "206 Partial Content\r\nContent-Range: bytes 5-1048580/5000000\r\nContent-Length: 1048576",
        "206 Partial Content\r\nContent-Range: bytes 1048576-2097151/*\r\nContent-Length: 9",
        "206 Partial Content\r\nContent-Range: rows 1-2/3\r\nContent-Length: 9",
        "206 Partial Content\r\nContent-Length: 9",
        "304 Not Modified",
        "200 OK\r\nContent-Length: 9\r\nContent-Length: 10",
    ],
)
def test_answers_that_make_no_sense_are_502_or_passed_by_nobody(
    proxy: Proxy, upstream: Upstream, head: str
) -> None:
    """A Content-Range other than asked, a 304 to nothing, two lengths: never wrong bytes."""
    wrong = f'HTTP/1.1 {head}\r\nETag: "v1"\r\nCache-Control: max-age=9\r\n\r\n'.encode()
    upstream.things["/lie"] = raw(wrong, b"wrongbytes" * 200_000, then="reset")
    oca = proxy()
    body = body_of("true", 5_000_000)
    try:
        answer = oca.get("/lie", "Range: bytes=1048576-1048600")
    except (EOFError, ConnectionError):
        pass
    else:
        assert answer.status == 502 or "1048576-2097151/*" in head
    upstream.things["/lie"] = Thing(body, FRESH)
    time.sleep(1.1)
    if "*" not in head:
        assert oca.get("/lie", "Range: bytes=1048576-1048600").body == body[1_048_576:1_048_601]


def test_a_changed_length_under_the_same_tag(proxy: Proxy, upstream: Upstream) -> None:
    """A tag that lies about the length does not join what does not fit."""
    first, second = body_of("1", 3_000_000), body_of("2", 3_500_000)
    upstream.things["/t"] = Thing(first, FRESH)
    oca = proxy()
    assert oca.get("/t", "Range: bytes=0-9").body == first[:10]
    upstream.things["/t"] = Thing(second, FRESH)
    assert oca.get("/t", "Range: bytes=2500000-2500009").body == second[2_500_000:2_500_010]
    assert oca.get("/t").body == second


def test_nothing_comes_before_an_error(proxy: Proxy, upstream: Upstream) -> None:
    """An answer that has not begun is a problem document: 502 for a cut, 504 for silence."""
    upstream.things["/cut"] = Thing(
        body_of("x", 100_000), FRESH, etag="", modified="", cut_at=[0] * 9
    )
    upstream.things["/closed"] = raw(then="reset")
    oca = proxy()
    for path in ("/cut", "/closed"):
        answer = oca.get(path)
        assert answer.status == 502
        assert answer.fields["content-type"] == "application/problem+json"


def test_an_upstream_that_is_away_and_comes_back(proxy: Proxy, upstream: Upstream) -> None:
    """502 or 503 at once while it is away (the breaker); well soon after it is."""
    upstream.things["/a"] = Thing(b"a" * 1000, FRESH)
    oca = proxy()
    upstream.close()
    for i in range(12):
        began_s = time.monotonic()
        assert oca.get(f"/{i}").status in (502, 503)
        assert time.monotonic() - began_s < 10
    back = Upstream(port=upstream.port)
    back.things["/a"] = Thing(b"a" * 1000, FRESH)
    deadline_s = time.monotonic() + 15
    while oca.get("/a").status != 200:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    back.close()


def test_a_stalled_upstream_holds_up_nobody_else(proxy: Proxy, upstream: Upstream) -> None:
    """Others are served meanwhile."""
    over = threading.Event()

    def stalled(_: Asked) -> None:
        over.wait(60)
        raise EOFError

    upstream.things["/stall"] = stalled
    upstream.things["/ok"] = Thing(b"ok", FRESH)
    oca = proxy()
    with oca.connect() as sock:
        sock.sendall(b"GET /stall HTTP/1.1\r\nHost: t\r\n\r\n")
        assert oca.get("/ok").body == b"ok"
        over.set()


def test_more_bytes_than_announced_go_nowhere(proxy: Proxy, upstream: Upstream) -> None:
    """What comes after the length is not part of anything."""
    body = body_of("more", 1000)
    upstream.things["/more"] = raw(
        b'HTTP/1.1 200 OK\r\nETag: "a"\r\nCache-Control: max-age=60\r\n'
        b"Content-Length: 1000\r\n\r\n" + body + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"
    )
    upstream.things["/other"] = Thing(b"other", FRESH)
    oca = proxy()
    assert oca.get("/more").body == body
    assert oca.get("/other").body == b"other"


def test_a_removed_chunk_is_fetched_again(proxy: Proxy, upstream: Upstream, tmp_path: Path) -> None:
    """Somebody deletes files of the cache: right bytes all the same."""
    body = body_of("removed", 3 * CHUNK_BYTES)
    upstream.things["/r"] = Thing(body, FRESH)
    oca = proxy()
    assert oca.get("/r").body == body
    time.sleep(0.3)
    oca.process.terminate()
    oca.process.wait(10)
    second = proxy()
    for path in (tmp_path / "store/through/c").glob("*/*.1"):
        path.unlink()
    assert second.get("/r").body == body
