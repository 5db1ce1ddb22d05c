"""A policy is read strictly, and what it says shows in decisions."""

from __future__ import annotations

import pytest

from steering.address import parse_client
from steering.decide import Ranking
from steering.frozen import WEIGHTLESS
from steering.locate import RouteTable
from steering.policy import DEFAULT, Policy, as_dict, policy_of, read_policy
from steering.view import Silence, View
from tests.steering.test_view import EPOCH, beat, fleet
from wire.errors import WireError
from wire.fleet import Site
from wire.ids import SiteKind
from wire.reports import Route


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('kinds = ["ix"]', "policy.kinds"),
        ('kinds = ["embedded", "pni", "ix", "origin"]', "policy.kinds"),
        ("weights = { a1 = -1 }", "policy.weights.a1"),
        ("weights = { a1 = nan }", "policy.weights.a1"),
        ("load_factor = nan", "load_factor"),
        ("load_factor = 1.0", "load_factor"),
        ("pathways = 0", "pathways"),
        ('ttl_s = "soon"', "ttl_s"),
        ("ttl = 3", "ttl"),
        ("= 3", "not TOML"),
        ('tokens = {}\npolicy = "mine"', "policy"),
    ],
)
def test_a_policy_that_cannot_be_names_its_field(text: str, field: str) -> None:
    """And the file."""
    with pytest.raises(WireError, match=field) as raised:
        read_policy(text.encode(), "new.toml")
    assert "new.toml" in str(raised.value)


def test_it_is_read_from_its_own_file_and_from_a_whole_configuration() -> None:
    """So that an operator may replay with a copy of the file in service."""
    own = read_policy(b"ttl_s = 9", "p.toml")
    inside = read_policy(b'fleet = "f"\n[tokens]\nkid = "k"\n[policy]\nttl_s = 9', "steering.toml")
    without = read_policy(b'fleet = "f"\n[tokens]\nkid = "k"', "steering.toml")
    assert own == inside == Policy(ttl_s=9) and without == DEFAULT
    assert policy_of(as_dict(own), "again") == own


def test_the_order_of_kinds_is_the_policy_s() -> None:
    """Two sites announce one prefix: which comes first is said in the policy."""
    sites = {
        "isp": Site(id="isp", kind=SiteKind.EMBEDDED),
        "ix": Site(id="ix", kind=SiteKind.IX),
    }
    table = RouteTable([(site, Route(prefix="10.0.0.0/8")) for site in sites])
    client = parse_client("10.1.1.1")
    assert [site.site for site in Ranking(table, sites).of(client)] == ["isp", "ix"]
    other = Policy(kinds=["ix", "transit", "pni", "embedded"])
    assert [site.site for site in Ranking(table, sites, other).of(client)] == ["ix", "isp"]


def test_weights_multiply_capacity_and_zero_takes_a_box_out() -> None:
    """By box and by site; the origin, a last resort without a share, has none."""
    view = View(fleet(), Silence(10.0, 3), Policy(weights={"a": 0.5}))
    boxes = {box.id: box for site in view.snapshot(0.0).boxes.values() for box in site}
    plain = View(fleet(), Silence(10.0, 3)).snapshot(0.0)
    before = {box.id: box for site in plain.boxes.values() for box in site}
    assert boxes["a"].weight == before["a"].weight / 2
    seen = View(fleet(), Silence(10.0, 3), Policy(weights={"b": 0.0}))
    seen.set_epoch(EPOCH)
    seen.heartbeat(beat("b", 1), 0.0)
    (state,) = [box for box in seen.state(1.0).boxes if box.appliance == "b"]
    assert (state.state, state.why) == ("drained", WEIGHTLESS)
