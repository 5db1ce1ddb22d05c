"""Fresh, stale, confirmed, not shared: what clients of a real proxy see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oca.through.chunks import CHUNK_BYTES
from tests.oca.running import Oca, wait_until
from tests.oca.through.test_proxy import status_of
from tests.oca.through.upstreams import Asked, Thing, Upstream, body_of, raw

Proxy = Callable[..., Oca]


def test_stale_is_confirmed_by_304(oca: Oca, well: Upstream) -> None:
    """After max-age one conditional request; the bytes are not fetched again."""
    body = body_of("stale", 2_000_000)
    well.things["/s"] = Thing(body, {"Cache-Control": "max-age=1"})
    oca.get("/s")
    time.sleep(1.2)
    answer = oca.get("/s")
    assert answer.body == body
    assert status_of(answer).startswith("fwd=stale; fwd-status=304")
    assert [a.headers.get("if-none-match") for a in well.asked_for("/s")] == [None, '"v1"']
    assert status_of(oca.get("/s")).startswith("hit")


def test_no_cache_is_confirmed_every_time(oca: Oca, well: Upstream) -> None:
    """It may be stored, and is never used unasked."""
    well.things["/n"] = Thing(b"x" * 1000, {"Cache-Control": "no-cache"})
    for _ in range(3):
        assert oca.get("/n").body == b"x" * 1000
    asked = [a.headers.get("if-none-match") for a in well.asked_for("/n")]
    assert asked == [None, '"v1"', '"v1"']


def test_a_changed_object_replaces_the_old_one(oca: Oca, well: Upstream) -> None:
    """200 to the condition: the new version, whole; nothing of the old one is joined to it."""
    old, new = body_of("old", 3_000_000), body_of("new", 2_500_000)
    well.things["/c"] = Thing(old, {"Cache-Control": "max-age=1"})
    assert oca.get("/c").body == old
    well.things["/c"] = Thing(new, {"Cache-Control": "max-age=60"}, etag='"v2"')
    time.sleep(1.2)
    assert oca.get("/c").body == new
    assert oca.get("/c", "Range: bytes=1000000-1999999").body == new[1_000_000:2_000_000]


def test_a_change_under_our_hands_is_never_mixed(oca: Oca, well: Upstream) -> None:
    """It changed though it was fresh: a range that needs more of it is of the new one, whole."""
    old, new = body_of("o", 5_000_000), body_of("n", 5_000_000)
    well.things["/m"] = Thing(old, {"Cache-Control": "max-age=60"})
    assert oca.get("/m", "Range: bytes=0-99").body == old[:100]
    well.things["/m"] = Thing(new, {"Cache-Control": "max-age=60"}, etag='"v2"')
    assert oca.get("/m", "Range: bytes=4000000-4000099").body == new[4_000_000:4_000_100]
    assert oca.get("/m").body == new


@pytest.mark.parametrize(
    "headers",
    [
        {"Cache-Control": "no-store"},
        {"Cache-Control": "private, max-age=60"},
        {"Cache-Control": "max-age=60", "Vary": "Cookie"},
        {"Cache-Control": "max-age=60", "Set-Cookie": "a=b"},
    ],
)
def test_what_is_not_shared_is_passed_on(oca: Oca, well: Upstream, headers: dict[str, str]) -> None:
    """Right bytes for everybody, asked for each time, nothing kept."""
    body = body_of("alone", 6_000_000)
    path = well.put(Thing(body, headers))
    for _ in range(2):
        answer = oca.get(path)
        assert answer.body == body
        assert status_of(answer).startswith("fwd=bypass; fwd-status=200")
    part = oca.get(path, "Range: bytes=3000000-3000009")
    assert (part.status, part.body) == (206, body[3_000_000:3_000_010])
    assert part.fields["content-range"] == "bytes 3000000-3000009/6000000"
    assert len(well.asked_for(path)) == 3


def test_a_body_without_length_flows_through(oca: Oca, well: Upstream) -> None:
    """Chunked for HTTP/1.1, to the end of the connection for HTTP/1.0."""
    body = body_of("chunked", 2_345_678)
    well.things["/t"] = Thing(body, {"Cache-Control": "max-age=60"}, length=False)
    with oca.connect() as sock:
        sock.sendall(b"GET /t HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        head, _, rest = read_all(sock).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert dechunked(rest) == body
    with oca.connect() as sock:
        sock.sendall(b"GET /t HTTP/1.0\r\n\r\n")
        head, _, rest = read_all(sock).partition(b"\r\n\r\n")
    assert rest == body


def test_a_body_without_length_is_kept_when_it_has_come_whole(
    proxy: Proxy, upstream: Upstream, tmp_path: Path
) -> None:
    """The next one has its length and can be asked for in parts, also after a restart; one that is
    cut is not kept, one that must not be stored neither."""
    fresh = {"Cache-Control": "max-age=60"}
    sizes = {"/t": 2_345_678, "/even": 2 * CHUNK_BYTES, "/small": 10, "/cut": 1_500_000}
    for path, size in sizes.items():
        upstream.things[path] = Thing(body_of(path, size), dict(fresh), etag="", length=False)
    upstream.things["/private"] = Thing(b"x" * 99, {"Cache-Control": "private"}, length=False)
    upstream.things["/cut"].cut_at = [1_200_000]
    first = proxy()
    for path in (*sizes, "/private"):
        with first.connect() as sock:
            sock.sendall(b"GET %b HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n" % path.encode())
            read_all(sock)
    for path in ("/t", "/even", "/small"):
        assert_kept(first, path, sizes[path])
    first.process.terminate()
    first.process.wait(10)
    second = proxy()
    assert_kept(second, "/t", sizes["/t"])
    assert [len(upstream.asked_for(path)) for path in (*sizes, "/private")] == [1] * 5
    chunks = list((tmp_path / "store/through/c").glob("*/*.[0-9]*"))
    assert len(chunks) == 3 + 2 + 1


def assert_kept(oca: Oca, path: str, size: int) -> None:
    """Whole and in parts, from the disk."""
    body = body_of(path, size)
    whole, part = oca.get(path), oca.get(path, "Range: bytes=3-7")
    assert (whole.status, whole.body) == (200, body)
    assert (part.status, part.body) == (206, body[3:8])
    assert status_of(whole).startswith("hit")


def read_all(sock) -> bytes:  # type: ignore[no-untyped-def]
    """Until the end."""
    try:
        return sock.makefile("rb").read()
    except ConnectionResetError:  # what is cut upstream ends like that here
        return b""


def dechunked(raw_body: bytes) -> bytes:
    """A body without its chunked coding; fails when that is not ended."""
    found, at = [], 0
    while True:
        end = raw_body.index(b"\r\n", at)
        size = int(raw_body[at:end], 16)
        if not size:
            assert raw_body[end:] == b"\r\n\r\n"
            return b"".join(found)
        found.append(raw_body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


def test_stale_while_revalidate_answers_at_once(oca: Oca, well: Upstream) -> None:
    """The stale answer does not wait for a slow upstream; soon after it is fresh."""
    thing = Thing(b"v" * 5000, {"Cache-Control": "max-age=1, stale-while-revalidate=60"})
    well.things["/w"] = thing
    oca.get("/w")
    time.sleep(1.2)
    thing.headers, answered = {"Cache-Control": "max-age=60"}, threading.Event()

    def slow(asked: Asked) -> None:
        answered.wait(60)
        thing(asked)

    well.things["/w"] = slow
    answer = oca.get("/w")
    answered.set()
    assert status_of(answer).startswith("fwd=stale")
    assert answer.body == thing.body
    wait_until(lambda: len(well.asked_for("/w")) == 2, "the question behind it")
    wait_until(lambda: status_of(oca.get("/w")).startswith("hit"), "a fresh one")


@pytest.mark.parametrize("fault", ["5xx", "away"])
def test_stale_if_error(proxy: Proxy, upstream: Upstream, fault: str) -> None:
    """A failing upstream: what is stale is served where the origin allowed it."""
    body = body_of("sie", 2_000_000)
    upstream.things["/e"] = Thing(body, {"Cache-Control": "max-age=1, stale-if-error=60"})
    oca = proxy()
    assert oca.get("/e").body == body
    time.sleep(1.2)
    upstream.things["/e"] = raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    if fault == "away":
        upstream.close()
    answer = oca.get("/e")
    assert answer.body == body
    assert status_of(answer).startswith("fwd=stale")


def test_must_revalidate_is_an_error_and_not_stale(proxy: Proxy, upstream: Upstream) -> None:
    """RFC 9111 §5.2.2.2: 504 (or what the upstream said), never old bytes."""
    upstream.things["/x"] = Thing(b"x" * 10, {"Cache-Control": "max-age=1, must-revalidate"})
    oca = proxy()
    oca.get("/x")
    time.sleep(1.2)
    upstream.close()
    assert oca.get("/x").status in (502, 504)


def test_a_404_is_remembered_for_a_while(oca: Oca, well: Upstream) -> None:
    """Negative caching: the second client does not ask again."""
    assert [oca.get("/none").status for _ in range(3)] == [404, 404, 404]
    assert len(well.asked_for("/none")) == 1


def test_a_5xx_is_asked_for_once_in_a_second(proxy: Proxy, upstream: Upstream) -> None:
    """An upstream that is in trouble is not hammered, and asked again soon."""
    upstream.things["/b"] = raw(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\noh")
    oca = proxy()
    assert [oca.get("/b").status for _ in range(4)] == [500] * 4
    assert len(upstream.asked) <= 2
    time.sleep(1.1)
    upstream.things["/b"] = Thing(b"well")
    assert oca.get("/b").body == b"well"


def test_a_purged_404_becomes_an_object(oca: Oca, well: Upstream) -> None:
    """An explicit lifetime of a 404 is obeyed, and then it is asked for again."""
    well.things["/l"] = raw(
        b"HTTP/1.1 404 No\r\nCache-Control: max-age=1\r\nContent-Length: 0\r\n\r\n"
    )
    assert oca.get("/l").status == 404
    well.things["/l"] = Thing(b"here now")
    assert oca.get("/l").status == 404
    time.sleep(1.2)
    assert oca.get("/l").body == b"here now"


def test_fifty_ask_for_what_is_not_shared(oca: Oca, well: Upstream) -> None:
    """Collapsed at first, each gets an answer of its own when it proves to be for one alone."""
    from concurrent.futures import ThreadPoolExecutor

    count = iter(range(10_000))

    def counted(asked: Asked) -> None:
        time.sleep(0.1)
        body = b"%d" % next(count)
        asked.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n"
                   % len(body), body)  # fmt: skip

    well.things["/each"] = counted
    with ThreadPoolExecutor(20) as pool:
        bodies = list(pool.map(lambda _: oca.get("/each").body, range(20)))
    assert len(set(bodies)) == 20
