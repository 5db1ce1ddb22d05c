"""Manifests and Content Steering of a real replica, as hls.js and dash.js ask for them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.steering.replica import IN_A, IN_B, Replica, running
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


async def test_a_manifest_that_cannot_be_rewritten_is_told_by_line(tmp_path: Path) -> None:
    """Whoever packaged it is to blame, and learns file, line and reason; players may read it."""
    async with running(tmp_path) as replica:
        for number, name in ((31, "broken.m3u8"), (32, "broken.mpd")):
            bad = Title(id=f"bad{number}", assets=(), manifest=number, manifests=(name,))
            replica.backstage.titles = (*replica.backstage.titles, bad)
            await replica.until(
                f"/v1/steer?title={bad.id}&client=127.0.0.1", lambda status, _: status < 404
            )
            path = f"/v1/play/{bad.id}.{name.partition('.')[2]}"
            status, headers, body = await replica.ask(path)
            assert status == 502 and headers["Content-Type"] == "application/problem+json"
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert b"broken" in body and b"line 3" in body
