"""Counting reasons quickly counts the same as judging every box."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from steering.address import parse_client
from steering.choose import Box, seed_of
from steering.decide import Question, Ranking, Snapshot, decide
from steering.locate import RouteTable
from steering.reasons import reasons
from wire.fleet import Site
from wire.ids import SiteKind
from wire.reports import Route
from wire.steer import Reason

SITES = {name: Site(id=name, kind=SiteKind.IX) for name in ("near", "far")}
TABLE = RouteTable([("near", Route(prefix="10.1.0.0/16")), ("far", Route(prefix="10.0.0.0/8"))])
BOXES = st.lists(
    st.tuples(
        st.sampled_from([None, Reason.HEALTH, Reason.DRAINING]),
        st.frozensets(st.integers(1, 3)),
        st.sampled_from([1.0, 0.5]),
    ),
    max_size=9,
)


@given(near=BOXES, far=BOXES, assets=st.sampled_from([(1,), (1, 2, 3)]), held_min=st.integers(1, 2))
def test_counts_are_those_of_every_box_s_verdict(
    near: list[tuple[Reason | None, frozenset[int], float]],
    far: list[tuple[Reason | None, frozenset[int], float]],
    assets: tuple[int, ...],
    held_min: int,
) -> None:
    """Whatever boxes hold, admit and suffer from."""
    boxes = {
        site: tuple(
            Box(
                id=f"{site}{n}", site=site, base_url="", weight=1.0, admit=admit, passed=passed,
                holds=BitMap(holds), seed=seed_of(f"{site}{n}"),
            )
            for n, (passed, holds, admit) in enumerate(made)
        )
        for site, made in (("near", near), ("far", far))
    }  # fmt: skip
    snapshot = Snapshot(Ranking(TABLE, SITES), boxes)
    question = Question(parse_client("10.1.2.3"), "t", assets, 2, held_min if assets[1:] else 1)
    decision = decide(question, snapshot)
    judged = Counter(reason for _, reason in decision.passed_over())
    assert +reasons(decision) == judged
