"""Whose request it is: RFC 7239 read strictly, and believed from listed proxies only."""

from __future__ import annotations

import pytest

from steering.forwarded import client_of, parse_proxies
from wire.errors import WireError

PROXIES = parse_proxies(["10.0.0.0/8", "fd00::1"], "steering.toml")


@pytest.mark.parametrize(
    "header, client",
    [
        ("", "10.0.0.1"),
        ("for=192.0.2.43", "192.0.2.43"),
        ("For=192.0.2.43;proto=https;by=10.0.0.1", "192.0.2.43"),
        ('for="192.0.2.43:47011"', "192.0.2.43"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ('by=1.2.3.4 ; for="[2001:db8:cafe::17]"', "2001:db8:cafe::17"),
        ("for=198.51.100.1, for=192.0.2.43", "192.0.2.43"),
        ("for=192.0.2.43, for=10.2.3.4", "192.0.2.43"),
        ("for=203.0.113.9, for=192.0.2.43, for=10.2.3.4", "192.0.2.43"),
        ("for=192.0.2.43, for=unknown", "10.0.0.1"),
        ("for=192.0.2.43, for=_hidden, for=10.2.3.4", "10.2.3.4"),
        ("for=192.0.2.43, proto=http", "10.0.0.1"),
        ("for=2001:db8::1", None),
        ("for=192.0.2.43; ", None),
        ("for = 192.0.2.43", None),
        ('for="192.0.2.43', None),
        ("192.0.2.43", None),
        ("for=[::1]", None),
        ("for=" + "1" * 3000, None),
        ("for=999.1.1.1", None),
    ],
)
def test_header_of_a_listed_proxy(header: str, client: str | None) -> None:
    """The last hop that no listed proxy is; what is not RFC 7239 is refused, naming the header."""
    if client is None:
        with pytest.raises(WireError) as refused:
            client_of("10.0.0.1", header, PROXIES)
        assert refused.value.where == "Forwarded"
    else:
        assert client_of("10.0.0.1", header, PROXIES).text == client


@pytest.mark.parametrize("header", ["for=192.0.2.43", "complete nonsense"])
def test_header_of_anybody_else_is_not_even_read(header: str) -> None:
    """Who could name an address would choose an appliance."""
    assert client_of("192.0.2.99", header, PROXIES).text == "192.0.2.99"
    assert client_of("10.0.0.1", header, ()).text == "10.0.0.1"


def test_proxies_that_are_no_prefixes_are_named() -> None:
    """The operator learns which entry is wrong."""
    with pytest.raises(WireError, match=r"proxies\[1\]"):
        parse_proxies(["10.0.0.0/8", "proxy.example"], "steering.toml")
