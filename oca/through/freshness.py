"""How long a response may be used, and what may be kept at all: RFC 9111 and RFC 5861. Pure.

As a shared cache, and on the safe side: what contradicts itself is stale, qualified forms of
`private` and `no-cache` count as the unqualified ones. Times are Unix seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from oca.http.dates import parse_date

HEURISTIC_SHARE = 0.1  # RFC 9111 §4.2.2 names this fraction of the time since Last-Modified
HEURISTIC_MAX_S = 3600.0
"""Without a word of the origin's: an hour at most, then it is asked again."""

SECONDS_MAX = 2**31  # RFC 9111 §1.2.2

_DIRECTIVE = re.compile(r'[\t ,]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=("(?:[^"\\]|\\.)*"|[^",\t ]*))?')
_HARMLESS_VARY = frozenset({"accept-encoding", "origin"})
"""Of these nothing goes upstream but what is always the same (identity; none)."""

Headers = Mapping[str, str]
"""Header fields by lower-case name, several lines of one joined by `, `."""


class Freshness(msgspec.Struct, frozen=True):
    """When a response came (`at_s`), how old it was then, and for how long it may be used.

    After `life_s` of age: within `revalidate_s` it may be used while it is asked for anew, within
    `error_s` when that fails. `strict` says that it must never be used stale.
    """

    at_s: float
    age_s: float
    life_s: float
    revalidate_s: float = 0.0
    error_s: float = 0.0
    strict: bool = False

    def age_at(self, now_s: float) -> float:
        """Current age in seconds (§4.2.3); a clock that went back makes nothing younger."""
        return self.age_s + max(0.0, now_s - self.at_s)

    def fresh_for_s(self, now_s: float) -> float:
        """Seconds that are left; negative when stale for so long. A clock set far back is stale."""
        if now_s < self.at_s - HEURISTIC_MAX_S:
            return -0.0
        return self.life_s - self.age_at(now_s)

    def usable_meanwhile(self, now_s: float) -> bool:
        """Whether it may be used while it is being asked for (RFC 5861 §3)."""
        return not self.strict and -self.fresh_for_s(now_s) < self.revalidate_s

    def usable_on_error(self, now_s: float, disconnected_s: float) -> bool:
        """Whether it may be used as the upstream fails (RFC 5861 §4).

        `disconnected_s` is what we allow of our own when there is no answer at all, 0 for a 5xx.
        """
        return not self.strict and -self.fresh_for_s(now_s) < max(self.error_s, disconnected_s)


def directives(headers: Headers) -> dict[str, str]:
    """The directives of Cache-Control; of one that comes twice the smaller number holds."""
    found: dict[str, str] = {}
    raw, at = headers.get("cache-control", ""), 0
    while match := _DIRECTIVE.match(raw, at):
        at = match.end()
        name, value = match.group(1).lower(), (match.group(2) or "").strip('"')
        if name in found and found[name] != value:
            value = str(min(_seconds(found[name]), _seconds(value)))
        found[name] = value
    if raw[at:].strip("\t ,"):
        found.setdefault("no-cache", "")  # not understood: ask again each time
    return found


def _seconds(text: str) -> int:
    """Delta-seconds; what is none counts as no time at all (§4.2.1)."""
    if not text.isascii() or not text.isdigit():
        return 0
    return min(int(text[:12]), SECONDS_MAX)


def why_not_stored(headers: Headers) -> str:
    """Why a complete answer to a GET may not be kept by a shared cache; empty when it may (§3)."""
    said = directives(headers)
    for name in ("no-store", "private"):
        if name in said:
            return name
    if "set-cookie" in headers:
        return "set-cookie"
    vary = {name.strip().lower() for name in headers.get("vary", "").split(",")} - {""}
    if vary - _HARMLESS_VARY:
        return "vary"
    return ""


def freshness_of(headers: Headers, asked_s: float, now_s: float) -> Freshness:
    """The freshness of a response asked for at `asked_s`, whose head came at `now_s`."""
    said = directives(headers)
    date_s = _date(headers.get("date"), now_s)
    date_s = now_s if date_s is None else date_s
    age = _seconds(headers.get("age", "0").partition(",")[0].strip())
    initial_s = max(0.0, now_s - date_s, age + max(0.0, now_s - asked_s))
    strict = not said.keys().isdisjoint(
        {"must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"}
    )
    return Freshness(
        at_s=now_s,
        age_s=initial_s,
        life_s=0.0 if "no-cache" in said else _life(said, headers, date_s, now_s),
        revalidate_s=_seconds(said.get("stale-while-revalidate", "0")),
        error_s=_seconds(said.get("stale-if-error", "0")),
        strict=strict,
    )


def is_explicit(headers: Headers) -> bool:
    """Whether the origin said itself how long (§4.2.1)."""
    return not directives(headers).keys().isdisjoint({"max-age", "s-maxage"}) or (
        "expires" in headers
    )


def _life(said: Mapping[str, str], headers: Headers, date_s: float, now_s: float) -> float:
    for name in ("s-maxage", "max-age"):
        if name in said:
            return _seconds(said[name])
    if "expires" in headers:
        expires_s = _date(headers["expires"], now_s)  # not a date, like "0": in the past
        return 0.0 if expires_s is None else max(0.0, expires_s - date_s)
    modified_s = _date(headers.get("last-modified"), now_s)
    if modified_s is None or modified_s >= date_s:
        return 0.0
    return min((date_s - modified_s) * HEURISTIC_SHARE, HEURISTIC_MAX_S)


def _date(text: str | None, now_s: float) -> float | None:
    return None if text is None else parse_date(text.strip().encode("latin-1", "replace"), now_s)
