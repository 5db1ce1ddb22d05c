"""Choosing boxes and composing decisions: shares, stability, reasons."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from pyroaring import BitMap

from steering.address import parse_client
from steering.choose import Box, candidates, judge, seed_of, sheds
from steering.decide import Decision, Question, Ranking, Snapshot, decide, explanation
from steering.locate import RouteTable
from wire.fleet import Site
from wire.ids import SiteKind
from wire.reports import Route
from wire.steer import Reason

KEYS = [f"title-{number}".encode() for number in range(4000)]


def box(name: str, weight: float = 1e9, site: str = "isp", **more: object) -> Box:
    """A box that holds assets 1 to 4."""
    values: dict[str, object] = {"holds": BitMap([1, 2, 3, 4]), "seed": seed_of(name), **more}
    return Box(name, site, f"http://{name}", weight, **values)  # type: ignore[arg-type]


def first(boxes: list[Box], key: bytes) -> str:
    """Who gets a key."""
    return judge(boxes, key, (1,))[0].box.id


def test_shares_follow_capacity() -> None:
    """A box of twice the capacity gets twice the keys (within 3 points)."""
    boxes = [box("a", 1e9), box("b", 2e9), box("c", 1e9)]
    shares = Counter(first(boxes, key) for key in KEYS)
    assert abs(shares["b"] / len(KEYS) - 0.5) < 0.03 and abs(shares["a"] / len(KEYS) - 0.25) < 0.03


def test_removing_a_box_moves_only_its_own_share() -> None:
    """Every key that another box had stays there."""
    boxes = [box(name) for name in "abcde"]
    before = {key: first(boxes, key) for key in KEYS}
    after = {key: first([one for one in boxes if one.id != "c"], key) for key in KEYS}
    assert all(after[key] == had for key, had in before.items() if had != "c")
    assert {after[key] for key, had in before.items() if had == "c"} == set("abde")


def test_admit_thins_by_its_share_and_always_the_same_keys() -> None:
    """At admit 0.3 a box keeps 30 % of its keys, a subset of those it keeps at 0.6."""
    some, more = box("a", admit=0.3), box("a", admit=0.6)
    kept_some = {key for key in KEYS if not sheds(some, key)}
    kept_more = {key for key in KEYS if not sheds(more, key)}
    assert kept_some < kept_more
    assert abs(len(kept_some) / len(KEYS) - 0.3) < 0.03
    assert not any(sheds(box("a"), key) for key in KEYS)


def test_shed_share_is_independent_of_who_won_the_key() -> None:
    """Of the keys that fall to a box at admit 0.5, half stay: else load would be cut twice."""
    boxes = [box("a", admit=0.5), box("b")]
    whole = [key for key in KEYS if first([box("a"), box("b")], key) == "a"]
    kept = sum(first(boxes, key) == "a" for key in whole)
    assert abs(kept / len(whole) - 0.5) < 0.04


def test_what_boxes_coming_back_do_not_get_yet_stays_in_the_site() -> None:
    """Two of three boxes are back at 2 %: the third takes what they leave, and nobody the origin;
    while a site that is back as a whole gets its small share only."""
    back = {"admit": 0.02, "recovering": True}
    some = [box("a", **back), box("b", **back), box("c")]
    assert all(candidates(some, key, 1) for key in KEYS)
    assert sum(first(some, key) != "c" for key in KEYS) / len(KEYS) < 0.05
    whole = [box(f"b{n}", **back) for n in range(40)]
    assert sum(bool(candidates(whole, key, 1)) for key in KEYS) / len(KEYS) < 0.05


SITES = {
    "isp": Site(id="isp", kind=SiteKind.EMBEDDED),
    "ix": Site(id="ix", kind=SiteKind.IX),
    "origin": Site(id="origin", kind=SiteKind.ORIGIN),
}
TABLE = RouteTable([("isp", Route(prefix="10.1.0.0/16")), ("ix", Route(prefix="10.0.0.0/8"))])
ORIGIN = box("origin", site="origin")


def ask(
    *boxes: Box, want: int = 3, assets: tuple[int, ...] = (1,), client: str = "10.1.1.1",
    origin: Box | None = ORIGIN, whole: bool = False, **more: object,
) -> Decision:  # fmt: skip
    """A decision over these boxes."""
    question = Question(parse_client(client), "film", assets, want, **more)  # type: ignore[arg-type]
    return decide(question, snapshot(*boxes, origin=origin), whole=whole)


def snapshot(*boxes: Box, origin: Box | None = ORIGIN) -> Snapshot:
    """These boxes, frozen, by site."""
    by_site = {name: tuple(one for one in boxes if one.site == name) for name in SITES}
    return Snapshot(Ranking(TABLE, SITES), by_site, origin)


def ids(decision: Decision) -> list[str]:
    """The pathways of a decision, in order."""
    return [place.pathway for place in decision.places]


@pytest.mark.parametrize(
    "fault, letter",
    [
        ({"passed": Reason.HEALTH}, "H"),
        ({"holds": BitMap([7])}, "C"),
        ({"admit": 0.0}, "L"),
        ({"passed": Reason.DRAINING}, "D"),
    ],
)
def test_a_box_is_passed_over_and_the_letter_says_why(
    fault: dict[str, object], letter: str
) -> None:
    """The next site answers, and the reason is kept for the log."""
    decision = ask(box("a", **fault), box("x", site="ix"))
    assert ids(decision) == ["x", "origin"]
    assert [(name, why.value) for name, why in decision.passed_over()] == [("a", letter)]


def test_rank_is_blind_to_state() -> None:
    """A site whose boxes are all dead is still the home site, and rank 0."""
    decision = ask(box("a", passed=Reason.HEALTH), box("x", site="ix"))
    assert decision.home == "isp" and [site.site for site in decision.ranked] == ["isp", "ix"]
    assert decision.places[0].rank == 1


def test_search_stops_when_enough_are_found_and_explain_looks_further() -> None:
    """Boxes beyond the wanted ones are marked as not needed, in explanations only."""
    boxes = (box("a"), box("b"), box("x", site="ix"))
    assert len(ask(*boxes, want=2).judged) == 1
    decision = ask(*boxes, want=2, whole=True)
    assert decision.passed_over() == [("x", Reason.OVER)]
    told = explanation(decision, snapshot(*boxes), 1, 60)
    assert [site.site for site in told.sites] == ["isp", "ix", "origin"]
    assert told.sites[1].boxes[0].reason is Reason.OVER and told.sites[2].boxes[0].chosen


def test_each_asset_gets_its_own_holders() -> None:
    """A title spread over boxes: every URL is of a box that really holds the asset."""
    a, b = box("a", holds=BitMap([1, 2])), box("b", holds=BitMap([3]))
    decision = ask(a, b, assets=(1, 2, 3, 4))
    names = {asset: [one.id for one in found] for asset, found in decision.holders.items()}
    assert names == {1: ["a", "origin"], 2: ["a", "origin"], 3: ["b", "origin"], 4: ["origin"]}
    assert ids(decision) == ["a", "b", "origin"]


def test_for_a_manifest_fuller_boxes_go_first_and_nearly_empty_ones_not_at_all() -> None:
    """On a box with one of four renditions a player would be shut in a corner of the ladder."""
    full, most = box("full"), box("most", holds=BitMap([1, 2, 3]))
    little = box("little", holds=BitMap([1]))
    decision = ask(most, little, full, assets=(1, 2, 3, 4), held_min=2, by_asset=False)
    assert ids(decision) == ["full", "most", "origin"]
    assert decision.passed_over() == [("little", Reason.CONTENT)]


def test_client_outside_every_prefix_gets_the_origin_and_nobody_without_one() -> None:
    """No home site; with no origin in service the answer is empty."""
    assert ids(ask(box("a"), client="192.0.2.1")) == ["origin"]
    nobody = ask(box("a"), client="192.0.2.1", origin=None)
    assert nobody.home == "" and nobody.places == ()


def test_only_the_listed_may_be_named() -> None:
    """A player's manifest lists some pathways: others are of no use to it."""
    boxes = (box("a"), box("b"), box("x", site="ix"))
    assert ids(ask(*boxes, only=frozenset({"b", "origin"}))) == ["b", "origin"]
    assert ids(ask(*boxes, only=frozenset({"b"}))) == ["b"]


def test_viewers_of_a_hot_title_use_all_copies_and_each_stays() -> None:
    """Clients of many networks spread over both boxes; one network always gets the same one."""
    boxes = (box("a"), box("b"))
    seen = Counter(ids(ask(*boxes, client=f"10.1.{net}.9"))[0] for net in range(200))
    assert min(seen["a"], seen["b"]) > 60
    assert ids(ask(*boxes, client="10.1.7.1")) == ids(ask(*boxes, client="10.1.7.200"))
    gone = replace(boxes[0], passed=Reason.HEALTH)
    assert ids(ask(gone, boxes[1]))[0] == "b"
