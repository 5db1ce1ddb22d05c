"""RFC 9111 sentence by sentence, on one real proxy. What is stale at once says so by its Age."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.oca.running import Answer, Oca, serving
from tests.oca.through.test_proxy import status_of
from tests.oca.through.upstreams import Asked, Thing, Upstream, body_of, raw

STALE = {"Cache-Control": "max-age=60", "Age": "100"}
OLD = "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.fixture(scope="module")
def origin() -> Iterator[Upstream]:
    """The upstream; each test has targets of its own."""
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, origin: Upstream) -> Iterator[Oca]:
    """The proxy in front of it."""
    top = tmp_path_factory.mktemp("rfc9111")
    options = ["--store", str(top / "store"), "--upstream", origin.url, "--workers", "1"]
    with serving(top, *options, "--listen", "127.0.0.1:0") as oca:
        yield oca


def confirming(first: Thing, *lines: str) -> Callable[[Asked], None]:
    """Serves `first`, and answers conditions with a 304 of these lines."""

    def handler(asked: Asked) -> None:
        if "if-none-match" not in asked.headers:
            first(asked)
            return
        asked.send(("\r\n".join(["HTTP/1.1 304 Not Modified", *lines]) + "\r\n\r\n").encode())

    return handler


def kind(answer: Answer) -> str:
    """`hit`, or why it was asked for."""
    return status_of(answer).partition(";")[0]


FRESHNESS: list[tuple[dict[str, str], str]] = [
    ({"Cache-Control": "max-age=60"}, "hit"),
    ({"Cache-Control": "max-age=0, s-maxage=60"}, "hit"),
    ({"Cache-Control": "max-age=60, s-maxage=0"}, "fwd=stale"),
    ({"Cache-Control": "max-age=60", "Age": "59"}, "hit"),
    ({"Cache-Control": "max-age=60", "Age": "61"}, "fwd=stale"),
    ({"Cache-Control": "max-age=60", "Date": OLD}, "fwd=stale"),
    ({"Cache-Control": "max-age=60", "Expires": OLD}, "hit"),
    ({"Cache-Control": "max-age=nonsense"}, "fwd=stale"),
    ({"Cache-Control": "no-cache"}, "fwd=stale"),
    ({"Cache-Control": "no-store"}, "fwd=bypass"),
    ({"Cache-Control": "private, max-age=60"}, "fwd=bypass"),
    ({"Expires": "0"}, "fwd=stale"),
    ({"Expires": "Fri, 01 Jan 2100 00:00:00 GMT"}, "hit"),
    ({}, "hit"),
    ({"Cache-Control": "max-age=60", "Vary": "Accept-Encoding"}, "hit"),
    ({"Cache-Control": "max-age=60", "Vary": "*"}, "fwd=bypass"),
    ({"Cache-Control": "max-age=60", "Vary": "User-Agent"}, "fwd=bypass"),
]
"""What the origin says of a film of 2024, and what a second request is told."""


def test_how_long_it_is_used(cache: Oca, origin: Upstream) -> None:
    """§4.2: s-maxage before max-age before Expires before a tenth of its age; Age and Date count;
    §4.1: what varies by what a client says is not shared."""
    for number, (headers, expected) in enumerate(FRESHNESS):
        told = {"ETag": '"v1"', "Last-Modified": OLD, "Content-Length": "100", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        origin.things[f"/f{number}"] = raw(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + b"x" * 100)
        answers = [cache.get(f"/f{number}") for _ in range(2)]
        assert [answer.body for answer in answers] == [b"x" * 100] * 2, headers
        assert kind(answers[1]) == expected, headers


def test_neither_time_nor_validator_is_kept_for_nobody(cache: Oca, origin: Upstream) -> None:
    """§4.2.2: without Last-Modified there is nothing to guess from."""
    origin.things["/plain"] = Thing(b"x", etag="", modified="")
    assert [kind(cache.get("/plain")) for _ in range(2)] == ["fwd=bypass"] * 2


def test_a_304_brings_new_headers(cache: Oca, origin: Upstream) -> None:
    """§3.2, §4.3.4: what it says replaces what was stored, what it does not say stays, and what
    describes the bytes is theirs."""
    thing = Thing(b"same" * 100, {**STALE, "X-A": "old", "X-B": "kept", "Content-Language": "en"})
    lines = ("Cache-Control: public, max-age=500", "X-A: new", "X-A: er", 'ETag: "v1"',
             "Content-Encoding: br", "Content-Length: 7", "Set-Cookie: a=b")  # fmt: skip
    origin.things["/304"] = confirming(thing, *lines)
    assert cache.get("/304").fields["x-a"] == "old"
    confirmed, hit = cache.get("/304"), cache.get("/304")
    assert kind(confirmed) == "fwd=stale" and kind(hit) == "hit"
    for answer in (confirmed, hit):
        assert answer.body == thing.body
        assert answer.fields["cache-control"] == "public, max-age=500"
        assert (answer.fields["x-a"], answer.fields["x-b"]) == ("er", "kept")
        assert answer.fields["etag"] == '"v1"'
        assert answer.fields["content-language"] == "en"
        assert not {"content-encoding", "set-cookie"} & answer.fields.keys()
        assert int(answer.fields["age"]) < 60


@pytest.mark.parametrize("line", ['ETag: "v2"', "Cache-Control: private, max-age=60"])
def test_a_304_that_is_not_of_what_is_held(cache: Oca, origin: Upstream, line: str) -> None:
    """§4.3.4: of another version, or not to be shared any more: it is asked for whole."""
    target = f"/other{len(line)}"
    origin.things[target] = confirming(Thing(b"old", STALE), line)
    assert cache.get(target).body == b"old"
    first = origin.things[target]

    def changed(asked: Asked) -> None:
        after = Thing(b"newer", {"Cache-Control": "max-age=60"}, etag='"v2"')
        (first if "if-none-match" in asked.headers else after)(asked)

    origin.things[target] = changed
    answer = cache.get(target)
    assert (answer.body, answer.fields["etag"]) == (b"newer", '"v2"')


def test_errors_and_redirects_for_one_client_go_to_one(cache: Oca, origin: Upstream) -> None:
    """§3, §4: private, no-store and what sets a cookie is neither remembered nor shared by those
    who ask at once, whatever its status and lifetime."""
    for number, line in enumerate(
        ("private, max-age=60", "no-store", "max-age=60\r\nSet-Cookie: a")
    ):
        count = iter(range(1000))

        def each(asked: Asked, line: str = line, count: Iterator[int] = count) -> None:
            time.sleep(0.05)
            body = b"%03d" % next(count)
            head = f"HTTP/1.1 404 No\r\nCache-Control: {line}\r\nContent-Length: 3\r\n\r\n"
            asked.send(head.encode() + body)

        origin.things[f"/e{number}"] = each
        with ThreadPoolExecutor(6) as pool:
            bodies = list(pool.map(lambda _, n=number: cache.get(f"/e{n}").body, range(6)))
        assert len(set(bodies)) == 6, line


def test_a_remembered_404_says_its_age(cache: Oca, origin: Upstream) -> None:
    """§4: an answer that was stored has an Age, so that who stores it next does not start anew."""
    head = b"HTTP/1.1 404 No\r\nCache-Control: max-age=60\r\nAge: 20\r\nContent-Length: 2\r\n\r\nno"
    origin.things["/gone"] = raw(head)
    answers = [cache.get("/gone") for _ in range(2)]
    assert [answer.body for answer in answers] == [b"no"] * 2
    assert all(20 <= int(answer.fields["age"]) < 60 for answer in answers)
    assert kind(answers[1]) == "hit"
    assert 0 < int(status_of(answers[1]).partition("ttl=")[2]) <= 40
    assert len(origin.asked_for("/gone")) == 1


def test_what_is_passed_on_keeps_its_age(cache: Oca, origin: Upstream) -> None:
    """§5.1: a cache before us had it for a while, and the client's own is to know."""
    origin.things["/aged"] = Thing(b"x", {"Cache-Control": "private, max-age=60", "Age": "50"})
    assert 50 <= int(cache.get("/aged").fields["age"]) < 60


def test_a_head_of_what_is_missing_leaves_the_body_to_a_get(cache: Oca, origin: Upstream) -> None:
    """RFC 9110 §9.3.2: the same head, and no empty page for those who want to read it."""

    def nowhere(asked: Asked) -> None:
        asked.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n")
        if asked.method != "HEAD":
            asked.send(b"none\n")

    origin.things["/nowhere"] = nowhere
    head = cache.get("/nowhere", method="HEAD")
    assert (head.status, head.fields["content-length"]) == (404, "5")
    assert cache.get("/nowhere").body == b"none\n"
    assert cache.get("/nowhere", method="HEAD").fields["content-length"] == "5"
    assert [asked.method for asked in origin.asked_for("/nowhere")] == ["HEAD", "GET"]


def test_the_end_of_the_connection_ends_a_body(cache: Oca, origin: Upstream) -> None:
    """RFC 9112 §6.3, §8: neither length nor coding, as old servers do; whole, and not kept."""
    body = body_of("old server", 300_000)

    def closing(asked: Asked) -> None:
        asked.send(b"HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\n", body)
        raise EOFError

    origin.things["/closing"] = closing
    for _ in range(2):
        with cache.connect() as sock:
            sock.sendall(b"GET /closing HTTP/1.0\r\n\r\n")
            assert sock.makefile("rb").read().partition(b"\r\n\r\n")[2] == body
    assert len(origin.asked_for("/closing")) == 2
    with cache.connect() as sock:
        sock.sendall(b"GET /closing HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        assert sock.makefile("rb").read().endswith(b"\r\n0\r\n\r\n")


def test_a_part_that_nobody_asked_for_is_an_error(cache: Oca, origin: Upstream) -> None:
    """RFC 9110 §15.3.7: 206 to a plain GET would be taken for the whole."""
    origin.things["/part"] = raw(
        b'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2/9\r\nETag: "a"\r\n'
        b"Content-Length: 3\r\n\r\nabc"
    )
    assert cache.get("/part").status == 502


def test_targets_differ_by_their_query(cache: Oca, origin: Upstream) -> None:
    """§2: the key is the target."""
    for target in ("/q", "/q?a=1", "/q?a=2", "/q?A=1", "/q/"):
        origin.things[target] = Thing(target.encode(), {"Cache-Control": "max-age=60"})
    for _ in range(2):
        for target in ("/q", "/q?a=1", "/q?a=2", "/q?A=1", "/q/"):
            assert cache.get(target).body == target.encode()


def test_an_empty_object(cache: Oca, origin: Upstream) -> None:
    """It has no byte that a range could name, so a range is ignored (RFC 9110 §14.2)."""
    origin.things["/empty"] = Thing(b"", {"Cache-Control": "max-age=60"})
    for _ in range(2):
        answer = cache.get("/empty")
        assert (answer.status, answer.fields["content-length"]) == (200, "0")
    assert cache.get("/empty", "Range: bytes=0-").status == 200
    assert len(origin.asked_for("/empty")) == 1
