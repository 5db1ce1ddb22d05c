"""The head parser: fed whole and byte by byte it says the same, and what is doubtful is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oca.http.errors import RequestError
from oca.http.head import EMPTY_LINES_MAX, HEAD_BYTES_MAX, Fields, Line, take_head

Outcome = tuple[Line, Fields, int] | int | None


def feeds(raw: bytes) -> Iterator[list[bytes]]:
    """Whole, and byte by byte."""
    yield [raw]
    yield [raw[i : i + 1] for i in range(len(raw))]


def outcome(pieces: list[bytes]) -> Outcome:
    """What the parser says after these pieces: a head, the status of a refusal, or None."""
    buffer = b""
    for piece in pieces:
        buffer += piece
        try:
            taken = take_head(buffer)
        except RequestError as exc:
            return exc.status
        if taken is not None:
            return taken
    return None


def request(line: str = "GET /x HTTP/1.1", *fields: str) -> bytes:
    return "\r\n".join([line, *(fields or ("Host: h",)), "", ""]).encode("latin-1")


REFUSED = [
    (request("GET  /x HTTP/1.1"), 400),
    (request(" GET /x HTTP/1.1"), 400),
    (request("GET /x HTTP/1.1 "), 400),
    (request("GET\t/x\tHTTP/1.1"), 400),
    (request("GET /x"), 400),
    (request("GET /x http/1.1"), 400),
    (request("GET /x HTTP/1.10"), 400),
    (request("GET /x HTTP/2.0"), 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (request("GET /x HTTP/0.9"), 505),
    (request("get /x HTTP/1.1"), 501),
    (request("BREW /x HTTP/1.1"), 501),
    (request("G{T /x HTTP/1.1"), 400),
    (request("GET x HTTP/1.1"), 400),
    (request("GET * HTTP/1.1"), 400),
    (request("GET /x#f HTTP/1.1"), 400),
    (request("GET /\xe9 HTTP/1.1"), 400),
    (request("GET /a\\b HTTP/1.1"), 400),
    (request("GET http://u@h/x HTTP/1.1"), 400),
    (request("GET http:///x HTTP/1.1"), 400),
    (request("GET ftp://h/x HTTP/1.1"), 400),
    (request("GET http://[::1/ HTTP/1.1"), 400),
    (request("GET /" + "a" * 9000 + " HTTP/1.1"), 414),
    (request("GET /x HTTP/1.1", "A: b"), 400),
    (request("GET /x HTTP/1.1", "Host: a", "Host: a"), 400),
    (request("GET /x HTTP/1.1", "Host: a b"), 400),
    (request("GET /x HTTP/1.1", "Host: a:99999"), 400),
    (request("GET /x HTTP/1.1", "Host:"), 400),
    (request("GET /x HTTP/1.1", "Host: a,b"), 400),
    (request("GET /x HTTP/1.1", "Host: a..b"), 400),
    (request("GET /x HTTP/1.1", "Host: h", "A : b"), 400),
    (request("GET /x HTTP/1.1", "Host: h", " A: b"), 400),
    (request("GET /x HTTP/1.1", "Host: h", "A: b", "\tc"), 400),
    (request("GET /x HTTP/1.1", "Host: h", "A"), 400),
    (request("GET /x HTTP/1.1", "Host: h", ": b"), 400),
    (request("GET /x HTTP/1.1", "Host: h", "A: b\0c"), 400),
    (request("GET /x HTTP/1.1", "Host: h", "A: b\x7f"), 400),
    (request("GET /x HTTP/1.1", "Host: h", "A: b\rc"), 400),
    (b"GET /x HTTP/1.1\nHost: h\n\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    (request("POST /x HTTP/1.1", "Host: h", "Content-Length: 1", "Content-Length: 1"), 400),
    (request("POST /x HTTP/1.1", "Host: h", "Content-Length: 1, 1"), 400),
    (request("POST /x HTTP/1.1", "Host: h", "Content-Length: +1"), 400),
    (request("POST /x HTTP/1.1", "Host: h", "Content-Length: 0x1"), 400),
    (request("POST /x HTTP/1.1", "Host: h", "Content-Length: \xb2"), 400),
    (request("POST /x HTTP/1.1", "Host: h", "Content-Length: " + "9" * 30), 413),
    (
        request("POST /x HTTP/1.1", "Host: h", "Content-Length: 1", "Transfer-Encoding: chunked"),
        400,
    ),
    (request("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: chunked, chunked"), 400),
    (request("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: chunked, gzip"), 400),
    (request("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: xchunked"), 400),
    (request("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding:"), 400),
    (request("POST /x HTTP/1.1", "Host: h", "Transfer-Encoding: gzip, chunked"), 501),
    (request("POST /x HTTP/1.0", "Host: h", "Transfer-Encoding: chunked"), 400),
    (request("GET /x HTTP/1.1", "Host: h", "A: " + "b" * (HEAD_BYTES_MAX + 10)), 431),
    (request("GET /x HTTP/1.1", "Host: h", *["A: b"] * 300), 431),
    (request("GET /x HTTP/1.1", "Host: [v.a]"), 400),
    (request("GET /x HTTP/1.1", "Host: [vg.a]"), 400),
    (b"\r\n" * (EMPTY_LINES_MAX + 1), 400),
]


@pytest.mark.parametrize(("raw", "status"), REFUSED, ids=lambda v: repr(v)[:60])
def test_doubtful_heads_are_refused(raw: bytes, status: int) -> None:
    """The status is the same whole and byte by byte, and comes without waiting for more."""
    assert [outcome(pieces) for pieces in feeds(raw)] == [status, status]


ACCEPTED = [
    request(),
    b"\r\n" * EMPTY_LINES_MAX + request(),
    request("GET /x HTTP/1.1", "Host: [v1.fe80::a+en1]:80"),
    request("GET http://example.org:80/x?y HTTP/1.1", "Host: other"),
    request("GET HTTP://example.org HTTP/1.1", "Host: example.org:"),
    request("OPTIONS * HTTP/1.1"),
    request("GET /x HTTP/1.0", "A: b"),
    request("GET /x HTTP/1.7"),
    request("GET /a%20b;c=d/e~!$&'()*+,=:@?q=|{}^`[] HTTP/1.1", "Host: [::1]:8080"),
    request("POST /x HTTP/1.1", "Host: h", "content-LENGTH:\t007 "),
    request("POST /x HTTP/1.1", "Host: h", "tRANSFER-eNCODING: cHunked"),
    request("GET /x HTTP/1.1", "Host: h", "X_y: \xe9\tz", "Empty:", "Connection: a,,Close"),
]


@pytest.mark.parametrize("raw", ACCEPTED, ids=lambda v: repr(v)[:60])
def test_legal_heads_are_read_the_same_whole_and_byte_by_byte(raw: bytes) -> None:
    """A head is complete with its last byte, not before, and swallows nothing after it."""
    whole, bytewise = (outcome(pieces) for pieces in feeds(raw))
    assert isinstance(whole, tuple) and whole == bytewise
    assert whole[2] == len(raw)
    assert outcome([raw + b"GET /next"]) == whole


def test_what_a_head_says_is_understood() -> None:
    """Method, path, query, authority, framing and the connection's fate."""
    raw = request(
        "POST http://h:1/a%20b?c=d HTTP/1.1",
        "Host: x",
        "Content-Length: 007",
        "Connection: foo, CLOSE",
        "Range: bytes=0-1",
        'If-None-Match: "a"',
        'If-None-Match: "b"',
    )
    taken = take_head(raw)
    assert taken is not None
    line, fields, _ = taken
    assert line == Line("POST", b"/a%20b", b"c=d", b"h:1", 1)
    assert (fields.host, fields.length, fields.close, fields.plain) == (b"x", 7, True, False)
    assert (fields.range, fields.if_none_match) == (b"bytes=0-1", b'"a", "b"')


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Expect: 100-Continue"], b"100-continue"),
        (["Expect: 100-continue, ,100-continue"], b"100-continue"),
        (["Expect: 100-continue", "Expect: 100-continue"], b"100-continue"),
        (["Expect:"], None),
        (["Expect: 100-continue", "Expect: x"], b"100-continue, x"),
    ],
)
def test_expectations_are_a_list(lines: list[str], expected: bytes | None) -> None:
    """RFC 9110 §10.1.1: `Expect = #expectation`; the same one twice is one, none is nothing."""
    taken = take_head(request("GET /x HTTP/1.1", "Host: h", *lines))
    assert taken is not None and taken[1].expect == expected


def test_a_remembered_block_is_not_taken_for_another_version() -> None:
    """HTTP/1.0 may lack Host; the same remembered block is refused in HTTP/1.1."""
    assert isinstance(outcome([request("GET /x HTTP/1.0", "A: nohost")]), tuple)
    assert outcome([request("GET /x HTTP/1.1", "A: nohost")]) == 400


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_parser(raw: bytes) -> None:
    """Anything gives a head, a status of the 4xx/5xx that we know, or the wish for more."""
    got = outcome([raw])
    assert got is None or isinstance(got, tuple) or got in (400, 413, 414, 431, 501, 505)
    last = outcome([raw[i : i + 1] for i in range(len(raw))])
    assert isinstance(got, tuple) == isinstance(last, tuple) or isinstance(last, int)


@given(st.text(alphabet="GETHOS /x.1:\r\n\t,;=bytechunkd05-", max_size=120))
def test_near_requests_are_read_the_same_whole_and_bytewise(text: str) -> None:
    """A head that is accepted byte by byte is the one that is accepted whole."""
    raw = text.encode()
    whole = outcome([raw])
    if isinstance(whole, tuple):
        assert outcome([raw[i : i + 1] for i in range(len(raw))]) == whole
