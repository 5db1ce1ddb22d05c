"""Steering requests in the forms that players really send."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from yarl import URL

from steering.asked import LISTED_MAX, Asked, Protocols, read_question
from steering.offers import kept
from wire.errors import WireError

OURS = "title=film&pathways=a,b.2_C-d,origin&state=xyz"


def ask(protocol: Protocols, extra: str = "", ours: str = OURS) -> Asked:
    """The question as aiohttp hands over its query."""
    return read_question(protocol, URL(f"http://s/?{ours}{extra}", encoded=True).query)


@pytest.mark.parametrize(
    ("protocol", "extra", "current"),
    [
        ("HLS", "", None),
        ("HLS", "&_HLS_pathway=a&_HLS_throughput=5000000", "a"),  # hls.js
        ("HLS", "&_HLS_pathway=.", "."),  # the default pathway
        ("HLS", "&_HLS_pathway=%22a%22", "a"),
        ("HLS", "&_HLS_pathway=b.2_C-d", "b.2_C-d"),
        ("HLS", "&_DASH_pathway=a", None),
        ("DASH", "&_DASH_pathway=a&_DASH_throughput=12", "a"),  # Shaka
        ("DASH", "&_DASH_pathway=%22a,b%22&_DASH_throughput=1,2", "b"),  # dash.js: newest last
        ("DASH", "&_DASH_pathway=%22a%2Cb%22&_DASH_throughput=,2", "b"),
        ("DASH", '&_DASH_pathway="a, b"&_DASH_throughput=,', "b"),
        ("DASH", "&_DASH_pathway=a,b", "b"),
        ("DASH", "&_DASH_pathway=%22%22&_DASH_throughput=", None),
        ("DASH", "&_DASH_pathway=&_DASH_pathway=a", "a"),  # said twice: the newer one
        ("DASH", "&_DASH_pathway=%00%3Cscript%3E", None),
        ("DASH", "&_DASH_pathway=" + "a" * 5000, None),
    ],
)
def test_hints_are_read_in_all_forms_and_are_never_an_error(
    protocol: str, extra: str, current: str | None
) -> None:
    """Unquoted, quoted, lists, empty entries; nonsense is no hint."""
    found = ask(Protocols[protocol], extra)
    assert found.current == current
    assert (found.title, found.state) == ("film", "xyz")
    assert found.listed == ("a", "b.2_C-d", "origin")


def test_only_dash_js_takes_the_port_from_host() -> None:
    """It alone quotes its list; whoever has said nothing yet is not guessed at."""
    assert ask(Protocols.HLS).drops_ports is True
    assert ask(Protocols.DASH).drops_ports is None
    assert ask(Protocols.DASH, "&_DASH_pathway=a").drops_ports is True
    assert ask(Protocols.DASH, "&_DASH_pathway=%22a%22").drops_ports is False


@pytest.mark.parametrize("extra", ["&_HLS_throughput=1", "&_HLS_throughput=x", ""])
def test_throughput_is_not_part_of_a_question(extra: str) -> None:
    """Or every player's question would be another one."""
    assert ask(Protocols.HLS, extra) == ask(Protocols.HLS)


@pytest.mark.parametrize(
    ("ours", "blame"),
    [
        ("pathways=a", "title"),
        ("title=../x&pathways=a", "title"),
        ("title=f&title=g&pathways=a", "title"),
        ("title=f", "pathways"),
        ("title=f&pathways=,,", "pathways"),
        ("title=f&pathways=a%2Fb", "pathways"),
        ("title=f&pathways=" + ",".join(map(str, range(LISTED_MAX + 1))), "pathways"),
    ],
)
def test_parameters_of_ours_that_are_wrong_are_named(ours: str, blame: str) -> None:
    """Somebody built the URL by hand, and learns what is wrong with it."""
    with pytest.raises(WireError) as caught:
        ask(Protocols.HLS, ours=ours)
    assert caught.value.where == blame


@given(
    st.lists(st.tuples(st.sampled_from(["title", "pathways", "state", "_HLS_pathway"]), st.text()))
)
def test_any_query_is_a_question_or_a_wire_error(pairs: list[tuple[str, str]]) -> None:
    """Nothing else is ever raised."""
    with contextlib.suppress(WireError):
        read_question(Protocols.HLS, MultiDict(pairs))


def test_without_time_for_a_decision_a_player_is_told_to_stay() -> None:
    """Its own pathway first, a clone too, then all that its manifest lists; a longer TTL."""
    told = kept(ask(Protocols.HLS, "&_HLS_pathway=origin"), 300)
    assert (told.ttl_s, told.priority) == (300, ("origin", "a", "b.2_C-d"))
    cloned = kept(ask(Protocols.DASH, "&_DASH_pathway=%22a,clone%22"), 300)
    assert cloned.priority == ("clone", "a", "b.2_C-d", "origin")
    assert kept(ask(Protocols.HLS), 300).priority == ("a", "b.2_C-d", "origin")
