"""From exabgp's lines to the routes that hold: sessions, holds, best paths, bounds, nonsense."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oca.bgp.rib import NEIGHBORS_MAX, Limits, Rib
from oca.bgp.stream import event_of
from tests.oca.bgp.lines import (
    RECORDED,
    A,
    B,
    announce,
    end,
    farewell,
    line,
    opened,
    state,
    withdraw,
)
from wire.errors import WireError

ONE, TWO, SIX = "198.51.100.0/24", "203.0.113.0/24", "2001:db8:100::/48"


class Told:
    """A table, and a clock that the test turns."""

    def __init__(self, hold_s: float = 120.0, prefixes: int = 100) -> None:
        self.rib, self.now_s = Rib(Limits(hold_s, prefixes)), 1000.0

    def say(self, *lines: bytes) -> None:
        """These lines come, now."""
        for raw in lines:
            event = event_of(raw)
            if event is not None:
                self.rib.take(event, self.now_s)

    def later(self, by_s: float) -> list[str]:
        """Some time passes; the prefixes then."""
        self.now_s += by_s
        self.rib.expire(self.now_s)
        return self.prefixes

    @property
    def prefixes(self) -> list[str]:
        return sorted(prefix for prefix, _, _ in self.rib.best())


@pytest.fixture
def told() -> Told:
    """A session that is up, with graceful restart of 60 s, and three routes."""
    made = Told()
    made.say(opened(60), state("up"), announce(ONE, TWO), announce(SIX), end(), end("ipv6 unicast"))
    return made


def test_what_a_real_bird_said_to_a_real_exabgp() -> None:
    """A recorded session: two prefixes and one of IPv6, which is withdrawn; a farewell empties the
    table, the next session fills it, its loss is a hold of the 5 s that BIRD asked for."""
    told, seen = Told(), []
    for raw in RECORDED.read_bytes().splitlines():
        told.say(raw)
        seen.append(told.prefixes)
    four = ["100.20.0.0/16", "100.21.0.0/16"]
    changes = [now for now, before in zip(seen[1:], seen, strict=False) if now != before]
    assert changes == [four[:1], four, [*four, "2001:db8:1::/48"], four, [], four[:1], four]
    assert told.later(4.9) == four and told.later(0.2) == []


def test_attributes_are_those_that_were_said(told: Told) -> None:
    """Path, MED, local preference, origin and communities arrive; a missing path is the neighbour's
    own network."""
    said = announce(
        "10.0.0.0/8", path=(64500, 64999), med=50, local_preference=200, origin="incomplete",
        community=[[64500, 7], "no-export"], large_community=[[64500, 1, 2]],
    )  # fmt: skip
    told.say(said, announce("11.0.0.0/8", path=()))
    found = {prefix: attributes for prefix, _, attributes in told.rib.best()}
    ten = found["10.0.0.0/8"]
    assert (ten.as_path, ten.med, ten.local_pref) == ((64500, 64999), 50, 200)
    assert ten.origin_code == "incomplete"
    assert ten.communities == ("64500:7", "no-export", "64500:1:2")
    assert found["11.0.0.0/8"].as_path == (64500,)


def test_a_lost_session_keeps_its_routes_for_the_time_it_asked_for(told: Told) -> None:
    """Silence is a restart until proven otherwise (RFC 4724); attempts that fail do not prolong
    it."""
    told.say(state("down"))
    assert told.later(59) == sorted([ONE, TWO, SIX])
    told.say(state("connected"), state("down"), state("down"))
    assert told.later(2) == []


def test_what_the_next_session_does_not_confirm_goes_with_its_end_of_rib(told: Told) -> None:
    """Each family by itself."""
    told.say(state("down"), opened(60), state("up"), announce(TWO))
    assert told.prefixes == sorted([ONE, TWO, SIX])
    told.say(end())
    assert told.prefixes == sorted([TWO, SIX])
    told.say(end("ipv6 unicast"))
    assert told.prefixes == [TWO]


def test_a_session_that_never_ends_its_table_is_not_waited_for_for_ever(told: Told) -> None:
    """Stale routes go after our own limit."""
    told.say(state("down"), opened(60), state("up"), announce(TWO))
    assert told.later(119) == sorted([ONE, TWO, SIX])
    assert told.later(2) == [TWO]


def test_a_farewell_and_a_neighbour_without_graceful_restart_lose_all_at_once(told: Told) -> None:
    """A NOTIFICATION is meant, except of a hold timer (RFC 8538); without the capability nothing
    is held; nor when it comes back without it."""
    told.say(farewell(), state("down"))
    assert told.prefixes == []
    told.say(opened(None), state("up"), announce(ONE), state("down"))
    assert told.prefixes == []
    told.say(opened(60), state("up"), announce(ONE), farewell(4, 0), state("down"))
    assert told.prefixes == [ONE]
    told.say(opened(None), state("up"))
    assert told.prefixes == []


def test_our_own_restart_takes_nothing_from_anybody() -> None:
    """exabgp told to stop, or a new life of ours: routes are held, whatever the neighbour can."""
    told = Told()
    told.say(opened(None), state("up"), announce(ONE, TWO))
    told.say(state("down", reason="stop, message [shutting down]"))
    assert told.prefixes == [ONE, TWO]
    again = Told()
    again.rib.restore(list(told.rib.best()), again.now_s)
    again.say(opened(None), state("up"), announce(TWO))
    assert again.prefixes == [ONE, TWO]
    assert again.later(121) == [TWO]


def test_a_session_older_than_we_are_can_be_lost(told: Told) -> None:
    """After a restart of ours alone nobody says `up`: what is told implies it."""
    again = Told()
    again.rib.restore(list(told.rib.best()), again.now_s)
    again.say(announce(ONE), end(), state("down"))
    assert again.prefixes == []


def test_the_best_path_of_a_prefix_is_taken_and_the_next_when_it_goes() -> None:
    """Local preference, path length, origin, MED (RFC 4271 §9.1.2.2); a held path is the last; with
    ADD-PATH one neighbour has several (RFC 7911)."""
    told = Told()
    told.say(opened(60, A), state("up", A), opened(60, B), state("up", B))
    told.say(announce(ONE, peer=A, path=(64500, 1)), announce(ONE, peer=B, path=(64500,)))

    def best() -> tuple[str, int, int]:
        ((_, name, said),) = told.rib.best()
        return name, len(said.as_path), said.med

    assert best()[0] == B
    told.say(announce(ONE, peer=A, path=(64500, 1), local_preference=200))
    assert best()[0] == A
    told.say(state("down", A))
    assert best()[0] == B
    told.say(withdraw(ONE, peer=B))
    assert best()[0] == A

    def path(number: int, med: int) -> bytes:
        raw = json.loads(announce(ONE, peer=B, med=med))
        update = raw["neighbor"]["message"]["update"]
        update["announce"]["ipv4 unicast"]["192.0.2.1"][0]["path-information"] = f"0.0.0.{number}"
        return json.dumps(raw).encode()

    told.say(path(1, 20), path(2, 10))
    assert best() == (B, 1, 10)
    gone = json.loads(withdraw(ONE, peer=B))
    entry = gone["neighbor"]["message"]["update"]["withdraw"]["ipv4 unicast"][0]
    entry["path-information"] = "0.0.0.2"
    told.say(json.dumps(gone).encode())
    assert best() == (B, 1, 20)


def test_a_full_table_is_refused_and_the_next_session_may_try_again() -> None:
    """A neighbour over the limit has no routes and holds no memory; others are not touched."""
    told = Told(prefixes=50)
    told.say(state("up", B), announce(ONE, peer=B), opened(60), state("up", A))
    for high in range(3):
        told.say(announce(*(f"10.{high}.{low}.0/24" for low in range(20)), peer=A))
    assert told.prefixes == [ONE] and "more than 50 prefixes" in told.rib.neighbors[A].refused
    told.say(announce("10.9.0.0/16", peer=A), end(peer=A))
    assert told.prefixes == [ONE] and len(told.rib.neighbors[A]) == 0
    told.say(state("down", A), opened(60, A), state("up", A), announce("10.9.0.0/16", peer=A))
    assert told.prefixes == ["10.9.0.0/16", ONE]


def test_a_path_with_a_set_is_as_good_as_withdrawn(told: Told) -> None:
    """Whose network it is nobody can tell (RFC 9774)."""
    raw = json.loads(announce(ONE))
    raw["neighbor"]["message"]["update"]["attribute"]["as-path"]["1"] = {
        "element": "as-set", "value": [1, 2],
    }  # fmt: skip
    told.say(json.dumps(raw).encode())
    assert told.prefixes == sorted([TWO, SIX])


BAD = [
    b"nonsense",
    b"\xff\xfe",
    b"[" * 100_000,
    b"[]",
    b'{"type": "update", "neighbor": 3}',
    line("update", ""),
    line("update", direction="receive"),
    line("update", direction="receive", message={"update": []}),
    announce("198.51.100.7/24"),
    announce("::/0").replace(b"::/0", b"10.0.0.0/8"),
    announce(ONE, path=(-1,)),
    announce(ONE, path=(2**32,)),
    announce(ONE, path=range(300)),
    announce(ONE, med=True),
    announce(ONE, local_preference="high"),
    announce(ONE).replace(b"[64500]", b"NaN"),
    withdraw(ONE).replace(ONE.encode(), b"all"),
]


@pytest.mark.parametrize("raw", BAD, ids=range(len(BAD)))
def test_nonsense_is_refused_with_the_field_and_changes_nothing(told: Told, raw: bytes) -> None:
    """A line that cannot be right names what is wrong; half of it is not taken either."""
    with pytest.raises(WireError):
        told.say(raw)
    assert told.prefixes == sorted([ONE, TWO, SIX])


@given(st.binary(max_size=200))
def test_no_line_does_worse_than_being_refused(raw: bytes) -> None:
    """Any bytes: an event, nothing, or WireError."""
    with contextlib.suppress(WireError):
        event_of(raw)


@given(st.data())
def test_no_change_of_a_good_line_does_worse_than_being_refused(data: st.DataObject) -> None:
    """Values of the wrong kind anywhere in a real line."""
    raw = data.draw(st.sampled_from(RECORDED.read_bytes().splitlines()))
    tree = json.loads(raw)
    node, odd = tree, st.sampled_from([None, -1, 1e400, "x", [], {}, [[]], True, 2**70])
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            node[key] = copy.deepcopy(data.draw(odd))
            break
        node = node[key]
    told = Told()
    with contextlib.suppress(WireError):
        told.say(json.dumps(tree).encode())


def test_neighbours_without_end_are_refused() -> None:
    """Limit everything: sessions too."""
    told = Told()
    with pytest.raises(WireError, match="more than"):
        for number in range(NEIGHBORS_MAX + 1):
            told.say(state("up", f"192.0.2.{number}"))
