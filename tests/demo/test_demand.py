"""The demand of the demo, and the evening drawn from it."""

from __future__ import annotations

from collections import Counter

from deploy.demo.demand import demand_bytes, draw, scaled, views
from deploy.demo.films import FILMS, LADDER
from deploy.demo.layout import ISPS
from wire.catalogue import Asset, AssetKind, Catalogue, File


def asset(number: int, title: str, name: str, sizes: list[int]) -> Asset:
    """An asset with files of these sizes."""
    files = tuple(
        File(name=f"f{at}", bytes=size, sha256="0" * 64, chunks=("0" * 32,), media_type="video/mp4")
        for at, size in enumerate(sizes)
    )
    return Asset(id=number, title=title, name=name, kind=AssetKind.DATA, modified_s=0, files=files)


def catalogue() -> Catalogue:
    """Both films in two renditions each, and forty small titles."""
    assets = [
        asset(at * 2 + rung, film.title, LADDER[rung].name, [900_000] * 30)
        for at, film in enumerate(FILMS)
        for rung in (0, 1)
    ]
    assets += [asset(10 + n, f"synthetic-{n:03d}", "data", [128_000] * 4) for n in range(40)]
    return Catalogue(epoch="0" * 16, next_id=100, assets=tuple(assets))


def test_popularity_is_heavy_bodied() -> None:
    """As in the engagement report: the top holds much, and half the chart is not nothing."""
    chart = [views(rank, 1000) for rank in range(1, 1001)]
    assert chart == sorted(chart, reverse=True)
    assert chart[0] == 1.0 and chart[-1] > 0
    assert 0.4 < sum(chart[:39]) / sum(chart) < 0.7, "half the hours in about 4 % of the titles"
    assert 0.85 < sum(chart[:370]) / sum(chart) < 0.99, "95 % in about 37 %"


def test_each_isp_has_its_own_favourite_film() -> None:
    """So that the plans of the sites differ."""
    first = set()
    for isp in ISPS:
        demand = demand_bytes(catalogue(), isp.site)
        first.add(max((0, 2), key=lambda number: demand[number]))
    assert len(first) == 2


def test_an_evening_has_the_proportions_of_the_demand() -> None:
    """Systematic sampling: every popular asset is within one visit of its share."""
    whole = catalogue()
    demand = scaled(demand_bytes(whole, "isp-a"), 100e6)
    drawn: Counter[int] = Counter()
    sessions = draw(whole, demand, "127.16", "seed")
    for session in sessions:
        drawn[session.asset] += session.size_bytes
    assert abs(sum(drawn.values()) - 100e6) < 2e6
    biggest_visit = max(session.size_bytes for session in sessions)
    for number, size in demand.items():
        assert abs(drawn[number] - size) <= biggest_visit
    assert all(session.client.startswith("127.16.") for session in sessions)


def test_the_same_seed_draws_the_same_evening() -> None:
    """A failing run can be repeated."""
    demand = scaled(demand_bytes(catalogue(), "isp-b"), 10e6)
    assert draw(catalogue(), demand, "127.17", "x") == draw(catalogue(), demand, "127.17", "x")
    assert draw(catalogue(), demand, "127.17", "x") != draw(catalogue(), demand, "127.17", "y")
