"""What a session is told from answer to answer, while boxes of its site come and go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pyroaring import BitMap

from steering.address import Client, parse_client
from steering.asked import Asked, Protocols
from steering.engine import Moment
from steering.locate import RouteTable
from steering.offers import Offers
from steering.session import Seals, Session, digest_of
from tests.steering.replica import FILM
from tests.steering.test_batch import engine_of
from tests.steering.test_view import EPOCH, NAMES, beat, routes
from wire.reports import Inventory, pack_bitmap

CLIENTS = [parse_client(f"127.16.{network}.5") for network in range(24)]  # of all orders of boxes
SEALS = Seals(b"k" * 32, 3600.0)
ON_C = Session("film", ("a", "b", "origin"), "isp", 1, digest_of([1, 2, 3, 4]), 1000, "origin")


class Site:
    """Boxes a to e of one site, all with the whole film; d and e are drained."""

    def __init__(self) -> None:
        self.engine = engine_of(FILM)
        self.view = self.engine.view
        self.offers = Offers(self.engine, SEALS)
        self.now_s = 0.0
        for name in NAMES:
            held = pack_bitmap(BitMap([1, 2, 3, 4]))
            report = Inventory(appliance=name, epoch=EPOCH, boot=1, seq=1, added=held)
            self.view.inventory(report)
        self.view.routes(routes(1, "127.16.0.0/16"))
        self.view.set_table(RouteTable.build(self.view.sources(0.0)))
        self.drain("d", "e")
        self.hear(60)

    def drain(self, *names: str, drained: bool = True) -> None:
        for name in names:
            self.view.drain(name, drained)

    def hear(self, for_s: int, **admits: float) -> None:
        """Every box reports every 10 s."""
        for _ in range(0, for_s, 10):
            self.now_s += 10
            for name in NAMES:
                self.view.heartbeat(
                    beat(name, int(self.now_s), admit=admits.get(name, 1.0)), self.now_s
                )
            self.view.snapshot(self.now_s)

    def all_told(self, current: str, session: Session = ON_C) -> list[list[str]]:
        """The orders that sessions which play from `current` are given now."""
        return [self.told(client, current, session) for client in CLIENTS]

    def told(self, client: Client, current: str, session: Session) -> list[str]:
        """The order of one of them: nothing in it that a player does not know."""
        asked = Asked(Protocols.HLS, "film", session.listed, SEALS.seal(session), current)
        at = Moment(self.now_s, 1000.0 + self.now_s)
        found = self.offers.steering(client, FILM, asked, "http://s/v1/steering/hls", at, 1)
        clones = found.manifest.clones or ()
        named = {*session.listed, *(clone.id for clone in clones)}
        assert set(found.manifest.priority) <= named
        return list(found.manifest.priority)


def test_a_session_is_left_alone_while_others_of_its_site_come_back() -> None:
    """a and b are back and given little for now: what they shed is no reason to leave c, neither
    at first nor later, when all the boxes that a new session would be given are others."""
    site = Site()
    site.drain("a", "b")
    site.hear(10)
    assert {order[0] for order in site.all_told("c")} == {"c"}
    site.drain("a", "b", drained=False)
    for _ in range(15):
        assert {order[0] for order in site.all_told("c")} == {"c"}, site.now_s
        site.hear(10)
    assert {frozenset(order) for order in site.all_told("c")} == {frozenset("abc") | {"origin"}}


def test_a_session_leaves_the_box_that_sheds_it() -> None:
    """c itself wants less: as many of its sessions leave; it is drained: all do."""
    site = Site()
    site.hear(30, c=0.5)
    left = [order for order in site.all_told("c") if order[0] != "c"]
    assert 5 < len(left) < 19
    site.hear(30)
    assert {order[0] for order in site.all_told("c")} == {"c"}
    site.drain("c")
    assert not any("c" in order for order in site.all_told("c"))


@pytest.mark.parametrize("changed", [{"assets": digest_of([1, 2, 3, 99])}, {"base": None}])
def test_what_cannot_be_cloned_any_more_is_not_named(changed: dict[str, Any]) -> None:
    """The title was encoded anew, or nothing in the manifest has everything: a clone made before
    would lead nowhere, so the session is given what its manifest lists."""
    for order in Site().all_told("c", replace(ON_C, **changed)):
        assert set(order) == {"a", "b", "origin"} and order[-1] == "origin"
