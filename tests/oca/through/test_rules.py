"""What may be kept, for how long, and what an answer is good for: RFC 9111, 5861, 9110."""

from __future__ import annotations

import pytest

from oca.cache.registry import make
from oca.http.errors import RequestError
from oca.through.answer import Told, cache_status
from oca.through.breaker import FAILURES_MAX, PAUSE_FIRST_S, Breaker
from oca.through.chunks import BLOCK_BYTES, CHUNK_BYTES, aligned, cost_of, count_of, length_of
from oca.through.demand import Demand, Window, covered, runs
from oca.through.freshness import HEURISTIC_MAX_S, freshness_of, why_not_stored
from oca.through.region import Region
from oca.through.target import key_of
from oca.through.validators import content_range, validators_of
from oca.through.verdict import (
    Asked,
    Beyond,
    Body,
    Broken,
    Passing,
    Small,
    Unchanged,
    joined,
    judge,
    lines_of,
)

NOW_S = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
TAG = {"etag": '"a"'}


def life(asked_s: float = NOW_S, **headers: str) -> float:
    """Seconds left of a response that came just now."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return freshness_of({"date": DATE, **fields}, asked_s, NOW_S).fresh_for_s(NOW_S)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"cache_control": "max-age=60"}, 60),
        ({"cache_control": 'max-age="60"'}, 60),
        ({"cache_control": "MAX-AGE=60"}, 60),
        ({"cache_control": "max-age=60, s-maxage=10"}, 10),
        ({"cache_control": "s-maxage=100, max-age=5"}, 100),
        ({"cache_control": "max-age=60, max-age=30"}, 30),
        ({"cache_control": "max-age=x"}, 0),
        ({"cache_control": "max-age=-5"}, 0),
        ({"cache_control": "max-age"}, 0),
        ({"cache_control": "max-age=60, no-cache"}, 0),
        ({"cache_control": 'max-age=60, no-cache="x, y"'}, 0),
        ({"cache_control": 'ext="a, no-cache", max-age=60'}, 60),
        ({"cache_control": "max-age=99999999999999999999"}, 2**31),
        ({"cache_control": "max-age=60", "age": "45"}, 15),
        ({"cache_control": "max-age=60", "age": "45, 3"}, 15),
        ({"cache_control": "max-age=60", "date": "Tue, 14 Nov 2023 22:13:00 GMT"}, 40),
        ({"cache_control": "max-age=60", "date": "garbage"}, 60),
        ({"expires": "Tue, 14 Nov 2023 22:14:20 GMT"}, 60),
        ({"expires": "0"}, 0),
        ({"expires": "Tue, 14 Nov 2023 22:14:20 GMT", "cache_control": "max-age=5"}, 5),
        ({"last_modified": "Tue, 14 Nov 2023 22:03:20 GMT"}, 60),
        ({"last_modified": "Mon, 01 Jan 2018 00:00:00 GMT"}, HEURISTIC_MAX_S),
        ({}, 0),
    ],
)  # fmt: skip
def test_how_long_an_answer_is_fresh(headers: dict[str, str], seconds: float) -> None:
    """RFC 9111 §4.2.1–§4.2.3: s-maxage, max-age, Expires, a careful heuristic; less its age."""
    assert life(**headers) == seconds


def test_the_time_that_asking_took_is_age() -> None:
    """§4.2.3: the delay counts on top of an upstream's Age."""
    assert life(NOW_S - 7, cache_control="max-age=60", age="10") == 43


def test_stale_is_used_only_where_it_may_be() -> None:
    """RFC 5861 within its seconds; must-revalidate and s-maxage forbid it (RFC 9111 §4.2.4)."""

    def fresh(text: str):
        return freshness_of({"date": DATE, "cache-control": text}, NOW_S, NOW_S)

    both = fresh("max-age=10, stale-while-revalidate=20, stale-if-error=30")
    assert both.usable_meanwhile(NOW_S + 29)
    assert not both.usable_meanwhile(NOW_S + 31)
    assert both.usable_on_error(NOW_S + 39, 0)
    assert not both.usable_on_error(NOW_S + 41, 0)
    assert both.usable_on_error(NOW_S + 41, disconnected_s=60)
    for strict in ("must-revalidate", "proxy-revalidate", "s-maxage=10", "no-cache"):
        kept = fresh(f"max-age=10, stale-while-revalidate=20, stale-if-error=30, {strict}")
        assert not kept.usable_meanwhile(NOW_S + 11)
        assert not kept.usable_on_error(NOW_S + 11, disconnected_s=99)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"cache-control": "max-age=60"}, ""),
        ({"cache-control": "no-store"}, "no-store"),
        ({"cache-control": "private, max-age=60"}, "private"),
        ({"cache-control": 'private="set-cookie"'}, "private"),
        ({"set-cookie": "a=b"}, "set-cookie"),
        ({"vary": "Accept-Encoding, Origin"}, ""),
        ({"vary": "Accept-Encoding, Cookie"}, "vary"),
        ({"vary": "*"}, "vary"),
    ],
)
def test_what_a_shared_cache_may_not_keep(headers: dict[str, str], why: str) -> None:
    """RFC 9111 §3; a Vary is harmless where nothing of the client's goes upstream."""
    assert why_not_stored(headers) == why


@pytest.mark.parametrize(
    ("status", "headers", "asked", "kind"),
    [
        (200, {"content-length": "5", **TAG}, Asked(), Body),
        (200, {"content-length": "5"}, Asked(), Body),
        (200, TAG, Asked(), Passing),
        (200, {"content-length": "5", "transfer-encoding": "chunked"}, Asked(), Passing),
        (304, {}, Asked(), Broken),
        (206, {"content-range": "bytes 0-4/9", **TAG}, Asked(), Broken),
        (206, {"content-range": "bytes 0-4/9", **TAG}, Asked(0, 4), Body),
        (206, {"content-range": "bytes 0-4/9", **TAG}, Asked(0, 7), Broken),
        (206, {"content-range": "bytes 1-4/9", **TAG}, Asked(0, 4), Broken),
        (206, {"content-range": "bytes 0-8/9", **TAG}, Asked(0, 99), Body),
        (206, {"content-range": "bytes 0-4/3", **TAG}, Asked(0, 4), Broken),
        (206, {"content-range": "bytes 4-0/9", **TAG}, Asked(0, 4), Broken),
        (206, {"content-range": "lines 0-4/9", **TAG}, Asked(0, 4), Broken),
        (206, {**TAG}, Asked(0, 4), Broken),
        (206, {"content-range": "bytes 0-4/*", **TAG}, Asked(0, 4), Passing),
        (206, {"content-range": "bytes 0-4/9", "content-length": "6"}, Asked(0, 4), Broken),
        (416, {"content-range": "bytes */9"}, Asked(10, 20), Beyond),
        (404, {"content-length": "5"}, Asked(), Small),
        (404, {"content-length": "70000"}, Asked(), Passing),
        (302, {"content-length": "0"}, Asked(), Small),
        (101, {}, Asked(), Broken),
        (700, {}, Asked(), Broken),
    ],
)
def test_what_an_answer_is_good_for(
    status: int, headers: dict[str, str], asked: Asked, kind: type
) -> None:
    """Whatever contradicts the question is broken: neither stored nor passed on."""
    assert isinstance(judge(status, headers, asked, NOW_S), kind)


def test_304_confirms_only_what_was_asked_about() -> None:
    """With a condition it is an answer."""
    about = validators_of(TAG, 5, NOW_S)
    assert judge(304, {}, Asked(about=about), NOW_S) == Unchanged()


def test_parts_without_a_validator_are_not_stored() -> None:
    """RFC 9111 §3.4: nothing can be joined to them; a part that is all of it can stand alone."""
    part = judge(206, {"content-range": "bytes 0-4/9", "cache-control": "max-age=9"},
                 Asked(0, 4), NOW_S)  # fmt: skip
    whole = judge(206, {"content-range": "bytes 0-8/9", "cache-control": "max-age=9"},
                  Asked(0, 99), NOW_S)  # fmt: skip
    assert isinstance(part, Body)
    assert isinstance(whole, Body)
    assert (part.why, whole.why) == ("no validator", "")


def test_versions_are_told_apart() -> None:
    """A strong tag ties; without one the date and the length; a weak tag alone does not."""

    def of(etag: str = "", modified: str = "", size: int = 9, date: str = DATE):
        headers = {"etag": etag, "last-modified": modified, "date": date}
        return validators_of(headers, size, NOW_S)

    old = "Mon, 13 Nov 2023 00:00:00 GMT"
    assert of('"a"').same(of('"a"'))
    assert not of('"a"').same(of('"b"'))
    assert not of('"a"').same(of('"a"', size=8))
    assert not of('W/"a"').same(of('W/"a"'))
    assert of('W/"a"', old).same(of('W/"a"', old))
    assert of("", old).same(of("", old))
    assert not of("", old).same(of("", old, size=8))
    assert not of("", DATE).same(of("", DATE))  # it may change again within that second
    assert not of().same(of())
    assert not of("nonsense").same(of("nonsense"))
    assert of('W/"a"', old).if_range == {"If-Range": old}


@pytest.mark.parametrize("text", ["bytes 5-4/9", "bytes 0-9/9", "bytes 0-1/2 ", "x", "bytes a-b/c"])
def test_content_range_must_make_sense(text: str) -> None:
    """What cannot be is not believed (only blanks around it are)."""
    assert (content_range({"content-range": text}) is None) == (text != "bytes 0-1/2 ")


def test_hop_by_hop_lines_end_here() -> None:
    """RFC 9110 §7.6.1, with what Connection names; nor what we say ourselves, nor broken lines."""
    raw = [("Connection", "X-Hop, close"), ("X-Hop", "1"), ("Keep-Alive", "1"), ("ETag", '"a"'),
           ("Content-Length", "5"), ("Age", "4"), ("X-Bad", "a\rb"), ("X-Good", "1")]  # fmt: skip
    assert lines_of(raw, joined(raw)) == b'ETag: "a"\r\nX-Good: 1\r\n'


@pytest.mark.parametrize(
    ("path", "query", "key"),
    [
        (b"/a/b", None, "/a/b"),
        (b"/%61%2D%7e", None, "/a-~"),
        (b"/a%3bb", None, "/a%3Bb"),
        (b"/", None, "/"),
        (b"/dir/", b"", "/dir/?"),
        (b"/a", b"x=%2f&CMCD=br%3D1&y", "/a?x=%2F&y"),
        (b"/a", b"CMCD=br%3D1", "/a"),
        (b"/a", b"cmcdx=1", "/a?cmcdx=1"),
    ],
)
def test_equal_targets_have_one_key(path: bytes, query: bytes | None, key: str) -> None:
    """RFC 3986 §6.2.2; CMCD does not make another object."""
    assert key_of(path, query) == key


@pytest.mark.parametrize("path", [b"/../a", b"/%2e%2E/a", b"/a%2fb", b"/a%5Cb", b"/%", b"/a%00"])
def test_doubtful_targets_have_none(path: bytes) -> None:
    """They are refused as for files."""
    with pytest.raises(RequestError):
        key_of(path, None)


def test_chunks_cover_an_object_once() -> None:
    """The arithmetic: aligned, the last one shorter, nothing beyond."""
    size = 3 * CHUNK_BYTES + 5
    assert count_of(size) == 4
    assert [length_of(n, size) for n in range(5)] == [CHUNK_BYTES] * 3 + [5, 0]
    assert aligned(CHUNK_BYTES - 1, CHUNK_BYTES) == (0, 2 * CHUNK_BYTES - 1)
    assert cost_of(1) == 2 * BLOCK_BYTES


def test_runs_fetch_what_is_missing_and_nothing_twice() -> None:
    """As far as the reader will go, around what is there, not where a fetch is coming."""
    demand = Demand()
    demand.windows["a"] = Window(0, 3, 99)
    assert runs(demand, lambda _: False, ()) == [(0, 99)]
    assert runs(demand, lambda n: n in (2, 50), ()) == [(0, 1), (3, 49)]
    assert runs(demand, lambda _: False, {0, 1, 2, 3}) == []
    demand.windows["b"] = Window(40, 43, 45)
    assert runs(demand, lambda n: n in (10,), ()) == [(0, 9), (40, 45)]
    assert covered(0, 99, demand.wanted()) == {0, 1, 2, 3}
    assert covered(38, 99, demand.wanted()) == {40, 41, 42, 43}
    assert covered(0, 99, demand.wanted(), skip=1000) == {0, 1, 2, 3, 40, 41, 42, 43}


def test_the_region_reserves_room_before_bytes_come() -> None:
    """A victim leaves as soon as a chunk is wanted; what never came gives its room back."""
    region = Region(make("lru", 2 * cost_of(CHUNK_BYTES)))
    assert region.want(("a", 0), CHUNK_BYTES) == []
    assert region.want(("a", 1), CHUNK_BYTES) == []
    assert region.want(("a", 2), CHUNK_BYTES) == [("a", 0)]
    region.forget([("a", 1)])
    assert region.want(("b", 0), CHUNK_BYTES) == []
    assert region.hit(("gone", 7), CHUNK_BYTES) == []
    assert not region.admits(("gone", 7))


def test_second_request_admission_stores_on_the_second() -> None:
    """As an option."""
    region = Region(make("lru", 10 * cost_of(CHUNK_BYTES), second_request=True))
    region.want(("a", 0), CHUNK_BYTES)
    assert not region.admits(("a", 0))
    region.want(("a", 0), CHUNK_BYTES)
    assert region.admits(("a", 0))


def test_the_breaker_lets_one_try_after_a_pause() -> None:
    """Down after several failures in a row; its pauses grow; an answer closes it."""
    breaker = Breaker()
    for _ in range(FAILURES_MAX):
        assert breaker.may_ask(0.0)
        breaker.on_failure(0.0)
    assert not breaker.may_ask(PAUSE_FIRST_S / 2)
    assert breaker.may_ask(PAUSE_FIRST_S)
    assert not breaker.may_ask(PAUSE_FIRST_S)
    breaker.on_failure(PAUSE_FIRST_S)
    assert not breaker.may_ask(2 * PAUSE_FIRST_S)
    assert breaker.may_ask(3 * PAUSE_FIRST_S)
    breaker.on_answer()
    assert breaker.may_ask(3 * PAUSE_FIRST_S)


def test_cache_status_is_rfc_9211() -> None:
    """A hit with its ttl; a forward with its reason, status, what became of it."""
    assert cache_status("oca1", Told(), 376.4) == b"Cache-Status: oca1; hit; ttl=376\r\n"
    told = Told("uri-miss", 200, collapsed=True, stored=True)
    expected = b"Cache-Status: oca1; fwd=uri-miss; fwd-status=200; ttl=9; stored; collapsed\r\n"
    assert cache_status("oca1", told, 9) == expected
    assert cache_status("1a", Told("bypass"), 0) == b'Cache-Status: "1a"; fwd=bypass\r\n'
