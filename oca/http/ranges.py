"""Byte ranges (RFC 9110 §14): what was asked → spans of the file, coalesced and bounded. Pure."""

from __future__ import annotations

import re

RANGES_MAX = 64  # players ask for one; more than this is an attack or a mistake, and is ignored
DIGITS_MAX = 40  # a position of more digits is beyond every file; keeps integers small

_SET = re.compile(rb"bytes=(.*)", re.IGNORECASE | re.DOTALL)
_SPEC = re.compile(rb"(\d*)-(\d*)")

Span = tuple[int, int]
"""(offset, length) in bytes, inside the file, length > 0."""


def parse_ranges(raw: bytes, size: int) -> list[Span] | None:
    """The spans a Range value asks for in a file of `size` bytes, in the order asked.

    None when the field is to be ignored (another unit, not well-formed, too many); an empty list
    when it is well-formed and cannot be satisfied (416). Overlapping and adjacent ranges come back
    as one, at the place of the first of them (§15.3.7.2), so the spans never exceed the file.
    """
    match = _SET.fullmatch(raw)
    if match is None:
        return None
    if match.group(1)[:1] in (b" ", b"\t"):
        return None  # blanks are allowed around commas only (§5.6.1)
    specs = [spec for part in match.group(1).split(b",") if (spec := part.strip(b"\t "))]
    if not specs or len(specs) > RANGES_MAX:
        return None
    spans = []
    for spec in specs:
        bounds = _bounds(spec)
        if bounds is None:
            return None
        span = _clip(bounds, size)
        if span is not None:
            spans.append(span)
    return spans if len(spans) < 2 else _coalesce(spans)


def _bounds(spec: bytes) -> tuple[int | None, int | None] | None:
    """(first, last) as sent, None where absent; None altogether when it is not a range-spec."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    low = _position(first) if first else None
    high = _position(last) if last else None
    if low is not None and high is not None and high < low:
        return None
    return low, high


def _position(digits: bytes) -> int:
    return int(digits.lstrip(b"0")[:DIGITS_MAX] or b"0")


def _clip(bounds: tuple[int | None, int | None], size: int) -> Span | None:
    low, high = bounds
    if low is None:
        length = min(high or 0, size)
        return (size - length, length) if length else None
    if low >= size:
        return None
    end = size if high is None else min(high + 1, size)
    return low, end - low


def _coalesce(spans: list[Span]) -> list[Span]:
    order = sorted(range(len(spans)), key=lambda i: spans[i])
    merged: list[tuple[int, int, int]] = []  # (place of the first asked, start, end)
    for i in order:
        start, end = spans[i][0], spans[i][0] + spans[i][1]
        if merged and start <= merged[-1][2]:
            place, first, last = merged[-1]
            merged[-1] = (min(place, i), first, max(last, end))
        else:
            merged.append((i, start, end))
    return [(start, end - start) for _, start, end in sorted(merged)]


_PATH_RANGE = re.compile(rb"(.+)/range/(\d{1,18})-(\d{1,18})/?")


def split_path_range(path: bytes) -> tuple[bytes, int, int] | None:
    """`…/range/START-END[/]` → (path before it, start, end), both included; None when it is none.

    That is how Netflix's players ask for a part: the part is then a resource of its own, answered
    200, so that any cache keeps it under its URL.
    """
    match = _PATH_RANGE.fullmatch(path)
    if match is None:
        return None
    return match.group(1), int(match.group(2)), int(match.group(3))
