"""A request target → the key of an object, which is also what the upstream is asked for. Pure.

Equal targets have one key (RFC 3986 §6.2.2: escapes of unreserved characters are decoded, others
in upper case), and doubtful ones are refused as for files on the disk. CMCD arguments are for the
first cache that they meet (CTA-5004), and would make every request another object.
"""

from __future__ import annotations

import re

from oca.http.errors import RequestError
from oca.http.target import decode_path

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_CMCD = re.compile(rb"(?i:cmcd)(?:=|\Z)")


def key_of(path: bytes, query: bytes | None) -> str:
    """The canonical origin-form target of `path` and `query` (raw, as sent).

    Raises RequestError 400 for dot segments, encoded separators, controls and broken escapes.
    """
    decode_path(path)
    canonical = _ESCAPE.sub(_unescape, path)
    kept = [] if query is None else [a for a in query.split(b"&") if not _CMCD.match(a)]
    if query is not None and (kept or not query):
        canonical += b"?" + _ESCAPE.sub(_unescape, b"&".join(kept))
    return canonical.decode("ascii")


def _unescape(match: re.Match[bytes]) -> bytes:
    digits = match.group(1)
    if digits is None:
        raise RequestError(400, "bad percent-encoding")
    code = int(digits, 16)
    return bytes((code,)) if code in _UNRESERVED else b"%%%02X" % code
