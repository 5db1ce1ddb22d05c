"""The one line `oca serve --store DIR --upstream URL`, from the outside."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oca.through.chunks import CHUNK_BYTES
from tests.oca.running import Answer, Oca, read_answer, wait_until
from tests.oca.through.upstreams import Asked, Thing, Upstream, body_of, raw

FRESH = {"Cache-Control": "max-age=60", "Content-Type": "video/mp4"}
Proxy = Callable[..., Oca]


def status_of(answer: Answer) -> str:
    """What this cache says in Cache-Status (RFC 9211)."""
    return answer.fields["cache-status"].partition("oca; ")[2]


def test_a_miss_is_fetched_and_the_next_one_is_a_hit(oca: Oca, well: Upstream) -> None:
    """Same bytes, the origin's headers, one fetch; the second answer says hit, its age and ttl."""
    body = body_of("film", 3_000_000)
    well.things["/film.mp4"] = Thing(body, {**FRESH, "X-Of-Origin": "yes"})
    first, second = oca.get("/film.mp4"), oca.get("/film.mp4")
    assert first.body == second.body == body
    assert status_of(first).startswith("fwd=uri-miss; fwd-status=200; ttl=")
    assert "stored" in status_of(first)
    assert status_of(second).startswith("hit; ttl=")
    assert second.fields["etag"] == '"v1"'
    assert second.fields["content-type"] == "video/mp4"
    assert second.fields["x-of-origin"] == "yes"
    assert 0 <= int(second.fields["age"]) <= 5
    assert len(well.asked_for("/film.mp4")) == 1


def test_a_range_deep_inside_fetches_only_its_chunks(oca: Oca, well: Upstream) -> None:
    """A kilobyte at 50 MB costs the chunk that it is in, not the 100 MB around it."""
    body = body_of("deep", 100_000_000)
    well.things["/deep"] = Thing(body, FRESH)
    answer = oca.get("/deep", "Range: bytes=50000000-50000999")
    assert (answer.status, answer.body) == (206, body[50_000_000:50_001_000])
    assert answer.fields["content-range"] == "bytes 50000000-50000999/100000000"
    first = 50_000_000 // CHUNK_BYTES * CHUNK_BYTES
    assert [a.range for a in well.asked_for("/deep")] == [(first, first + CHUNK_BYTES - 1)]
    again = oca.get("/deep", "Range: bytes=50000500-50000599")
    assert again.body == body[50_000_500:50_000_600]
    assert status_of(again).startswith("hit")
    assert len(well.asked_for("/deep")) == 1


def test_what_is_stored_of_a_range_is_not_fetched_again(oca: Oca, well: Upstream) -> None:
    """A longer range later fetches what is missing around the stored chunk, and says `partial`."""
    body = body_of("around", 8 * CHUNK_BYTES + 5)
    well.things["/around"] = Thing(body, FRESH)
    oca.get("/around", f"Range: bytes={4 * CHUNK_BYTES}-{4 * CHUNK_BYTES + 9}")
    whole = oca.get("/around")
    assert whole.body == body
    assert status_of(whole).startswith("fwd=partial")
    wait_until(lambda: len(well.asked_for("/around")) == 3, "the two runs around the stored chunk")
    assert sorted(a.range[0] for a in well.asked_for("/around") if a.range) == [
        0, 4 * CHUNK_BYTES, 5 * CHUNK_BYTES,
    ]  # fmt: skip


def test_fifty_clients_of_a_cold_object_cause_one_fetch(proxy: Proxy, upstream: Upstream) -> None:
    """Across workers, whole and right for each of them; who waits beside it is told `collapsed`."""
    body = body_of("hot", 20_000_000)
    digest = hashlib.sha256(body).digest()
    all_asked = threading.Event()
    thing = Thing(body, FRESH, delay_s=1.0)

    def hot(asked: Asked) -> None:
        all_asked.wait(60)
        thing(asked)

    upstream.things["/hot"] = hot
    oca = proxy(workers=2)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(oca.connect()) for _ in range(50)]
        for sock in clients:
            sock.settimeout(60)
            sock.sendall(b"GET /hot HTTP/1.1\r\nHost: t\r\n\r\n")
        all_asked.set()
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda sock: read_answer(sock.makefile("rb")), clients))
    assert all(hashlib.sha256(answer.body).digest() == digest for answer in answers)
    assert any("collapsed" in status_of(answer) for answer in answers)
    assert len(upstream.asked) == 1


def test_bytes_flow_while_they_arrive(oca: Oca, well: Upstream) -> None:
    """The first bytes are there before the upstream has sent the last."""
    body = body_of("slow", 640 * 1024)
    begun, thing = threading.Event(), Thing(body, FRESH)

    def slow(asked: Asked) -> None:
        asked.send(thing.head(asked, "200 OK", len(body)), body[:100_000])
        begun.wait(60)
        asked.send(body[100_000:])

    well.things["/slow"] = slow
    with oca.connect() as sock:
        sock.sendall(b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        sock.recv(1)
        begun.set()
        stream = sock.makefile("rb")
        while stream.readline().strip():
            pass
        assert stream.read(len(body)) == body


def test_a_slow_client_holds_up_nobody(oca: Oca, well: Upstream) -> None:
    """One that reads nothing leaves the fetch to the others, and then gets the right bytes."""
    body = body_of("mixed", 40_000_000)
    well.things["/mixed"] = Thing(body, FRESH)
    with oca.connect() as sock:
        sock.sendall(b"GET /mixed HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.3)
        assert oca.get("/mixed").body == body
        assert read_answer(sock.makefile("rb")).body == body
    assert len(well.asked_for("/mixed")) <= 2


def test_a_client_that_leaves_ends_the_fetch(oca: Oca, well: Upstream) -> None:
    """An abandoned 100 MB is not fetched to its end."""
    sent = []

    def endless(asked: Asked) -> None:
        asked.send(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nCache-Control: max-age=9\r\n')
        asked.send(b"Content-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            asked.send(bytes(1_000_000))
            sent.append(1)

    well.things["/endless"] = endless
    with oca.connect() as sock:
        sock.sendall(b"GET /endless HTTP/1.1\r\nHost: t\r\n\r\n")
        sock.recv(100_000)
    time.sleep(1)
    before = len(sent)
    time.sleep(1)
    assert len(sent) == before < 200


def test_without_ranges_upstream_the_whole_is_read(oca: Oca, well: Upstream) -> None:
    """A server that answers 200 to a Range gives the right bytes all the same."""
    body = body_of("plain", 5_000_000)
    well.things["/plain"] = Thing(body, FRESH, ranges=False)
    answer = oca.get("/plain", "Range: bytes=4000000-4000099")
    assert (answer.status, answer.body) == (206, body[4_000_000:4_000_100])
    assert oca.get("/plain", "Range: bytes=10-19").body == body[10:20]
    assert oca.get("/plain").body == body


def test_conditions_and_ranges_are_answered_from_cached_facts(oca: Oca, well: Upstream) -> None:
    """304, 206 in all forms, 416, 412 and HEAD need no upstream once the object is known."""
    body = body_of("facts", 2_500_000)
    well.things["/facts"] = Thing(body, FRESH)
    assert oca.get("/facts").body == body
    assert oca.get("/facts", 'If-None-Match: "v1"').status == 304
    assert oca.get("/facts", "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT").status == 304
    assert oca.get("/facts", 'If-Match: "other"').status == 412
    assert oca.get("/facts", "Range: bytes=-100").body == body[-100:]
    assert oca.get("/facts", "Range: bytes=9999999-").status == 416
    parts = oca.get("/facts", "Range: bytes=0-0,2000000-2000001")
    assert parts.fields["content-type"].startswith("multipart/byteranges")
    assert body[2_000_000:2_000_002] in parts.body
    stale = oca.get("/facts", "Range: bytes=0-9", 'If-Range: "other"')
    assert (stale.status, stale.body) == (200, body)
    head = oca.get("/facts", method="HEAD")
    assert (head.status, head.fields["content-length"], head.body) == (200, "2500000", b"")
    assert len(well.asked_for("/facts")) == 1


@pytest.mark.parametrize("spec", ["bytes=-500", "bytes=0-1,5-9", "bytes=3000000-"])
def test_a_cold_range_of_any_form(oca: Oca, well: Upstream, spec: str) -> None:
    """Ranges that cannot be placed before the size is known are right as well."""
    body = body_of("cold", 3_500_000)
    answer = oca.get(well.put(Thing(body, FRESH)), f"Range: {spec}")
    assert answer.status == 206
    expected = {"bytes=-500": body[-500:], "bytes=3000000-": body[3_000_000:]}.get(spec, body[5:10])
    assert expected in answer.body


def test_a_cold_range_beyond_the_end_is_416(oca: Oca, well: Upstream) -> None:
    """With the size in Content-Range, as the upstream told it."""
    well.things["/short"] = Thing(b"x" * 100, FRESH)
    answer = oca.get("/short", "Range: bytes=5000000-5000001")
    assert (answer.status, answer.fields["content-range"]) == (416, "bytes */100")


def test_head_of_what_is_not_known(oca: Oca, well: Upstream) -> None:
    """A HEAD is forwarded as one, and leaves the facts for a GET."""
    body = body_of("head", 100_000)
    well.things["/head"] = Thing(body, FRESH)
    answer = oca.get("/head", method="HEAD")
    assert (answer.status, answer.fields["content-length"]) == (200, "100000")
    assert [a.method for a in well.asked_for("/head")] == ["HEAD"]
    assert oca.get("/head").body == body


def test_other_methods_are_refused_and_nothing_of_the_client_goes_upstream(
    oca: Oca, well: Upstream
) -> None:
    """POST is 405; a client's cookies, credentials and names stay here."""
    well.things["/a?b=%2F"] = Thing(b"hello", FRESH)
    assert oca.get("/a?b=%2f&CMCD=br%3D1", "Cookie: a=b", "Authorization: Basic eA==",
                   "X-Other: 1").body == b"hello"  # fmt: skip
    assert oca.get("/a", method="POST").status == 405
    (asked,) = well.asked_for("/a?b=%2F")
    assert asked.headers.keys() == {"host", "accept", "accept-encoding", "user-agent", "via"}
    assert asked.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("path", ["/../etc/passwd", "/a/%2e%2e/b", "/a%2fb", "/a\\b", "/%zz"])
def test_doubtful_targets_are_refused_here(oca: Oca, well: Upstream, path: str) -> None:
    """Whatever two servers could read differently is 400 and never forwarded."""
    before = len(well.asked)
    assert oca.get(path).status == 400
    assert len(well.asked) == before


def test_absolute_targets_ask_nobody_else(oca: Oca, well: Upstream) -> None:
    """Only the configured upstream is ever asked, whatever host the client names."""
    well.things["/x"] = Thing(b"here", FRESH)
    assert oca.get("http://127.0.0.9:1/x").body == b"here"
    assert len(well.asked_for("/x")) == 1


def test_redirects_are_passed_on_and_not_followed(oca: Oca, well: Upstream) -> None:
    """A Location is the client's business."""
    well.things["/moved"] = raw(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.9:1/\r\nContent-Length: 0\r\n\r\n"
    )
    answer = oca.get("/moved")
    assert (answer.status, answer.fields["location"]) == (302, "http://127.0.0.9:1/")


def test_a_restart_finds_what_was_stored(proxy: Proxy, upstream: Upstream, tmp_path: Path) -> None:
    """The index is rebuilt from the disk: the next life has a hit without a fetch."""
    body = body_of("kept", 5_000_000)
    upstream.things["/kept"] = Thing(body, FRESH)
    first = proxy()
    assert first.get("/kept").body == body
    wait_until(lambda: stored(tmp_path) == 5, "five chunks on the disk")
    first.process.terminate()
    first.process.wait(10)
    second = proxy()
    answer = second.get("/kept")
    assert answer.body == body
    assert status_of(answer).startswith("hit")
    assert len(upstream.asked) == 1


def stored(tmp_path: Path) -> int:
    """How many chunks are on the disk."""
    return sum(not p.name.endswith("meta") for p in (tmp_path / "store/through/c").glob("*/*"))


def test_the_region_keeps_its_bound(proxy: Proxy, upstream: Upstream, tmp_path: Path) -> None:
    """60 MB through 16 MiB: all bytes right, and the disk has never much more than the bound."""
    bodies = {f"/{i}": body_of(f"bound {i}", 6_000_000) for i in range(10)}
    for path, body in bodies.items():
        upstream.things[path] = Thing(body, FRESH)
    oca = proxy("--dynamic-bytes", str(16 * 1024**2))
    most, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            with contextlib.suppress(FileNotFoundError):  # evicted while we look
                chunks = tmp_path.glob("store/through/c/*/*")
                most[0] = max(most[0], sum(p.stat().st_blocks * 512 for p in chunks))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for path, body in [*bodies.items(), *bodies.items()]:
        assert oca.get(path).body == body
    done.set()
    watcher.join()
    assert 8 * 1024**2 < most[0] <= 18 * 1024**2
