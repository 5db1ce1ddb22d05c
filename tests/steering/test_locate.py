"""Locating and ranking: longest prefix and everything around it, against a naive reference."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.address import Client, parse_client, parse_prefix, prefix_text
from steering.decide import Ranking
from steering.locate import RouteTable
from steering.rank import rank_sites
from wire.errors import WireError
from wire.fleet import Site
from wire.ids import SiteKind
from wire.reports import Route


def site(name: str, kind: SiteKind = SiteKind.EMBEDDED, **more: float) -> Site:
    """A site of a kind."""
    return Site(id=name, kind=kind, **more)


# Few bits vary, so that prefixes nest, touch and repeat.
@st.composite
def prefixes(draw: st.DrawFn) -> str:
    """A legal prefix of either version, close to the others."""
    if draw(st.booleans()):
        bits = draw(st.integers(8, 24))
        value = draw(st.integers(0, 63)) << 18 | draw(st.sampled_from([0, 10 << 24, 255 << 24]))
        return prefix_text(4, value >> (32 - bits) << (32 - bits), bits)
    bits = draw(st.integers(8, 48))
    value = 0x20010DB8 << 96 | draw(st.integers(0, 63)) << draw(st.sampled_from([80, 100, 122]))
    return prefix_text(6, value >> (128 - bits) << (128 - bits), bits)


Said = list[tuple[str, str]]


@st.composite
def routes_and_address(draw: st.DrawFn) -> tuple[Said, str]:
    """Announcements, and an address at or just beyond an edge of one of them, or anywhere."""
    said = draw(st.lists(st.tuples(st.sampled_from("abc"), prefixes()), min_size=1, max_size=30))
    network = ipaddress.ip_network(draw(st.sampled_from(said))[1])
    first, last = int(network.network_address), int(network.broadcast_address)
    top = 2**network.max_prefixlen - 1
    edges = st.sampled_from([first, last, max(0, first - 1), min(top, last + 1)])
    value = draw(st.one_of(edges, st.integers(first, last), st.integers(0, top)))
    return said, str(type(network.network_address)(value))


@given(routes_and_address())
def test_locate_finds_every_matching_prefix_longest_first(case: tuple[Said, str]) -> None:
    """As a walk over all prefixes does, with the sites of each."""
    said, text = case
    address = ipaddress.ip_address(text)
    table = RouteTable((name, Route(prefix=prefix)) for name, prefix in said)
    networks = {ipaddress.ip_network(prefix) for _, prefix in said}
    naive = sorted((n for n in networks if address in n), key=lambda n: -n.prefixlen)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return
    found = table.locate(parse_client(text))
    assert [level.prefix for level in found] == [str(network) for network in naive]
    for level in found:
        announcers = {name for name, prefix in said if prefix == level.prefix}
        assert {one.site for one in level.sites} == announcers


def test_prefixes_that_begin_or_end_together_are_told_apart() -> None:
    """The inner one wins inside, the outer one takes over where the inner one ends."""
    said = ["10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.255.0.0/16", "10.255.255.0/24"]
    table = RouteTable(("a", Route(prefix=prefix)) for prefix in said)
    for text, bits in [("10.0.0.9", 24), ("10.0.1.0", 16), ("10.1.0.0", 8), ("10.255.255.255", 24),
                       ("10.255.254.255", 16), ("10.254.255.255", 8)]:  # fmt: skip
        assert table.locate(parse_client(text))[0].prefix.endswith(f"/{bits}")
    assert not table.locate(parse_client("11.0.0.0")) + table.locate(parse_client("9.255.255.255"))


def test_edges_of_a_prefix_are_inside_and_their_neighbours_are_not() -> None:
    """First and last address of /8 at the very end of the space, and the one before."""
    table = RouteTable([("a", Route(prefix="255.0.0.0/8")), ("b", Route(prefix="0.0.0.0/8"))])
    assert [len(table.locate(parse_client(text))) for text in (
        "255.255.255.255", "255.0.0.0", "254.255.255.255", "0.0.0.0", "0.255.255.255", "1.0.0.0"
    )] == [1, 1, 0, 1, 1, 0]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["10.0.0.0", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "256.0.0.0/8", "2001:db8::1/32",
             "10.0.0.0/²", "1.2.3.4/+8", ""]
)  # fmt: skip
def test_what_is_not_a_prefix_is_refused(text: str) -> None:
    """No address without length, no bits beyond the length, no odd digits."""
    with pytest.raises(ValueError):
        parse_prefix(text)


def test_v4_inside_v6_counts_as_v4() -> None:
    """A dual-stack socket reports ::ffff:1.2.3.4; logs and tables know 1.2.3.4."""
    assert parse_client("::ffff:192.0.2.9") == parse_client("192.0.2.9")
    assert parse_client("192.0.2.9").block_text == "192.0.2.0/24"
    assert parse_client("2001:db8:1:2::3").block_text == "2001:db8:1::/48"
    with pytest.raises(WireError, match="not an IP address"):
        parse_client("192.0.2.9:80")


SITES = {
    one.id: one
    for one in (
        site("isp"), site("isp2"), site("peer", SiteKind.PNI), site("ix", SiteKind.IX),
        site("origin", SiteKind.ORIGIN),
    )
}  # fmt: skip


def order(*said: tuple[str, Route], client: str = "10.1.1.1") -> list[tuple[str, int]]:
    """Sites and ranks for a client."""
    table = RouteTable(said)
    groups = table.groups(table.chain(parse_client(client)))
    return [(one.site, one.rank) for one in rank_sites(groups, SITES)]


def test_prefix_length_beats_kind_and_each_shorter_prefix_is_a_further_rank() -> None:
    """The exchange that hears the /24 goes before the ISP that hears only the /16."""
    assert order(
        ("isp", Route(prefix="10.1.0.0/16")),
        ("ix", Route(prefix="10.1.1.0/24")),
        ("peer", Route(prefix="10.0.0.0/8")),
        ("ix", Route(prefix="10.0.0.0/8")),
    ) == [("ix", 0), ("isp", 1), ("peer", 2)]


@pytest.mark.parametrize(
    "better, worse",
    [
        (("ix", {}), ("peer", {})),
        (("isp2", {"local_pref": 200}), ("isp", {"local_pref": 100})),
        (("isp2", {"as_path": (1,)}), ("isp", {"as_path": (1, 2)})),
        (("isp2", {}), ("isp", {"origin_code": "incomplete"})),
        (("isp2", {"med": 1}), ("isp", {"med": 2})),
    ],
)
def test_ties_are_broken_as_bgp_does(
    better: tuple[str, dict[str, object]], worse: tuple[str, dict[str, object]]
) -> None:
    """Kind, local preference, AS path, origin code, MED, in this order; both have rank 0."""
    if better[0] == "ix":
        better, worse = worse, better
    routes = [(name, Route(prefix="10.1.0.0/16", **more)) for name, more in (worse, better)]  # type: ignore[arg-type]
    assert order(*routes) == [(better[0], 0), (worse[0], 0)]


def test_best_announcement_of_a_site_counts() -> None:
    """Two boxes of one site hear the prefix differently: the better one speaks for the site."""
    far, near = Route(prefix="10.1.0.0/16", as_path=(1, 2, 3)), Route(prefix="10.1.0.0/16")
    other = Route(prefix="10.1.0.0/16", as_path=(1, 2))
    assert order(("isp2", far), ("isp", other), ("isp2", near))[0] == ("isp2", 0)


def test_nearer_of_equal_sites_goes_first_and_origin_never_ranks_by_routes() -> None:
    """Distance to the first one decides between two exchanges that are otherwise alike."""
    sites = {
        "isp": site("isp", latitude_deg=52.5, longitude_deg=13.4),
        "aaa": site("aaa", SiteKind.IX, latitude_deg=48.1, longitude_deg=11.6),
        "zzz": site("zzz", SiteKind.IX, latitude_deg=52.4, longitude_deg=13.1),
        "origin": site("origin", SiteKind.ORIGIN),
    }
    said = [(name, Route(prefix="10.0.0.0/8")) for name in sites]
    table = RouteTable(said)
    groups = table.groups(table.chain(parse_client("10.1.1.1")))
    assert [one.site for one in rank_sites(groups, sites)] == ["isp", "zzz", "aaa"]


def test_ranking_remembers_by_prefix_and_knows_strangers() -> None:
    """Two clients of one prefix get the same order; one outside every prefix gets none."""
    ranking = Ranking(RouteTable([("isp", Route(prefix="10.1.0.0/16"))]), SITES)
    assert ranking.of(parse_client("10.1.1.1")) is ranking.of(parse_client("10.1.200.1"))
    assert ranking.of(Client(4, 0, "0.0.0.0")) == ()
