"""Content Steering of a real replica, asked as hls.js, dash.js and Shaka ask, with their traps."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from steering.session import PURPOSE, Seals, Session, digest_of
from tests.steering.replica import FILM, HOSTS, IN_A, IN_B, Replica, running
from tests.steering.test_dash import NS
from tests.steering.test_play import mpd, playlist, report_all
from wire.keys import derived_secret

HLS_JS, SHAKA, DASH_JS = "&_HLS_pathway={}", "&_DASH_pathway={}", "&_DASH_pathway=%22{}%22"


async def steer(replica: Replica, url: str, extra: str = "", source: str = IN_A) -> dict[str, Any]:
    """What the steering URL of a manifest answers, held against what every player needs."""
    path = url.removeprefix(replica.url) + extra
    status, headers, _ = await replica.ask(path, source=source)
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    assert headers["Access-Control-Allow-Origin"] == "*" and headers["Cache-Control"] == "no-store"
    answer: dict[str, Any] = (await replica.get(path, source=source))[1]
    assert answer["VERSION"] == 1 and 6 <= answer["TTL"] <= 8
    listed = parse_qs(urlsplit(url).query)["pathways"][0].split(",")
    clones = {clone["ID"]: clone for clone in answer.get("PATHWAY-CLONES", [])}
    assert set(answer["PATHWAY-PRIORITY"]) <= {*listed, *clones}
    assert len(answer["PATHWAY-PRIORITY"]) >= min(2, len(listed))
    assert not set(clones) & set(listed) and {one["BASE-ID"] for one in clones.values()} <= {
        *listed
    }
    assert answer["RELOAD-URI"].startswith(replica.url + "/v1/steering/")
    return answer


def order(answer: dict[str, Any]) -> list[str]:
    """The pathways, best first."""
    return list(answer["PATHWAY-PRIORITY"])


async def test_answers_follow_the_fleet(tmp_path: Path) -> None:
    """The box in front is drained: the next answer does not name it. The manifest's own order is
    that of the first answer, and the session goes on through RELOAD-URI."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        found = await playlist(replica)
        answer = await steer(replica, found.steering["SERVER-URI"], HLS_JS.format("a1"))
        assert order(answer) == ["a1", "a2", "x1", "origin"] == found.pathways
        await replica.send_drain("a1")
        answer = await steer(replica, answer["RELOAD-URI"], '&_HLS_pathway="a1"')
        assert order(answer) == ["a2", "x1", "origin"]


async def test_dash_ids_are_those_of_its_manifest(tmp_path: Path) -> None:
    """dash.js' quoted list and empty throughputs are accepted, and so is no word at all."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        root = await mpd(replica)
        element = root.find(f"{NS}ContentSteering")
        assert element is not None and element.get("defaultServiceLocation") == "a1"
        places = [base.get("serviceLocation") for base in root.iter(f"{NS}BaseURL")]
        assert places.count("a1") == 4 and places.count("a2") == 2 and places.count("origin") == 4
        for extra in ('&_DASH_pathway="a2,a1"&_DASH_throughput=5000,', "&_DASH_pathway=%22%22", ""):
            answer = await steer(replica, element.text or "", extra)
            assert order(answer) == ["a1", "a2", "x1", "origin"]
            assert set(order(answer)) <= set(places)


async def test_a_session_stays_where_it_is_while_that_is_as_near(tmp_path: Path) -> None:
    """hls.js penalises a pathway for 5 min and Shaka for one: nobody is sent back and forth. What
    is farther away than the best is left, and so is what may not be used. Throughput changes
    nothing."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        url = (await playlist(replica)).steering["SERVER-URI"]
        for current, first in (("a1", "a1"), ("a2", "a2"), ("x1", "a1"), ("b1", "a1")):
            answer = await steer(replica, url, HLS_JS.format(current))
            assert order(answer)[0] == first and order(answer)[-1] == "origin"
        for extra in ("&_HLS_throughput=1", "&_HLS_throughput=99999999999999999999"):
            assert order(await steer(replica, url, extra)) == ["a1", "a2", "x1", "origin"]
        # In another network the old place means nothing.
        assert order(await steer(replica, url, HLS_JS.format("a2"), IN_B)) == ["x1", "origin"]
        await replica.beat("a2", admit=0.0)
        answer = await steer(replica, url, HLS_JS.format("a2"))
        assert order(answer) == ["a1", "x1", "origin"]


async def test_a_box_that_came_later_is_offered_as_a_clone(tmp_path: Path) -> None:
    """HOST has no port for hls.js and Shaka (they drop it silently), and one for dash.js (it drops
    the port of the base); every answer names the clone again, as Shaka forgets the last one's."""
    async with running(tmp_path) as replica:
        await replica.report("x1")
        hls_url = (await playlist(replica)).steering["SERVER-URI"]
        element = (await mpd(replica)).find(f"{NS}ContentSteering")
        assert element is not None and element.text is not None
        port = replica.backstage.origin_port
        await replica.report("a1")
        for url, hint, host in (
            (hls_url, HLS_JS, HOSTS["a1"]),
            (element.text, SHAKA, HOSTS["a1"]),
            (element.text, DASH_JS, f"{HOSTS['a1']}:{port}"),
        ):
            answer = await steer(replica, url, hint.format("x1"))
            answer = await steer(replica, answer["RELOAD-URI"], hint.format("a1"))
            assert order(answer) == ["a1", "x1", "origin"]
            assert answer["PATHWAY-CLONES"] == [
                {"BASE-ID": "origin", "ID": "a1", "URI-REPLACEMENT": {"HOST": host}}
            ]
        # A DASH player that has not said how it reads HOST gets none yet.
        answer = await steer(replica, element.text)
        assert order(answer) == ["x1", "origin"] and "PATHWAY-CLONES" not in answer
        await replica.send_drain("a1")
        answer = await steer(replica, hls_url, HLS_JS.format("a1"))
        assert order(answer) == ["x1", "origin"] and "PATHWAY-CLONES" not in answer


async def test_nothing_is_cloned_that_would_not_hold_what_the_manifest_lists(
    tmp_path: Path,
) -> None:
    """Not a box with half a film, not for a session of which nothing is known, and not when the
    title was encoded anew since."""
    async with running(tmp_path) as replica:
        await replica.report("x1")
        url = (await playlist(replica)).steering["SERVER-URI"]
        await replica.report("a1", assets=[1, 2, 4])
        answer = await steer(replica, url, HLS_JS.format("x1"))
        assert order(answer) == ["x1", "origin"]
        await replica.report("a2")
        assert order(await steer(replica, url))[0] == "a2"
        for broken in (url[:-1] + ("A" if url[-1] != "A" else "Q"), url.partition("&state")[0]):
            answer = await steer(replica, broken)
            assert order(answer) == ["x1", "origin"] and "PATHWAY-CLONES" not in answer
        newer = replace_asset(FILM, 3, 33)
        replica.backstage.titles = (newer, *replica.backstage.titles[1:])
        await replica.until("/v1/steer?asset=33&client=127.0.0.1", lambda status, _: status == 200)
        answer = await steer(replica, url)
        assert "a2" not in order(answer) and "PATHWAY-CLONES" not in answer


def replace_asset(title: Any, old: int, new: int) -> Any:
    """The title with one rendition encoded anew."""
    from msgspec.structs import replace as changed

    assets = tuple(changed(one, id=new) if one.id == old else one for one in title.assets)
    return changed(title, assets=assets)


async def test_states_are_counted_and_an_old_one_ends_the_asking(tmp_path: Path) -> None:
    """A stranger's state is as good as none; with the session's URLs expired, 410: the player has
    to load the manifest again anyway."""
    async with running(tmp_path) as replica:
        await replica.report("x1")
        url = (await playlist(replica)).steering["SERVER-URI"]
        await steer(replica, url)
        bare = url.partition("&state")[0]
        await steer(replica, bare)
        await steer(replica, bare + "&state=" + "A" * 100)
        seals = Seals(derived_secret(replica.token_key, PURPOSE), 1.0)
        long_ago = int(time.time()) - 10**6
        known = Session("film", ("x1", "origin"), "ix", 1, digest_of([1]), long_ago, "origin")
        for session, status in ((known, 410), (replace(known, begun_s=int(time.time())), 200)):
            path = (bare + "&state=" + seals.seal(session)).removeprefix(replica.url)
            answer, headers, _ = await replica.ask(path)
            assert answer == status and headers["Access-Control-Allow-Origin"] == "*"
        _, text = await replica.get("/metrics", admin=True)
        for state, count in (("known", 3.0), ("new", 2.0), ("foreign", 2.0)):
            assert f'steering_sessions_total{{state="{state}"}} {count}' in text


async def test_with_nobody_left_it_says_origin_and_410_when_the_title_is_gone(
    tmp_path: Path,
) -> None:
    """A player is never left without a pathway; a title that is no more ends the asking."""
    async with running(tmp_path) as replica:
        await report_all(replica)
        url = (await playlist(replica)).steering["SERVER-URI"]
        for name in ("a1", "a2", "x1"):
            await replica.send_drain(name)
        answer = await steer(replica, url)
        assert order(answer)[0] == "origin" and len(order(answer)) == 2
        assert (await playlist(replica)).pathways == ["origin"]
        replica.backstage.titles = replica.backstage.titles[1:]
        path = url.removeprefix(replica.url)
        await replica.until(path, lambda status, _: status == 410)
        assert (await replica.get(path))[1]["status"] == 410
        assert (await replica.get("/v1/play/film.m3u8"))[0] == 404


async def test_a_player_always_knows_two_pathways_and_one_that_has_everything(
    tmp_path: Path,
) -> None:
    """hls.js fails over on errors only when it was told of two; dash.js stops at a Representation
    that no priority serves. Without an origin in the manifest all that it lists is named."""
    async with running(tmp_path) as replica:
        await replica.report("a1")
        base = f"{replica.url}/v1/steering/hls?title=film&pathways="
        assert order(await steer(replica, base + "a1,origin")) == ["a1", "origin"]
        assert order(await steer(replica, base + "a1,b1")) == ["a1", "b1"]
        await replica.report("b1")
        await replica.send_drain("x1")
        answer = await steer(replica, base + "a1,origin,unknown-box")
        assert order(answer) == ["a1", "origin"]
