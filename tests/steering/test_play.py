"""Manifests and Content Steering of a real replica, as hls.js and dash.js ask for them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.steering.replica import IN_A, IN_B, Replica, running
from tests.steering.test_dash import NS
from tests.steering.test_hls import Read, read
from wire.catalogue import Title
from wire.token import allows_uri, split_path, verify


async def playlist(replica: Replica, source: str = IN_A) -> Read:
    """The film's playlist as a player reads it."""
    status, headers, body = await replica.ask("/v1/play/film.m3u8", source=source)
    assert status == 200, body
    assert headers["Content-Type"].startswith("application/vnd.apple.mpegurl")
    return read(body.decode())


async def mpd(replica: Replica, source: str = IN_A) -> ET.Element:
    """The film's MPD as a player reads it."""
    status, headers, body = await replica.ask("/v1/play/film.mpd", source=source)
    assert status == 200, body
    assert headers["Content-Type"].startswith("application/dash+xml")
    return ET.fromstring(body)


async def steer(replica: Replica, url: str, extra: str = "", source: str = IN_A) -> dict[str, Any]:
    """What the steering URL of a manifest answers."""
    path = url.removeprefix(replica.url) + extra
    status, headers, _ = await replica.ask(path, source=source)
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    answer: dict[str, Any] = (await replica.get(path, source=source))[1]
    assert answer["VERSION"] == 1 and answer["TTL"] == 7
    return answer


async def report_all(replica: Replica) -> None:
    """Boxes a1 (whole film), a2 (no 1080p, no sound), x1 (whole film)."""
    await replica.report("a1")
    await replica.report("a2", assets=[1, 2])
    await replica.report("x1")


async def test_hls_lists_pathways_in_rank_order_only_where_held_and_signed(tmp_path: Path) -> None:
    """Every URL opens with the appliances' key, and only for the assets of this title."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        found = await playlist(replica)
        assert found.pathways == ["a1", "a2", "x1", "origin"]
        assert found.steering["PATHWAY-ID"] == "a1"
        a2 = [uri for tags, uri in found.variants if tags["PATHWAY-ID"] == "a2"]
        assert len(a2) == 2
        sound = {tag["GROUP-ID"]: tag["URI"] for tag in found.media}
        assert urlsplit(sound["sound@a2"]).hostname == urlsplit(sound["sound@a1"]).hostname
        for _, uri in found.variants:
            plain, package = split_path(uri)
            token = verify(package or "", replica.verify_keys, 0)
            assert allows_uri(token, plain) and token.home == "isp-a"
            assert not allows_uri(token, plain.replace("/a/", "/a/9"))


async def test_hls_steering_follows_the_fleet_and_speaks_only_of_listed_pathways(
    tmp_path: Path,
) -> None:
    """The box in front dies: priorities change; a box that came later is not named."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        found = await playlist(replica)
        url = found.steering["SERVER-URI"]
        answer = await steer(replica, url, "&_HLS_pathway=a1&_HLS_throughput=5000000")
        assert answer["PATHWAY-PRIORITY"] == ["a1", "a2", "x1", "origin"] == found.pathways
        await replica.send_drain("a1")
        await replica.report("x2")
        answer = await steer(replica, answer["RELOAD-URI"], '&_HLS_pathway="a1"')
        assert answer["PATHWAY-PRIORITY"] == ["a2", "x1", "origin"]
        listed = parse_qs(urlsplit(answer["RELOAD-URI"]).query)["pathways"][0].split(",")
        assert set(answer["PATHWAY-PRIORITY"]) <= set(listed) == set(found.pathways)


async def test_dash_has_service_locations_and_its_steering_intersects(tmp_path: Path) -> None:
    """dash.js' quoted list and empty throughputs are accepted; ids are those of the MPD."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        root = await mpd(replica)
        element = root.find(f"{NS}ContentSteering")
        assert element is not None and element.get("defaultServiceLocation") == "a1"
        places = [base.get("serviceLocation") for base in root.iter(f"{NS}BaseURL")]
        assert places.count("a1") == 4 and places.count("a2") == 2 and places.count("origin") == 4
        for extra in ('&_DASH_pathway="a1,a2"&_DASH_throughput=5000,', "&_DASH_pathway=%22%22", ""):
            answer = await steer(replica, element.text or "", extra)
            assert answer["PATHWAY-PRIORITY"] == ["a1", "a2", "x1", "origin"]
            assert set(answer["PATHWAY-PRIORITY"]) <= set(places)


async def test_steering_with_nobody_left_says_origin_and_410_when_the_title_is_gone(
    tmp_path: Path,
) -> None:
    """A player is never left without a pathway; a title that is no more ends the asking."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        url = (await playlist(replica)).steering["SERVER-URI"]
        for name in ("a1", "a2", "x1"):
            await replica.send_drain(name)
        assert (await steer(replica, url))["PATHWAY-PRIORITY"][0] == "origin"
        assert (await playlist(replica)).pathways == ["origin"]
        replica.backstage.titles = replica.backstage.titles[1:]
        path = url.removeprefix(replica.url)
        await replica.until(path, lambda status, _: status == 410)
        assert (await replica.get(path))[1]["status"] == 410
        assert (await replica.get("/v1/play/film.m3u8"))[0] == 404


async def test_player_always_knows_two_pathways(tmp_path: Path) -> None:
    """hls.js fails over on errors only when it was told of at least two."""
    async with running(tmp_path) as replica:
        await replica.report("a1")
        base = f"{replica.url}/v1/steering/hls?title=film&pathways="
        assert (await steer(replica, base + "a1,origin"))["PATHWAY-PRIORITY"] == ["a1", "origin"]
        assert (await steer(replica, base + "a1,b1"))["PATHWAY-PRIORITY"] == ["a1"]
        await replica.report("b1")
        await replica.send_drain("x1")
        answer = await steer(replica, base + "a1,origin,unknown-box")
        assert answer["PATHWAY-PRIORITY"] == ["a1", "origin"]


@pytest.mark.parametrize("suffix", ["m3u8", "mpd"])
async def test_dead_origin_does_not_stop_play_not_even_after_a_restart(
    tmp_path: Path, suffix: str
) -> None:
    """Manifests are on disk before the first viewer asks; fill may be dead too."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        stored = tmp_path / "state" / "manifests"
        await replica.until(
            "/healthz", lambda *_: len([*stored.rglob("5-*.m3u8"), *stored.rglob("5-*.mpd")]) == 2
        )
        await replica.saved()
        await replica.backstage.stop()
        assert (await replica.ask(f"/v1/play/film.{suffix}"))[0] == 200
        await replica.kill()
        await replica.start()
        status, _, body = await replica.ask(f"/v1/play/film.{suffix}")
        assert status == 200 and b"a1" in body


async def test_a_disk_that_refuses_copies_does_not_stop_play(tmp_path: Path) -> None:
    """Neither manifests nor titles: they were fetched, only the next life must fetch them again."""
    (tmp_path / "state" / "titles.json" / "x").mkdir(parents=True)
    (tmp_path / "state" / "manifests").write_bytes(b"where a folder should be")
    async with running(tmp_path) as replica:
        await report_all(replica)
        assert (await replica.ask("/v1/play/film.m3u8"))[0] == 200


async def test_manifests_are_fetched_once_with_a_token_the_origin_accepts(tmp_path: Path) -> None:
    """A hundred plays cost the origin one request for each manifest."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        for _ in range(5):
            await playlist(replica)
            await mpd(replica)
        assert sorted(replica.backstage.fetched) == ["manifest.mpd", "master.m3u8"]
        token = verify(replica.backstage.tokens[0], replica.verify_keys, 0)
        assert allows_uri(token, "http://127.0.0.1:1/a/5/master.m3u8")
        assert not allows_uri(token, "http://127.0.0.1:1/a/1/media.m3u8")


async def test_a_manifest_that_the_origin_lacks_keeps_no_other_away(tmp_path: Path) -> None:
    """One title is broken: those of all others are on disk before the first viewer asks."""
    async with running(tmp_path) as replica:
        late = Title(id="late", assets=(), manifest=12, manifests=("master.m3u8",))
        lost = Title(id="lost", assets=(), manifest=77, manifests=("lost.m3u8",))
        replica.backstage.titles = (late, *replica.backstage.titles, lost)
        stored = tmp_path / "state" / "manifests"
        await replica.until("/healthz", lambda *_: [*stored.rglob("12-master.m3u8")])


async def test_other_isp_gets_other_pathways(tmp_path: Path) -> None:
    """A viewer outside ISP A never hears of its boxes."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        assert (await playlist(replica, IN_B)).pathways == ["x1", "origin"]


async def test_manifests_are_fetched_as_soon_as_the_origin_is_there(tmp_path: Path) -> None:
    """Steering that starts before the origin asks again by itself; a viewer waits for nothing."""
    async with running(tmp_path) as replica:
        backstage = replica.backstage
        backstage.origin_answers = False
        late = Title(id="late", assets=(), manifest=12, manifests=("master.m3u8",))
        backstage.titles = (*backstage.titles, late)
        await replica.until("/v1/steer?title=late&client=127.0.0.1", lambda status, _: status < 404)
        assert (await replica.get("/v1/play/late.m3u8"))[0] == 503
        backstage.origin_answers = True
        stored = tmp_path / "state" / "manifests"
        await replica.until("/healthz", lambda *_: [*stored.rglob("12-master.m3u8")])
