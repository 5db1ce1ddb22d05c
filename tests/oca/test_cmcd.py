"""What players say of themselves is read from headers or query, bounded, and never trusted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oca.http.cmcd import Cmcd, cmcd_of, parse_cmcd
from oca.http.head import take_head


def ask(target: str, *fields: str) -> Cmcd | None:
    raw = "\r\n".join([f"GET {target} HTTP/1.1", "Host: h", *fields, "", ""]).encode()
    taken = take_head(raw)
    assert taken is not None
    return cmcd_of(taken[0], taken[1])


def test_headers_and_query_say_the_same() -> None:
    """CTA-5004: four headers, or one query argument, percent-encoded."""
    wanted = Cmcd(br=3200, bs=True, d=4004, mtp=25400, sid="6e2f-1", su=True)
    fields = (
        "CMCD-Object: br=3200,d=4004",
        "CMCD-Request: mtp=25400,su",
        'CMCD-Session: sid="6e2f-1"',
        "CMCD-Status: bs",
    )
    query = "/x?a=b&CMCD=br%3D3200%2Cbs%2Cd%3D4004%2Cmtp%3D25400%2Csid%3D%226e2f-1%22%2Csu"
    assert ask("/x", *fields) == ask(query) == wanted
    assert ask("/x?CMC=1") is None


def test_bad_items_are_dropped_and_good_ones_kept() -> None:
    """Wrong types, unknown keys, unfinished strings."""
    assert parse_cmcd(b'br=abc,bl=100,foo=1,rtp=-5,com.x-y="z",d=5') == Cmcd(bl=100, d=5)
    assert parse_cmcd(b'bl=100,sid="unfinished') == Cmcd(bl=100)


@given(st.binary(max_size=200))
def test_no_bytes_crash_it(raw: bytes) -> None:
    """Anything is read as something, if only as nothing."""
    assert isinstance(parse_cmcd(raw), Cmcd)
