"""A real replica with reporting boxes: JSON answers, refusals, explain, drain."""

from __future__ import annotations

from pathlib import Path

from tests.steering.replica import BOXES, HOSTS, IN_B, Replica, running


async def full_fleet(replica: Replica) -> None:
    """Every box holds the whole film; the short one is only at the origin."""
    for name in BOXES:
        if name != "origin":
            await replica.report(name)


async def test_client_is_sent_to_its_own_isp_then_the_exchange_then_the_origin(
    tmp_path: Path,
) -> None:
    """Longest prefix first, every URL signed for the client's home site, origin last."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        status, answer = await replica.get("/v1/steer?asset=2")
        assert status == 200, answer
        order = [place["pathway"] for place in answer["places"]]
        assert {"a1", "a2"} == set(order[:2]) and order[2] in ("x1", "x2")
        assert order[3:] == ["origin"]
        assert [place["rank"] for place in answer["places"]] == [0, 0, 1, 2]
        assert answer["home"] == "isp-a" and answer["ttl_s"] == 7 and not answer["stale"]
        urls = answer["assets"][0]["urls"]
        assert list(urls) == order
        best = urls[order[0]]
        assert best.startswith(f"http://{HOSTS[order[0]]}:") and "/a/2;URISigningPackage=" in best
        assert {replica.home_of(url) for url in urls.values()} == {"isp-a"}
        _, other = await replica.get("/v1/steer?title=film", source=IN_B)
        assert other["home"] == "isp-b" and other["places"][0]["pathway"] == "b1"
        assert [asset["name"] for asset in other["assets"]] == ["360p", "720p", "1080p", "audio"]
