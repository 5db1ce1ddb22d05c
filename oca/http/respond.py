"""From a parsed request and the facts of a file to what shall be sent. Pure: spans, never bytes.

The order is RFC 9110 §13.2.2: preconditions first, then If-Range and Range, on GET only.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from oca.http.conditions import precondition, range_applies
from oca.http.dates import http_date
from oca.http.head import Fields, Line
from oca.http.ranges import Span, parse_ranges
from wire.problem import PROBLEM_TYPE, Problem

ALLOW = b"Allow: GET, HEAD, OPTIONS\r\n"

# Players run in pages of other origins (Fetch standard, CORS); what they may read is named.
_OPEN = b"Access-Control-Allow-Origin: *\r\nTiming-Allow-Origin: *\r\n"
COMMON = (
    b"Server: oca\r\n"
    + _OPEN
    + b"Access-Control-Expose-Headers: Accept-Ranges, Cache-Status, CMSD-Dynamic, CMSD-Static, "
    b"Content-Length, Content-Range, Date, ETag, Last-Modified, Retry-After\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
)
_PREFLIGHT = (
    b"Server: oca\r\n"
    + _OPEN
    + b"Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"
    + b"Access-Control-Max-Age: 86400\r\n"
    + ALLOW
)
_USUAL_HEADERS = (
    b"Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range, "
    b"Authorization, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, Pace-Bps"
)


class Facts(msgspec.Struct, frozen=True):
    """What is known of a file, or of a part of it that has a URL of its own.

    `size` and `offset` in bytes, `modified_s` in Unix seconds; `etag` is strong, with its quotes.
    `lines` are the header lines that 200, 206 and 304 all carry, each with its CRLF.
    """

    size: int
    etag: bytes
    modified_s: int
    media_type: bytes
    lines: bytes
    offset: int = 0


class Plan(msgspec.Struct, frozen=True):
    """What to send: `head` whole, then `parts` in order (bytes, or (offset, length) of the file).

    `body_bytes` is the sum of the parts; `close` says that the connection ends after it.
    """

    status: int
    head: bytes
    parts: tuple[bytes | Span, ...]
    body_bytes: int
    close: bool


def with_line(plan: Plan, line: bytes) -> Plan:
    """The same answer with one more header line (its CRLF included)."""
    return msgspec.structs.replace(plan, head=plan.head[:-2] + line + b"\r\n")


def facts_of(
    size: int, etag: bytes, modified_s: int, media_type: bytes, cache_control: bytes, server: str
) -> Facts:
    """Gather the facts of a whole file; `server` names this cache in Cache-Status (RFC 9211)."""
    name = server if server[:1].isalpha() else f'"{server}"'
    lines = (
        b"ETag: " + etag + b"\r\nLast-Modified: " + http_date(modified_s) + b"\r\nCache-Control: "
        b"" + cache_control + b"\r\nCache-Status: " + name.encode() + b"; hit\r\n"
        b"Accept-Ranges: bytes\r\n"
    )
    return Facts(size, etag, modified_s, media_type, lines)


def part_of(facts: Facts, first: int, last: int) -> Facts | None:
    """The facts of bytes `first`–`last` (both included) as a resource of its own; None if outside.

    It has an entity tag of its own, for it is another representation than the whole file.
    """
    if first > last or first >= facts.size:
        return None
    length = min(last + 1, facts.size) - first
    etag = facts.etag[:-1] + b"-%d-%d" % (first, first + length - 1) + b'"'
    lines = facts.lines.replace(facts.etag, etag, 1)
    return Facts(length, etag, facts.modified_s, facts.media_type, lines, first)


_REASONS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: ".encode()
    for status in HTTPStatus
}


def start_of(status: int, date: bytes) -> bytes:
    """Status line and Date: what every head begins with; `date` is an IMF-fixdate."""
    return _REASONS[status] + date + b"\r\n"


def closes(line: Line, fields: Fields) -> bool:
    """Whether the connection ends after the answer (RFC 9112 §9.3)."""
    return fields.close or (line.minor == 0 and not fields.keep_alive)


def _ending(line: Line, close: bool) -> bytes:
    """The last lines of a head: what becomes of the connection, and the empty line."""
    if close:
        return b"Connection: close\r\n\r\n"
    return b"Connection: keep-alive\r\n\r\n" if line.minor == 0 else b"\r\n"


def whole_tail(facts: Facts) -> bytes:
    """The head of a plain 200 after its Date: for the hot path, which keeps it by the file."""
    return part_tail(facts) + b"Content-Length: %d\r\n\r\n" % facts.size


def part_tail(facts: Facts) -> bytes:
    """The head of a 206 of one span between its Date and its Content-Length."""
    return b"%b%bContent-Type: %b\r\n" % (COMMON, facts.lines, facts.media_type)


def respond(
    line: Line,
    fields: Fields,
    facts: Facts,
    *,
    date: bytes,
    now_s: float,
    close: bool,
    boundary: bytes,
) -> Plan:
    """The answer to a GET or HEAD of a file that exists and may be served.

    `close` ends the connection after it (`closes`, or a reason of the server's own); `boundary`
    parts a multipart answer and must not be guessable, so that no file contains it.
    """
    verdict = precondition(fields, facts.etag, facts.modified_s, now_s)
    if verdict == 412:
        return refuse(412, date=date, line=line, close=close)
    if verdict == 304:
        head = start_of(304, date) + COMMON + facts.lines + _ending(line, close)
        return Plan(304, head, (), 0, close)
    spans = None
    if (
        fields.range is not None
        and line.method == "GET"
        and range_applies(fields, facts.etag, facts.modified_s, now_s)
    ):
        spans = parse_ranges(fields.range, facts.size)
    if spans is None or (not spans and not facts.size):
        return _whole(line, facts, date, close)
    if not spans:
        extra = b"Content-Range: bytes */%d\r\n" % facts.size
        return refuse(416, date=date, line=line, close=close, extra=extra)
    if len(spans) == 1:
        return _single(line, facts, spans[0], date, close)
    return _multipart(line, facts, spans, date, close, boundary)


def _whole(line: Line, facts: Facts, date: bytes, close: bool) -> Plan:
    described = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (facts.media_type, facts.size)
    head = start_of(200, date) + COMMON + facts.lines + described + _ending(line, close)
    if line.method == "HEAD" or not facts.size:
        return Plan(200, head, (), 0, close)
    return Plan(200, head, ((facts.offset, facts.size),), facts.size, close)


def _content_range(span: Span, size: int) -> bytes:
    return b"Content-Range: bytes %d-%d/%d\r\n" % (span[0], span[0] + span[1] - 1, size)


def _single(line: Line, facts: Facts, span: Span, date: bytes, close: bool) -> Plan:
    described = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (facts.media_type, span[1])
    head = b"".join(
        (
            start_of(206, date),
            COMMON,
            facts.lines,
            described,
            _content_range(span, facts.size),
            _ending(line, close),
        )
    )
    return Plan(206, head, ((facts.offset + span[0], span[1]),), span[1], close)


def _multipart(
    line: Line, facts: Facts, spans: list[Span], date: bytes, close: bool, boundary: bytes
) -> Plan:
    """RFC 9110 §14.6: every part with its own Content-Type and Content-Range."""
    typed = b"Content-Type: %b\r\n" % facts.media_type
    parts: list[bytes | Span] = []
    before = b"--" + boundary + b"\r\n"
    for span in spans:
        parts.append(before + typed + _content_range(span, facts.size) + b"\r\n")
        parts.append((facts.offset + span[0], span[1]))
        before = b"\r\n--" + boundary + b"\r\n"
    parts.append(b"\r\n--" + boundary + b"--\r\n")
    length = sum(len(part) if isinstance(part, bytes) else part[1] for part in parts)
    described = b"Content-Type: multipart/byteranges; boundary=%b\r\nContent-Length: %d\r\n" % (
        boundary,
        length,
    )
    head = start_of(206, date) + COMMON + facts.lines + described + _ending(line, close)
    return Plan(206, head, tuple(parts), length, close)


# --- answers without a file ----------------------------------------------------------------------


_PLAIN_LINE = Line("GET", b"/", None, None, 1)
_BODIES: dict[int, bytes] = {
    status.value: msgspec.json.encode(Problem(status=status.value, title=status.phrase)) + b"\n"
    for status in HTTPStatus
    if status >= 400
}


def refuse(
    status: int, *, date: bytes, line: Line | None = None, close: bool, extra: bytes = b""
) -> Plan:
    """An error answer with a problem document (RFC 9457) that never says more than its status.

    `line` is None when there was none that could be read; `extra` are header lines.
    """
    body = _BODIES[status]
    head = b"".join(
        (
            start_of(status, date),
            COMMON,
            b"Cache-Control: no-store\r\n",
            extra,
            b"Content-Type: %b\r\nContent-Length: %d\r\n" % (PROBLEM_TYPE.encode(), len(body)),
            _ending(line or _PLAIN_LINE, close),
        )
    )
    if line is not None and line.method == "HEAD":
        return Plan(status, head, (), 0, close)
    return Plan(status, head, (body,), len(body), close)


def options(line: Line, fields: Fields, *, date: bytes, close: bool) -> Plan:
    """The answer to OPTIONS, preflight or not: what players send is allowed, to everybody.

    The headers asked for are echoed (their grammar was checked by the parser); no credentials.
    """
    asked = fields.asked_headers
    allowed = asked if asked and len(asked) <= 1024 else _USUAL_HEADERS
    head = b"".join(
        (
            start_of(204, date),
            _PREFLIGHT,
            b"Access-Control-Allow-Headers: %b\r\n" % allowed,
            b"Vary: Access-Control-Request-Headers\r\n",
            _ending(line, close),
        )
    )
    return Plan(204, head, (), 0, close)


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
