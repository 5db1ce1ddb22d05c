"""What ties chunks to one version of an object: equal validators, or they are never joined. Pure.

A strong entity tag does (RFC 9110 §8.8.3); else Last-Modified and the length together, which is
what a file server without tags can say (a date is strong when it was a while before the answer's,
§8.8.2.2). Whatever is said at all must be equal, so that a tag that changed is never overlooked.
"""

from __future__ import annotations

import re

import msgspec

from oca.http.dates import parse_date
from oca.through.freshness import Headers

DATE_STRONG_AFTER_S = 1.0
"""A file changed less than this before the answer may have changed again within that second."""

_ETAG = re.compile(r'(W/)?"[!#-~\x80-\xff]*"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,18})", re.IGNORECASE)


class Validators(msgspec.Struct, frozen=True):
    """As sent, empty when absent; `size` in bytes. `dated` says that the date is a strong one."""

    size: int
    etag: str = ""
    modified: str = ""
    dated: bool = False

    @property
    def is_strong(self) -> bool:
        """Whether parts of separate answers may be joined by them."""
        if self.etag:
            return not self.etag.startswith("W/") or self.dated
        return self.dated

    def same(self, other: Validators) -> bool:
        """Whether bytes of both are of one version."""
        return (
            self.is_strong
            and other.is_strong
            and (self.size, self.etag, self.modified) == (other.size, other.etag, other.modified)
        )

    @property
    def conditions(self) -> dict[str, str]:
        """Header fields that ask whether it has changed (§13.1)."""
        found = {}
        if self.etag:
            found["If-None-Match"] = self.etag
        if self.modified:
            found["If-Modified-Since"] = self.modified
        return found

    @property
    def if_range(self) -> dict[str, str]:
        """Header fields that make a range come only of this version (§13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return {"If-Range": self.etag}
        return {"If-Range": self.modified} if self.dated else {}


def validators_of(headers: Headers, size: int, now_s: float) -> Validators:
    """The validators of an answer about an object of `size` bytes; malformed ones count as none."""
    etag = headers.get("etag", "").strip()
    modified = headers.get("last-modified", "").strip()
    modified_s = parse_date(modified.encode("latin-1", "replace"), now_s)
    date_s = parse_date(headers.get("date", "").strip().encode("latin-1", "replace"), now_s)
    known_s = now_s if date_s is None else date_s
    return Validators(
        size=size,
        etag=etag if _ETAG.fullmatch(etag) else "",
        modified="" if modified_s is None else modified,
        dated=modified_s is not None and known_s - modified_s >= DATE_STRONG_AFTER_S,
    )


def content_range(headers: Headers) -> tuple[int, int, int | None] | None:
    """(first, last, whole size or None) of a Content-Range; None when it makes no sense (§14.4)."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        return None
    first, last = int(match.group(1)), int(match.group(2))
    size = None if match.group(3) == "*" else int(match.group(3))
    if last < first or (size is not None and last >= size):
        return None
    return first, last, size


def unsatisfied_size(headers: Headers) -> int | None:
    """The whole size that a 416 tells; None when it does not."""
    match = _UNSATISFIED.fullmatch(headers.get("content-range", "").strip())
    return None if match is None else int(match.group(1))
