"""What a player says of itself (CTA-5004, Common Media Client Data), kept for the events. Pure.

Asserted by the client, so never trusted alone: values are bounded and typed, the rest is dropped.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import msgspec

from oca.http.head import Fields, Line

TEXT_CHARS_MAX = 128
VALUE_BYTES_MAX = 4096

_ITEM = re.compile(rb'([a-z][a-zA-Z0-9_*.-]*)(?:=("(?:[^"\\]|\\.)*+"|[^,"]*+))?(?:,[ \t]*+|\Z)')


class Cmcd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The keys of version 1; None where the player said nothing.

    br, tb, mtp, rtp in kb/s; bl, d, dl in ms; bs and su are flags.
    """

    br: int | None = None
    bl: int | None = None
    bs: bool | None = None
    cid: str | None = None
    d: int | None = None
    dl: int | None = None
    mtp: int | None = None
    nor: str | None = None
    nrr: str | None = None
    ot: str | None = None
    pr: float | None = None
    rtp: int | None = None
    sf: str | None = None
    sid: str | None = None
    st: str | None = None
    su: bool | None = None
    tb: int | None = None
    v: int | None = None


_NUMBERS = frozenset({"br", "bl", "d", "dl", "mtp", "rtp", "tb", "v"})
_FLAGS = frozenset({"bs", "su"})


def parse_cmcd(raw: bytes) -> Cmcd:
    """Read `key=value,…` (headers joined, or the decoded query value); bad items are dropped."""
    found: dict[str, object] = {}
    at = 0
    raw = raw[:VALUE_BYTES_MAX]
    while match := _ITEM.match(raw, at):
        at = match.end()
        key = match.group(1).decode()
        value = _value(key, match.group(2))
        if key in Cmcd.__struct_fields__ and value is not None:
            found[key] = value
    return msgspec.convert(found, Cmcd)


def _value(key: str, raw: bytes | None) -> object:
    if key in _FLAGS:
        return raw in (None, b"true", b"?1")  # the last as RFC 8941 writes it
    if raw is None:
        return None
    if key in _NUMBERS:
        return int(raw) if raw.isdigit() and len(raw) < 16 else None
    if key == "pr":
        return float(raw) if re.fullmatch(rb"\d{1,6}(\.\d{1,6})?", raw) else None
    text = raw[1:-1].replace(b'\\"', b'"') if raw.startswith(b'"') else raw
    return text.decode("utf-8", "replace")[:TEXT_CHARS_MAX]


def cmcd_of(line: Line, fields: Fields) -> Cmcd | None:
    """What the request carries, in headers or in the query argument `CMCD`; None for nothing."""
    if fields.cmcd:
        return parse_cmcd(b",".join(fields.cmcd))
    if line.query is None:
        return None
    for argument in line.query.split(b"&"):
        if argument.startswith(b"CMCD="):
            return parse_cmcd(unquote_to_bytes(argument[5:]))
    return None
