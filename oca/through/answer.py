"""From a view of an object to the head of an answer and what is to be sent after it. Pure.

Conditions and ranges are answered by oca.http.respond, from cached facts, as for files on the disk.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from oca.http.dates import parse_date
from oca.http.head import Fields, Line
from oca.http.respond import COMMON, Facts, Plan, refuse, respond, start_of
from oca.through.messages import Found, View

_KNOWN = frozenset(status.value for status in HTTPStatus)
_BODILESS = frozenset({204, 304})
_SHARING = frozenset({"", "private", "proxy-revalidate", "public", "s-maxage"})
"""Directives for shared caches, which a client's own answer has none of."""


class Told(msgspec.Struct, frozen=True):
    """What Cache-Status says (RFC 9211): why the upstream was asked ("" for a hit), what it said
    (0: nothing), whether others asked as well, whether the answer is kept; `ttl_s` is left."""

    forward: str = ""
    status: int = 0
    collapsed: bool = False
    stored: bool = False


def told_of(found: Found) -> Told:
    """What the fetcher said of one question."""
    return Told(found.forward, found.status, found.collapsed, found.stored)


def cache_status(name: str, told: Told, ttl_s: float) -> bytes:
    """The header line, with its CRLF."""
    member = name if name[:1].isalpha() else f'"{name}"'
    if not told.forward:
        return f"Cache-Status: {member}; hit; ttl={int(ttl_s)}\r\n".encode()
    text = f"{member}; fwd={told.forward}"
    if told.status:
        text += f"; fwd-status={told.status}"
    if told.stored:
        text += f"; ttl={int(ttl_s)}; stored"
    if told.collapsed:
        text += "; collapsed"
    return f"Cache-Status: {text}\r\n".encode()


def with_cookie(view: View, cookie: bytes) -> View:
    """The view for one client, to whom the next token of a chain goes (RFC 9246 §3.3): no cache
    after us may share it, whatever the origin said of the object."""
    lines, said = [], ["private"]
    for line in view.lines.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() != b"cache-control":
            lines.append(line)
            continue
        parts = [part.strip() for part in value.decode("latin-1").split(",")]
        said += [part for part in parts if part.partition("=")[0].strip().lower() not in _SHARING]
    control = f"Cache-Control: {', '.join(said)}\r\n".encode("latin-1")
    more = control + b"Set-Cookie: " + cookie + b"\r\n"
    return msgspec.structs.replace(view, lines=b"\r\n".join(lines) + more)


def plan_of(
    line: Line,
    fields: Fields,
    view: View,
    extra: bytes,
    *,
    date: bytes,
    now_s: float,
    close: bool,
    boundary: bytes,
) -> Plan:
    """The plan of an answer; its spans are of the object. `extra` are Age and Cache-Status."""
    own_date = view.date.encode("latin-1", "replace")
    date = own_date if parse_date(own_date, now_s) is not None else date
    if view.alone or view.body is not None or view.size is None:
        return _as_it_is(line, view, extra, date, close)
    modified_s = parse_date(view.modified.encode("latin-1", "replace"), now_s)
    facts = Facts(
        size=view.size,
        etag=_tag(fields, view.etag),
        modified_s=modified_s or 0,
        media_type=view.media_type.encode("latin-1", "replace"),
        lines=b"%b%bAccept-Ranges: bytes\r\n" % (view.lines, extra),
    )
    if modified_s is None:  # RFC 9110 §13.1.3, §13.1.4: ignored where there is no date
        fields = msgspec.structs.replace(fields, if_modified_since=None, if_unmodified_since=None)
    return respond(
        line, fields, facts, date=date, now_s=now_s, close=close, boundary=boundary
    )  # fmt: skip


def _tag(fields: Fields, etag: str) -> bytes:
    """The tag to compare with: a weak one is equal to none where comparison is strong."""
    raw = etag.encode("latin-1", "replace")
    if not raw.startswith(b"W/"):
        return raw
    return b"" if fields.if_match is not None or fields.if_range is not None else raw[2:]


def _as_it_is(line: Line, view: View, extra: bytes, date: bytes, close: bool) -> Plan:
    """What is passed on: conditions and ranges were the upstream's to judge."""
    length, framing = view.size, b""
    if length is not None and view.status not in _BODILESS:
        framing = b"Content-Length: %d\r\n" % length
    elif length is None and line.minor:
        framing = b"Transfer-Encoding: chunked\r\n"
    elif length is None and line.method != "HEAD":
        close = True  # HTTP/1.0: the end of the connection is the end of the body
    if view.media_type:
        framing += b"Content-Type: " + view.media_type.encode("latin-1", "replace") + b"\r\n"
    ending = b"\r\n"
    if close:
        ending = b"Connection: close\r\n\r\n"
    elif not line.minor:
        ending = b"Connection: keep-alive\r\n\r\n"
    head = b"".join((_start(view.status, date), COMMON, view.lines, extra, framing, ending))
    if line.method == "HEAD" or view.status in _BODILESS or length == 0:
        return Plan(view.status, head, (), 0, close)
    if view.body is not None:
        return Plan(view.status, head, (view.body,), len(view.body), close)
    return Plan(view.status, head, ((0, length or 0),), length or 0, close)


def _start(status: int, date: bytes) -> bytes:
    if status in _KNOWN:
        return start_of(status, date)
    return b"HTTP/1.1 %d Unknown\r\nDate: %b\r\n" % (status, date)


def failure(
    line: Line, status: int, *, date: bytes, close: bool, name: str, size: int | None
) -> Plan:
    """The answer when there is nothing to serve: 416 with the size, 502, 503, 504."""
    extra = cache_status(name, Told("uri-miss"), 0)
    if status == 416 and size is not None:
        extra += b"Content-Range: bytes */%d\r\n" % size
    if status == 503:
        extra += b"Retry-After: 1\r\n"
    return refuse(status, date=date, line=line, close=close, extra=extra)
