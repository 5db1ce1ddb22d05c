"""Conditional requests in the order of RFC 9110 §13.2.2. Pure."""

from __future__ import annotations

import re

from oca.http.dates import parse_date
from oca.http.head import Fields

# One element of a list (RFC 9110 §5.6.1: empty elements are allowed); possessive, so linear.
_TAG = re.compile(rb'[\t ,]*+(W/)?("[!#-~\x80-\xff]*+")[\t ]*+(?:,|\Z)')

STRONG_AFTER_S = 1
"""A file changed less than this ago could change again within the same second of its date."""


def _tags(raw: bytes) -> list[tuple[bool, bytes]]:
    """The entity tags of a list as (weak, opaque tag); [] when it is not well-formed."""
    found, at = [], 0
    while match := _TAG.match(raw, at):
        found.append((match.group(1) is not None, match.group(2)))
        at = match.end()
    return found if not raw[at:].strip(b"\t ,") else []


def matches_strongly(raw: bytes, etag: bytes) -> bool:
    """If-Match: `*`, or one listed tag equal by strong comparison (§8.8.3.2)."""
    return raw == b"*" or (False, etag) in _tags(raw)


def matches_weakly(raw: bytes, etag: bytes) -> bool:
    """If-None-Match: `*`, or one listed tag equal by weak comparison."""
    return raw == b"*" or any(tag == etag for _, tag in _tags(raw))


def precondition(fields: Fields, etag: bytes, modified_s: int, now_s: float) -> int:
    """200 to go on, 304 or 412: the preconditions of a GET or HEAD, except If-Range.

    `etag` is strong, with its quotes; times are Unix seconds.
    """
    if fields.if_match is not None:
        if not matches_strongly(fields.if_match, etag):
            return 412
    elif fields.if_unmodified_since is not None:
        limit_s = parse_date(fields.if_unmodified_since, now_s)
        if limit_s is not None and modified_s > limit_s:
            return 412
    if fields.if_none_match is not None:
        return 304 if matches_weakly(fields.if_none_match, etag) else 200
    if fields.if_modified_since is not None:
        since_s = parse_date(fields.if_modified_since, now_s)
        if since_s is not None and modified_s <= since_s:
            return 304
    return 200


def range_applies(fields: Fields, etag: bytes, modified_s: int, now_s: float) -> bool:
    """Whether If-Range lets the Range be honoured: strong validators only (§13.1.5)."""
    raw = fields.if_range
    if raw is None:
        return True
    if raw.startswith((b'"', b"W/")):
        return raw == etag
    date_s = parse_date(raw, now_s)
    return date_s == modified_s and now_s - modified_s >= STRONG_AFTER_S
