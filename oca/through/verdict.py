"""What an upstream's answer is good for, judged by its head alone. Pure.

Everything that contradicts what was asked is `Broken`: it is neither stored nor passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from oca.through.freshness import Headers, is_explicit, why_not_stored
from oca.through.validators import Validators, content_range, unsatisfied_size, validators_of

LINES_BYTES_MAX = 16 * 1024
SMALL_BYTES_MAX = 64 * 1024
"""Answers without an object (errors, redirects) are kept in memory up to here, else passed."""

_CACHED_BY_DEFAULT = frozenset({204, 300, 301, 308, 404, 405, 410, 414, 501})  # RFC 9110 §15.1
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t !-~\x80-\xff]*")

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authentication-info",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""RFC 9110 §7.6.1; what Connection names is added."""

OURS = frozenset(
    {
        "accept-ranges", "access-control-allow-credentials", "access-control-allow-origin",
        "access-control-expose-headers", "age", "alt-svc", "content-length", "content-range",
        "content-type", "date", "server", "timing-allow-origin", "x-content-type-options",
    }
)  # fmt: skip
"""Said by us, of our own: the answer's framing, its age, and whom pages may be of."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the upstream was asked for: bytes `first`–`last` (both included), or all of it.

    `about` are the validators that it was asked not to send again, `head` a HEAD.
    """

    first: int | None = None
    last: int | None = None
    about: Validators | None = None
    head: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes `first`–`last` of an object, as `validators` say; `stored` unless `why` not.

    `ranges` says whether parts may be asked for.
    """

    validators: Validators
    first: int
    last: int
    ranges: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """304: what is held is still right."""


@dataclass(frozen=True, slots=True)
class Small:
    """An answer that is no object: an error, a redirect, nothing. `shared` if others who wait may
    have it, `kept` if those who come later may."""

    kept: bool
    shared: bool
    length: int | None


@dataclass(frozen=True, slots=True)
class Passing:
    """To be passed on as it is, to this client alone; `why` it is not stored."""

    why: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Not an answer to what was asked: 502."""

    why: str


@dataclass(frozen=True, slots=True)
class Beyond:
    """416: the object has `size` bytes, and none of those that were asked for."""

    size: int | None


Verdict = Body | Unchanged | Small | Passing | Broken | Beyond


def joined(raw: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields by lower-case name, several lines joined (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for name, value in raw:
        name = name.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def lines_of(raw: Iterable[tuple[str, str]], headers: Headers) -> bytes:
    """The header lines to pass on, each with its CRLF: end-to-end ones that we do not say."""
    named = {part.strip().lower() for part in headers.get("connection", "").split(",")}
    dropped = HOP_BY_HOP | OURS | named
    return b"".join(
        f"{name}: {value.strip()}\r\n".encode("latin-1", "replace")
        for name, value in raw
        if name.lower() not in dropped and _NAME.fullmatch(name) and _VALUE.fullmatch(value)
    )


def judge(status: int, headers: Headers, asked: Asked, now_s: float) -> Verdict:
    """The verdict on a head; `now_s` Unix time."""
    if status == 304:
        return Unchanged() if asked.about is not None else Broken("304 to what has no condition")
    if status == 206:
        return _part(headers, asked, now_s)
    if status == 200:
        return _whole(headers, asked, now_s)
    if status == 416 and asked.first is not None:
        return Beyond(unsatisfied_size(headers))
    if not 200 <= status <= 599:
        return Broken("no final status")
    length = _length(headers)
    if length is not None and length > SMALL_BYTES_MAX:
        return Passing("not an object")
    why = why_not_stored(headers)
    by_default = status in _CACHED_BY_DEFAULT or status >= 500  # those are kept for a moment only
    shared = not why or (status >= 500 and why not in ("private", "set-cookie"))
    return Small(not why and (is_explicit(headers) or by_default), shared, length)


def _whole(headers: Headers, asked: Asked, now_s: float) -> Verdict:
    length = _length(headers)
    if length is None:
        return Passing("no length")
    validators = validators_of(headers, length, now_s)
    ranges = asked.first is None and "none" not in headers.get("accept-ranges", "").lower()
    why = why_not_stored(headers) or _why_useless(headers, validators)
    return Body(validators, 0, length - 1, ranges, why)


def worth_keeping(status: int, headers: Headers, now_s: float) -> Validators | None:
    """The validators (of no size) of an answer without a length that others may have when it has
    come to its end, which only its coding can tell; None when nobody else may."""
    if status != 200 or "transfer-encoding" not in headers:
        return None
    validators = validators_of(headers, -1, now_s)
    why = why_not_stored(headers) or _why_useless(headers, validators)
    return None if why else validators


def _part(headers: Headers, asked: Asked, now_s: float) -> Verdict:
    found = content_range(headers)
    if asked.first is None or asked.last is None:
        return Broken("206 to what was no range")
    if found is None:
        return Broken("no such Content-Range")
    first, last, size = found
    if size is None:
        return Passing("no length")
    if first != asked.first or last != min(asked.last, size - 1):
        return Broken("another range than the one asked for")
    length = _length(headers)
    if length is not None and length != last - first + 1:
        return Broken("Content-Length is not that of Content-Range")
    validators = validators_of(headers, size, now_s)
    why = why_not_stored(headers) or _why_useless(headers, validators)
    if not why and not validators.is_strong and (first or last + 1 != size):
        why = "no validator"  # RFC 9111 §3.4: nothing that could be joined to it
    return Body(validators, first, last, True, why)


def _why_useless(headers: Headers, validators: Validators) -> str:
    """Neither fresh for any time nor possible to ask about: kept for nobody."""
    if is_explicit(headers) or validators.etag or validators.modified:
        return ""
    return "neither time nor validator"


def _length(headers: Headers) -> int | None:
    text = headers.get("content-length", "")
    if "transfer-encoding" in headers or not text.isascii() or not text.isdigit():
        return None
    return int(text[:18])
