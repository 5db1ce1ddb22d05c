"""AS numbers, places, open sites, withdrawn routes and MED: what ranking has beyond prefixes."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from steering.address import parse_client
from steering.choose import Box, seed_of
from steering.decide import Question, Ranking, Snapshot, decide
from steering.locate import Announced, RouteTable, Source
from steering.networks import Networks
from steering.packed import Packed, pack
from steering.places import Tables, asn_table, asn_table_of, place_table, place_table_of
from steering.rank import NOWHERE, Around, By, rank_sites
from steering.silence import Silence
from steering.view import View
from tests.steering.replica import running
from tests.steering.test_generations import steering
from tests.steering.test_view import fleet
from wire.errors import WireError
from wire.fleet import Site
from wire.ids import SiteKind
from wire.reports import Route
from wire.steer import Reason

SITES = {
    one.id: one
    for one in (
        Site(id="isp", kind=SiteKind.EMBEDDED),
        Site(id="north", kind=SiteKind.EMBEDDED, asns=(64500,)),
        Site(id="berlin", kind=SiteKind.IX, open=True, latitude_deg=52.5, longitude_deg=13.4),
        Site(id="paris", kind=SiteKind.IX, open=True, latitude_deg=48.9, longitude_deg=2.4),
        Site(id="anywhere", kind=SiteKind.TRANSIT, open=True),
    )
}
ASNS = "10.0.0.0/8,64500\n2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,64500,Name\n"
PLACES = "network,lat,lon\n10.0.0.0,10.255.255.255,48.1,11.6\n10.9.0.0/16,43.3,5.4\n"


def tables() -> Tables:
    """Both tables, as they come back from a file."""
    asns = asn_table(ASNS.splitlines(), "asns.csv").to_bytes()
    places = place_table(PLACES.splitlines(), "places.csv").to_bytes()
    return Tables(asn_table_of(asns), place_table_of(places))


def ranked(client: str, *said: tuple[str, str]) -> list[tuple[str, int, By]]:
    """Site, rank and what gave it."""
    table = RouteTable((site, Route(prefix=prefix)) for site, prefix in said)
    found = Ranking(table, SITES, tables=tables()).of(parse_client(client))
    return [(one.site, one.rank, one.by) for one in found]


def test_after_the_routes_come_the_as_the_nearest_open_sites_and_the_rest() -> None:
    """Munich is nearer to Berlin, Marseille to Paris."""
    assert ranked("10.1.1.1", ("isp", "10.1.0.0/16")) == [
        ("isp", 0, By.ROUTE), ("north", 1, By.ASN), ("berlin", 2, By.GEOGRAPHY),
        ("paris", 2, By.GEOGRAPHY), ("anywhere", 3, By.DEFAULT),
    ]  # fmt: skip
    assert [site for site, *_ in ranked("10.9.1.1")] == ["north", "paris", "berlin", "anywhere"]


def test_a_client_that_no_table_knows_goes_to_the_open_sites() -> None:
    """By kind, then name; embedded sites of others are not for it."""
    assert [(site, by) for site, _, by in ranked("192.0.2.1")] == [
        ("berlin", By.DEFAULT), ("paris", By.DEFAULT), ("anywhere", By.DEFAULT)
    ]  # fmt: skip
    assert ranked("2001:db8:1::1")[0] == ("north", 0, By.ASN)


@pytest.mark.parametrize(
    "text, told",
    [
        ("10.0.0.0/8,64500\n10.0.0.0/33,1\n", "row 2"),
        ("10.0.0.0/8,64500\n10.0.0.0,9.0.0.0,1\n", "row 2"),
        ("10.0.0.0/8\n", "row 1"),
        ("10.0.0.0/8,-1\n", "out of bounds"),
        ("10.0.0.0,10.0.1.255,1\n10.0.1.0,10.0.2.255,2\n", "lies across"),
    ],
)
def test_a_fault_in_a_table_names_file_and_row(text: str, told: str) -> None:
    """An operator finds the line."""
    with pytest.raises(WireError, match=told) as caught:
        asn_table(text.splitlines(), "asns.csv")
    assert "asns.csv" in str(caught.value)


def said(site: str, med: int, neighbor: int) -> Announced:
    """An announcement that differs in MED and neighbour only."""
    return Announced(site, 100, 1, 0, med, neighbor)


def test_med_counts_between_routes_of_one_neighbour_only() -> None:
    """RFC 4271 §9.1.2.2 c: paris has the higher MED, of another neighbour, and is nearer."""
    group = [said("paris", 50, 1), said("berlin", 10, 2)]
    around = Around(place=(48.8, 2.3))
    assert rank_sites([group], SITES, around=around)[0].site == "paris"
    group = [said("paris", 50, 1), said("berlin", 10, 1)]
    assert rank_sites([group], SITES, around=around)[0].site == "berlin"


def test_a_site_that_withdrew_its_route_keeps_its_place_with_the_letter_r() -> None:
    """It is not the home any more, and another route of it makes it whole again."""
    old = pack([Route(prefix="10.1.0.0/16"), Route(prefix="10.2.0.0/16")])
    new = pack([Route(prefix="10.2.0.0/16")])
    exchange = Source("berlin", pack([Route(prefix="10.0.0.0/8")]))
    gone = Source("isp", old.without(new), gone=True)
    table = RouteTable.build([exchange, Source("isp", new), gone])
    boxes = {
        site: (Box(f"{site}-1", site, "", 1e9, holds={7}, seed=seed_of(site)),)
        for site in ("isp", "berlin")
    }
    closed = {name: site for name, site in SITES.items() if name in boxes}
    snapshot = Snapshot(Ranking(table, closed), boxes)
    decision = decide(Question(parse_client("10.1.0.9"), "t", (7,), 3), snapshot)
    assert decision.home == "berlin" and decision.places[0].rank == 0
    assert decision.passed_over() == [("isp-1", Reason.ROUTE)]
    assert decide(Question(parse_client("10.2.0.9"), "t", (7,), 3), snapshot).home == "isp"


def test_packed_routes_come_back_from_a_file_and_say_what_was_withdrawn() -> None:
    """Order does not matter; v4 and v6 are told apart."""
    routes = [Route(prefix=p) for p in ("10.0.0.0/8", "2001:db8::/32", "10.0.0.0/9")]
    packed = pack(routes)
    assert Packed.from_buffer(packed.to_bytes()) == packed == pack(reversed(routes))
    assert len(packed.without(pack(routes[:1]))) == 2
    assert replace(Source("a", packed), gone=True).routes is packed
    with pytest.raises(WireError):
        Packed.from_buffer(packed.to_bytes()[:70])


async def test_tables_are_read_in_another_process_and_only_when_they_changed(
    tmp_path: Path,
) -> None:
    """Packed or not; at a start one with a fault is left out, and decisions do without it."""
    asns, places = tmp_path / "asns.csv.gz", tmp_path / "places.csv"
    asns.write_bytes(gzip.compress(ASNS.encode()))
    places.write_text(PLACES)
    view = View(fleet(), Silence(10.0, 3))
    before = view.snapshot(0.0)
    files: dict[str, Path | None] = {"asn": asns, "place": places}
    networks = Networks(view.set_networks)
    await networks.begin(files)
    ranking = view.snapshot(0.0).ranking
    assert ranking is not before.ranking
    found = ranking.around(parse_client("10.9.0.1"))
    assert found.asn == 64500 and found.place == pytest.approx((43.3, 5.4))
    assert await networks.fresh(files) == {}
    places.write_text("10.0.0.0/8,1,2\n10.0.0.0/9,91,0\n")
    with pytest.raises(WireError, match=r"places.csv: row 2: .*out of bounds"):
        await networks.fresh(files)
    other = Networks(view.set_networks)
    await other.begin(files)
    assert view.snapshot(0.0).ranking.around(parse_client("10.9.0.1")) == Around(64500, None)
    other.swap(await other.fresh({"asn": None}))
    assert view.snapshot(0.0).ranking.around(parse_client("10.9.0.1")) == NOWHERE


async def test_a_running_replica_takes_up_other_tables_and_keeps_the_old_of_wrong_ones(
    tmp_path: Path,
) -> None:
    """Without a restart: an AS of the operator's list gets its site; a row that cannot be is named
    to whoever reloads, with nothing else of the files taken up either."""
    table = tmp_path / "asn.csv"
    table.write_text("127.99.0.0/16,64511\n")
    async with running(tmp_path, asn_table="asn.csv") as replica:
        fleet_file = tmp_path / "fleet.toml"
        text = fleet_file.read_text()
        fleet_file.write_text(text.replace('id = "isp-b"', 'id = "isp-b"\nasns = [64511]', 1))
        code, told = await steering("config", "reload", "--admin", replica.admin)
        assert code == 0 and "Generation 2 runs." in told, told
        asked = "/v1/explain?asset=2&client=127.98.0.1"

        async def sites() -> list[str]:
            status, found = await replica.get(asked, admin=True)
            assert status == 200, found
            return [site["site"] for site in found["sites"]]

        assert "isp-b" not in await sites()
        table.write_text("127.98.0.0/16,64511\n")
        _, told = await steering("config", "reload", "--dry-run", "--admin", replica.admin)
        assert "would be taken up: asn" in told and "isp-b" not in await sites()
        code, told = await steering("config", "reload", "--admin", replica.admin)
        assert code == 0 and "is taken up: asn" in told and "isp-b" in await sites(), told
        table.write_text("127.97.0.0/16,64511\n127.96.0.0/16,none\n")
        replica.config.write_text(replica.config.read_text().replace("ttl_s = 7", "ttl_s = 70"))
        code, told = await steering("config", "reload", "--admin", replica.admin)
        assert code == 1 and "asn.csv" in told and "row 2" in told, told
        assert "isp-b" in await sites()
        _, found = await replica.get(asked, admin=True)
        assert found["ttl_s"] == 7
