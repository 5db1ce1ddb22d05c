"""Ranges and conditionals against a plain reference: same bytes, same status, never too much."""

from __future__ import annotations

import calendar

from hypothesis import given
from hypothesis import strategies as st

from oca.http.conditions import precondition, range_applies
from oca.http.dates import http_date, parse_date
from oca.http.head import Fields, Line
from oca.http.ranges import RANGES_MAX, parse_ranges, split_path_range
from oca.http.respond import Facts, facts_of, part_of, respond

NOW_S = 1_800_000_000.0
LINE = Line("GET", b"/x", None, None, 1)
spec = st.one_of(
    st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda p: (p[0], p[0] + p[1])),
    st.tuples(st.integers(0, 40), st.none()),
    st.tuples(st.none(), st.integers(0, 40)),
)


def write(pair: tuple[int | None, int | None]) -> bytes:
    return b"-".join(b"" if part is None else b"%d" % part for part in pair)


def wanted(pair: tuple[int | None, int | None], size: int) -> set[int]:
    """The reference: positions of a file of `size` bytes that one range-spec selects."""
    first, last = pair
    if first is None:
        return set(range(max(0, size - (last or 0)), size))
    return {i for i in range(size) if i >= first and (last is None or i <= last)}


@given(st.lists(spec, min_size=1, max_size=8), st.integers(0, 40))
def test_spans_are_exactly_the_bytes_asked_for(specs: list[tuple[int, int]], size: int) -> None:
    """Coalesced spans cover what was asked, no more, no byte twice, in the order asked."""
    got = parse_ranges(b"bytes=" + b", ".join(write(pair) for pair in specs), size)
    assert got is not None
    positions = [i for offset, length in got for i in range(offset, offset + length)]
    union = set().union(*(wanted(pair, size) for pair in specs))
    assert len(positions) == len(set(positions))
    assert set(positions) == union
    firsts = [
        min(n for n, pair in enumerate(specs) if wanted(pair, size) & set(range(o, o + length)))
        for o, length in got
    ]
    assert firsts == sorted(firsts)


def test_what_is_no_byte_range_is_ignored() -> None:
    """RFC 9110 §14.2: an invalid Range, or of another unit, is as if it were not there."""
    for raw in (
        b"bytes=5-2", b"bytes=", b"bytes=,", b"bytes=a-b", b"bytes=1-2x", b"bytes=--1",
        b"bytes=+1-2", b"items=0-1", b"0-1", b"bytes 0-1", b"bytes=1 -2", b"bytes=0-1;2-3",
        b"bytes= 0-1",
    ):  # fmt: skip
        assert parse_ranges(raw, 100) is None, raw
    assert parse_ranges(b"bytes=" + b",".join([b"0-1"] * (RANGES_MAX + 1)), 100) is None


def test_unsatisfiable_is_told_apart_from_invalid() -> None:
    """Well-formed but outside: an empty list, which becomes 416."""
    for raw in (b"bytes=100-", b"BYTES=100-200", b"bytes=-0", b"bytes=" + b"9" * 60 + b"-"):
        assert parse_ranges(raw, 100) == []
    assert parse_ranges(b"bytes=0-" + b"9" * 60, 100) == [(0, 100)]
    assert parse_ranges(b"bytes=" + b"0" * 60 + b"7-" + b"0" * 60 + b"9", 100) == [(7, 3)]


def test_long_runs_of_blanks_cost_nothing() -> None:
    """No pattern goes quadratic on what fits into a head."""
    blanks = b" " * 15_000
    assert parse_ranges(b"bytes=0-1," + blanks + b"x", 100) is None
    fields = Fields(if_none_match=b'"a"' + blanks + b"x")
    assert precondition(fields, b'"a"', 0, NOW_S) == 200


ETAG = b'"v1"'
MODIFIED_S = 1_700_000_000
tags = st.sampled_from([None, b'"v1"', b'W/"v1"', b'"v2"', b"*", b'"v2" , "v1"', b"v1", b""])
dates = st.sampled_from(
    [None, http_date(MODIFIED_S), http_date(MODIFIED_S - 1), http_date(MODIFIED_S + 1), b"x"]
)


def reference(im: bytes | None, ius: bytes | None, inm: bytes | None, ims: bytes | None) -> int:
    """RFC 9110 §13.2.2 as its numbered steps, for tags and dates that are strings."""
    if im is not None:
        if im not in (b"*", b'"v1"', b'"v2" , "v1"'):
            return 412
    elif ius == http_date(MODIFIED_S - 1):
        return 412
    if inm is not None:
        return 304 if inm in (b"*", b'"v1"', b'W/"v1"', b'"v2" , "v1"') else 200
    return 304 if ims in (http_date(MODIFIED_S), http_date(MODIFIED_S + 1)) else 200


@given(tags, dates, tags, dates)
def test_preconditions_are_judged_in_the_order_of_the_rfc(
    im: bytes | None, ius: bytes | None, inm: bytes | None, ims: bytes | None
) -> None:
    """If-Match, else If-Unmodified-Since; then If-None-Match, else If-Modified-Since."""
    fields = Fields(if_match=im, if_unmodified_since=ius, if_none_match=inm, if_modified_since=ims)
    assert precondition(fields, ETAG, MODIFIED_S, NOW_S) == reference(im, ius, inm, ims)


def test_if_range_takes_strong_validators_only() -> None:
    """The very tag, or the very date of a file that cannot have changed twice in its second."""
    cases = {b'"v1"': True, b'W/"v1"': False, b'"v2"': False, b"": False}
    cases |= {http_date(MODIFIED_S): True, http_date(MODIFIED_S + 1): False, b"rubbish": False}
    for raw, expected in cases.items():
        assert range_applies(Fields(if_range=raw), ETAG, MODIFIED_S, NOW_S) is expected, raw
    fresh = Fields(if_range=http_date(NOW_S))
    assert not range_applies(fresh, ETAG, int(NOW_S), NOW_S + 0.5)


def test_dates_are_read_in_all_three_forms() -> None:
    """RFC 9110 §5.6.7, its own example; nonsense is None."""
    for raw in (
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
    ):
        assert parse_date(raw, NOW_S) == 784111777
    for raw in (
        b"",
        b"Sun, 31 Feb 2021 00:00:00 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"784111777",
    ):
        assert parse_date(raw, NOW_S) is None
    assert http_date(784111777.9) == b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_a_date_of_long_ago_is_a_date() -> None:
    """What was changed since 1960 fails If-Unmodified-Since; the year 0 is none."""
    assert parse_date(b"Fri, 01 Jan 1960 00:00:00 GMT", NOW_S) == -315619200
    old = Fields(if_unmodified_since=b"Mon, 01 Jan 0001 00:00:00 GMT")
    assert precondition(old, ETAG, MODIFIED_S, NOW_S) == 412
    assert parse_date(b"Sat, 01 Jan 0000 00:00:00 GMT", NOW_S) is None


def test_two_digits_of_a_year_are_at_most_fifty_years_ahead() -> None:
    """To the second (RFC 9110 §5.6.7)."""
    now_s = calendar.timegm((2026, 11, 22, 10, 0, 0))
    ahead_s = calendar.timegm((2076, 11, 22, 10, 0, 0))
    assert parse_date(b"Sunday, 22-Nov-76 10:00:00 GMT", now_s) == ahead_s
    past_s = calendar.timegm((1976, 11, 22, 10, 0, 1))
    assert parse_date(b"Monday, 22-Nov-76 10:00:01 GMT", now_s) == past_s


def facts(size: int) -> Facts:
    return facts_of(size, ETAG, MODIFIED_S, b"video/mp4", b"no-cache", "oca")


@given(st.lists(spec, min_size=1, max_size=6), st.integers(1, 40))
def test_plans_add_up(specs: list[tuple[int, int]], size: int) -> None:
    """Content-Length is the sum of the parts, whatever the answer; heads end once."""
    fields = Fields(range=b"bytes=" + b",".join(write(pair) for pair in specs))
    plan = respond(
        LINE, fields, facts(size), date=b"now", now_s=NOW_S, close=False, boundary=b"BOUND"
    )
    sent = sum(len(part) if isinstance(part, bytes) else part[1] for part in plan.parts)
    assert sent == plan.body_bytes
    assert b"Content-Length: %d\r\n" % sent in plan.head
    assert plan.head.endswith(b"\r\n\r\n") and plan.head.count(b"\r\n\r\n") == 1
    spans = [part for part in plan.parts if not isinstance(part, bytes)]
    assert sum(length for _, length in spans) <= size
    assert plan.status == (206 if spans else 416)


def test_a_part_by_path_is_a_resource_of_its_own() -> None:
    """`…/range/2-5` has its own size, tag and 200; outside the file there is none."""
    assert split_path_range(b"/a/7/f.mp4/range/2-5/") == (b"/a/7/f.mp4", 2, 5)
    assert split_path_range(b"/a/7/f.mp4/range/2-") is None
    part = part_of(facts(10), 2, 50)
    assert part is not None and (part.size, part.offset, part.etag) == (8, 2, b'"v1-2-9"')
    assert part_of(facts(10), 10, 12) is None and part_of(facts(10), 5, 2) is None
    fields = Fields(range=b"bytes=1-2")
    plan = respond(LINE, fields, part, date=b"now", now_s=NOW_S, close=False, boundary=b"BOUND")
    assert plan.parts == ((3, 2),) and b"Content-Range: bytes 1-2/8\r\n" in plan.head
