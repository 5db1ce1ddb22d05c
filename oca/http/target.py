"""A URL path → the segments of a file's name, or nothing: no traversal in any encoding. Pure.

Segments are decoded once and compared as bytes; whatever could be read as another separator or as a
step upwards is refused, never repaired, so that what a token was matched against is what is opened.
"""

from __future__ import annotations

import re

from oca.http.errors import RequestError

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f/\\]")


def _unescape(match: re.Match[bytes]) -> bytes:
    digits = match.group(1)
    if digits is None:
        raise RequestError(400, "bad percent-encoding")
    return bytes((int(digits, 16),))


def decode_path(path: bytes) -> tuple[bytes, ...] | None:
    """The decoded segments of a path that may name a file; None when no file can have it (404).

    `path` is raw, begins with `/`, and carries no query. Folders (a slash at the end), empty
    segments and dot files name nothing. Raises RequestError 400 for `.` and `..`, encoded slashes,
    backslashes, controls and broken escapes.
    """
    segments = path.split(b"/")[1:]
    if b"%" in path:
        segments = [_ESCAPE.sub(_unescape, segment) for segment in segments]
    found = True
    for segment in segments:
        if segment in (b".", b".."):
            raise RequestError(400, "dot segment")
        if _UNSAFE.search(segment):
            raise RequestError(400, "separator or control in a segment")
        if not segment or segment.startswith(b"."):
            found = False
    return tuple(segments) if found else None
