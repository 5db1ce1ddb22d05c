"""Many assets in one question, and redirects for dumb clients, from a real replica."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from steering.address import parse_client
from steering.batch import Batch
from steering.engine import Engine, Moment
from steering.titles import table_of
from steering.tokens import TokenMint, TokenRules
from steering.view import Silence, View
from tests.steering.replica import EPOCH, HOSTS, IN_A, IN_B, Replica, running
from tests.steering.test_surfaces import full_fleet
from tests.steering.test_view import fleet
from wire.catalogue import AssetKind, Title, TitleAsset, TitleIndex
from wire.keys import new_private_pem, parse_private_key
from wire.steer import BATCH_MAX


async def post(replica: Replica, body: bytes, **headers: str) -> tuple[int, Any]:
    """A POST to /v1/steer from a client in ISP A."""
    connector = aiohttp.TCPConnector(local_addr=(IN_A, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(replica.url + "/v1/steer", data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_each_asset_of_a_batch_has_its_own_answer(tmp_path: Path) -> None:
    """In the order asked, an unknown one with its reason; a URL made of the parts is signed for
    the client's home and for what the one-asset answer names."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        status, found = await post(replica, json.dumps({"assets": [9, 2, 77, 5, 2, 1]}).encode())
        assert status == 200 and found["home"] == "isp-a" and found["ttl_s"] in (6, 7)
        assets = {asset["asset"]: asset for asset in found["assets"]}
        assert [asset["asset"] for asset in found["assets"]] == [9, 2, 77, 5, 1]
        assert assets[77]["reason"] == "unknown" and "path" not in assets[77]
        assert assets[9]["pathways"] == ["origin"] and assets[5]["pathways"] == ["origin"]
        _, one = await replica.get("/v1/steer?asset=2")
        bases = {place["pathway"]: place["base_url"] for place in found["places"]}
        made = {name: bases[name] + assets[2]["path"] for name in assets[2]["pathways"]}
        assert made == one["assets"][0]["urls"] and assets[2]["name"] == "720p"
        assert replica.home_of(made["origin"]) == "isp-a"
        assert [place["rank"] for place in found["places"]] == [0, 0, 1, 2]
        await refuses_what_cannot_be_read(replica)


async def refuses_what_cannot_be_read(replica: Replica) -> None:
    """Too many, too large, not numbers: the field is named."""
    for body, status, field in [
        (b'{"assets":[]}', 400, "$.assets"),
        (json.dumps({"assets": list(range(BATCH_MAX + 1))}).encode(), 400, "$.assets"),
        (b'{"assets":[1,"2"]}', 400, "$.assets[1]"),
        (b'{"assets":[-1]}', 400, "$.assets[0]"),
        (b"{}", 400, "$"),
        (b"[", 400, "$"),
        (b'{"assets":[' + b" " * 70_000 + b"1]}", 413, None),
    ]:
        got, problem = await post(replica, body)
        assert (got, problem.get("field")) == (status, field), (body[:40], problem)
    status, headers, body = await replica.ask("/v1/steer", method="OPTIONS", Origin="http://x")
    assert status == 204 and "POST" in headers["Access-Control-Allow-Methods"]


def engine_of(*titles: Title) -> Engine:
    """An engine with a fleet nobody has heard of, but the origin."""
    key = parse_private_key(new_private_pem("es256"), "k1", "k1")
    engine = Engine(View(fleet(), Silence(10.0, 3)), TokenMint(key, TokenRules("s", 900, 3600)))
    engine.set_titles(table_of(TitleIndex(epoch=EPOCH, titles=titles)))
    return engine


def test_a_batch_signs_once_a_title_and_decides_once_a_title() -> None:
    """One token covers all assets of a title that were asked for."""
    titles = [
        Title(
            id=f"t{number}",
            assets=tuple(
                TitleAsset(id=number * 10 + rung, name=f"v{rung}", kind=AssetKind.VIDEO)
                for rung in range(10)
            ),
        )
        for number in range(100)
    ]
    engine = engine_of(*titles)
    batch = Batch(engine, parse_client("10.1.1.1"), range(1000), Moment(0.0, 1e9))
    assert len(list(batch.steps())) == 100 == engine.tokens.signed
    found = batch.answer()
    assert len({asset.path.partition(";")[2] for asset in found.assets}) == 100
    assert all(asset.pathways == ("origin",) for asset in found.assets)


async def test_redirect_leads_to_the_best_box_with_a_token_and_the_query(tmp_path: Path) -> None:
    """GET and HEAD, never cached; the token that came is not passed on; each place gets its own."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        for method in ("GET", "HEAD"):
            status, headers, _ = await hop(replica, "/a/2/seg-1.m4s?CMCD=bl%3D1", method=method)
            assert status == 302 and headers["Cache-Control"] == "no-store"
            assert headers["Access-Control-Allow-Origin"] == "*"
            location = headers["Location"]
            assert location.endswith("/seg-1.m4s?CMCD=bl%3D1")
            _, one = await replica.get("/v1/steer?asset=2")
            best = one["places"][0]["pathway"]
            assert location.startswith(one["assets"][0]["urls"][best])
        _, headers, _ = await hop(replica, "/a/2;URISigningPackage=x.y.z/seg-1.m4s", source=IN_B)
        assert replica.home_of(headers["Location"]) == "isp-b" and "x.y.z" not in str(headers)


async def test_redirect_never_leads_back(tmp_path: Path) -> None:
    """Box after box says it has not got it: each is named once, then the origin, then nobody."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        _, one = await replica.get("/v1/steer?asset=2")
        urls = one["assets"][0]["urls"]
        by_host = {host: name for name, host in HOSTS.items()} | {"127.0.0.1": "origin"}
        passed: list[str] = []
        while "origin" not in passed:
            query = "&".join(f"not={name}" for name in passed)
            status, headers, _ = await hop(replica, f"/a/2/seg-1.m4s?{query}")
            assert status == 302
            host, _, path = headers["Location"].partition("/a/")
            assert path.endswith(query)
            name = by_host[host.removeprefix("http://").partition(":")[0]]
            assert name not in passed
            passed.append(name)
        assert passed[0] in ("a1", "a2") and len(passed) >= 4
        query = "&".join(f"not={name}" for name in passed)
        status, _, body = await hop(replica, f"/a/2/seg-1.m4s?{query}")
        assert status == 404 and b"origin has no such file" in body
        many = "&".join(f"not=b{number}" for number in range(9))
        _, headers, _ = await hop(replica, f"/a/2/seg-1.m4s?{many}")
        assert headers["Location"].startswith(urls["origin"].partition("/a/")[0])
        await refuses_what_is_no_file(replica)


async def refuses_what_is_no_file(replica: Replica) -> None:
    """Problem documents, no Location."""
    for path, status, field in [
        ("/a/77/x.m4s", 404, None),
        ("/a/two/x.m4s", 400, "asset"),
        ("/a/2/.asset.json", 404, None),
        ("/a/2/x%2Fy", 404, None),
        ("/a/2/x%0d%0aSet-Cookie:a", 404, None),
        ("/a/2/x?not=../b", 400, "not"),
        ("/a/2/x?not=a%0d", 400, "not"),
    ]:
        got, headers, body = await hop(replica, path)
        assert (got, json.loads(body).get("field")) == (status, field), path
        assert "Location" not in headers


async def hop(
    replica: Replica, path: str, method: str = "GET", source: str = IN_A
) -> tuple[int, Any, bytes]:
    """One step, not followed; the path goes out as it is written."""
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    url = URL(f"{replica.url}/v1/redirect{path}", encoded=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, url, allow_redirects=False) as answer,
    ):
        return answer.status, answer.headers, await answer.read()
