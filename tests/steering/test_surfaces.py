"""A real replica with reporting boxes: JSON answers, refusals, explain, drain."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from tests.steering.replica import (
    BOXES,
    HEARTBEAT_S,
    HOSTS,
    IN_A,
    IN_B,
    ROOT,
    Backstage,
    Replica,
    running,
)


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
        assert answer["home"] == "isp-a" and answer["ttl_s"] in (6, 7) and not answer["stale"]
        urls = answer["assets"][0]["urls"]
        assert list(urls) == order
        best = urls[order[0]]
        assert best.startswith(f"http://{HOSTS[order[0]]}:") and "/a/2;URISigningPackage=" in best
        assert {replica.home_of(url) for url in urls.values()} == {"isp-a"}
        _, other = await replica.get("/v1/steer?title=film", source=IN_B)
        assert other["home"] == "isp-b" and other["places"][0]["pathway"] == "b1"
        assert [asset["name"] for asset in other["assets"]] == ["360p", "720p", "1080p", "audio"]


async def test_unknown_and_malformed_questions_are_problems_that_name_the_field(
    tmp_path: Path,
) -> None:
    """404 for what does not exist, 400 with the field for what cannot be read."""
    async with running(tmp_path) as replica:
        for path, status, field in [
            ("/v1/steer?asset=77", 404, None),
            ("/v1/steer?title=nothing", 404, None),
            ("/v1/play/nothing.m3u8", 404, None),
            ("/v1/play/short.mpd", 404, None),
            ("/v1/play/film.txt", 404, None),
            ("/v1/nowhere", 404, None),
            ("/v1/steer", 400, "asset"),
            ("/v1/steer?asset=1&title=film", 400, "asset"),
            ("/v1/steer?asset=-1", 400, "asset"),
            ("/v1/steer?asset=4294967296", 400, "asset"),
            ("/v1/steer?asset=1&asset=2", 400, "asset"),
            ("/v1/steer?title=../x", 400, "title"),
            (f"/v1/steer?asset=1&client={IN_B}", 400, "client"),
            ("/v1/steering/hls?title=film", 400, "pathways"),
            ("/v1/steering/hls?title=film&pathways=a%20b", 400, "pathways"),
            ("/v1/steering/dash?pathways=a1", 400, "title"),
        ]:
            got, headers, body = await replica.ask(path)
            problem = json.loads(body)
            assert (got, problem.get("field")) == (status, field), (path, problem)
            assert headers["Content-Type"].startswith("application/problem+json")
            assert headers["Access-Control-Allow-Origin"] == "*"


async def test_without_any_box_or_origin_json_says_503_and_steering_still_names_a_pathway(
    tmp_path: Path,
) -> None:
    """Retry-After for programs; for a playing player the least bad pathway it knows."""
    backstage = Backstage(tmp_path)
    await backstage.start()
    replica = Replica(tmp_path, backstage)
    replica.drained.add("origin")
    try:
        await replica.start()
        for path in ("/v1/steer?asset=1", "/v1/play/film.m3u8"):
            status, headers, body = await replica.ask(path)
            assert status == 503 and int(headers["Retry-After"]) > 0, body
        listed = "/v1/steering/hls?title=film&pathways=a1,x1,origin"
        status, answer = await replica.get(listed)
        assert status == 200 and {*answer["PATHWAY-PRIORITY"]} <= {"a1", "x1", "origin"}
        assert len(answer["PATHWAY-PRIORITY"]) >= 2, "with one alone hls.js does not fail over"
    finally:
        await replica.kill()
        await backstage.stop()


async def test_explain_shows_every_site_and_box_with_its_reason(tmp_path: Path) -> None:
    """The command asks the running replica: H, C, D and who was chosen instead."""
    async with running(tmp_path) as replica:
        await replica.report("a1", assets=[1])
        await replica.report("x1")
        await replica.report("x2")
        await replica.send_drain("x2")
        status, told = await replica.get(f"/v1/explain?client={IN_A}&asset=2", admin=True)
        assert status == 200 and [site["site"] for site in told["sites"]] == [
            "isp-a", "ix", "origin"
        ]  # fmt: skip
        boxes = {box["appliance"]: box for site in told["sites"] for box in site["boxes"]}
        letters = {name: box["reason"] for name, box in boxes.items()}
        assert letters == {"a1": "C", "a2": "H", "x1": None, "x2": "D", "origin": None}
        assert boxes["x1"]["chosen"] and boxes["x1"]["score"] > 0
        printed = await command(
            "explain", "--client", IN_A, "--asset", "2", "--admin", replica.admin
        )
        rows = [line for line in printed.splitlines() if "│" in line]
        ranks = [row.split("│")[2].strip() for row in rows if row.split("│")[1].strip().isdigit()]
        assert ranks == ["isp-a", "ix", "origin"]
        assert "C: does not hold it; H: unhealthy or silent" in printed
        assert "D · drained by an operator" in printed and "Answer: x1 → origin" in printed
        listed = await command("fleet", "--admin", replica.admin)
        assert "never heard" in listed and "in_service" in listed


async def test_drain_takes_a_box_out_of_new_answers_and_back(tmp_path: Path) -> None:
    """An operator's word, by the admin listener only."""
    async with running(tmp_path) as replica:
        await replica.report("a1")
        assert (await first(replica)) == "a1"
        assert (await replica.ask("/v1/drain/a1", method="POST"))[0] == 404
        await replica.send_drain("a1")
        assert (await first(replica)) == "origin"
        await replica.ask("/v1/drain/a1", method="DELETE", admin=True)
        assert (await first(replica)) == "a1"
        assert (await replica.ask("/v1/drain/zz", method="POST", admin=True))[0] == 404


async def test_silent_box_is_left_within_three_heartbeats_and_taken_again(tmp_path: Path) -> None:
    """While four others speak; its first heartbeat afterwards brings it back, gently."""
    async with running(tmp_path, heartbeat_s=HEARTBEAT_S) as replica:
        await full_fleet(replica)
        _, answer = await replica.get("/v1/steer?asset=2", source=IN_B)
        assert answer["home"] == "isp-b"
        end = time.monotonic() + 5 * HEARTBEAT_S
        while time.monotonic() < end:
            for name in ("a1", "a2", "x1", "x2"):
                await replica.beat(name)
            await asyncio.sleep(0.05)
        _, answer = await replica.get("/v1/steer?asset=2", source=IN_B)
        assert answer["places"][0]["site"] == "ix" and answer["home"] == "isp-b"
        assert (await replica.fleet())["b1"]["state"] == "unhealthy"
        await replica.beat("b1")
        back = (await replica.fleet())["b1"]
        assert back["state"] == "in_service" and 0 < back["admit"] < 0.1  # canary traffic first


async def test_forwarded_counts_from_the_listed_proxy_only(tmp_path: Path) -> None:
    """A viewer who writes the header himself stays where his socket is."""
    async with running(tmp_path, proxies=["127.99.0.1"]) as replica:
        await full_fleet(replica)
        path, header = "/v1/steer?asset=2", {"Forwarded": f"for={IN_B}"}
        spoofed = await replica.get(path, source=IN_A, **header)
        assert spoofed[1]["home"] == "isp-a"
        assert (await replica.get(path, source="127.99.0.1", **header))[1]["home"] == "isp-b"
        assert (await replica.get(path, source="127.99.0.1"))[1]["home"] == "ix"
        broken = await replica.get(path, source="127.99.0.1", Forwarded="for=[x")
        assert broken[0] == 400 and broken[1]["field"] == "Forwarded"


async def test_browsers_of_any_origin_may_ask_and_nothing_is_cached(tmp_path: Path) -> None:
    """Preflight included."""
    async with running(tmp_path) as replica:
        for path in ("/v1/steer?asset=1", "/v1/play/film.m3u8", "/v1/play/film.mpd",
                     "/v1/steering/hls?title=film&pathways=origin"):  # fmt: skip
            status, headers, _ = await replica.ask(path, Origin="http://page.example")
            assert status == 200 and headers["Access-Control-Allow-Origin"] == "*"
            assert headers["Cache-Control"] == "no-store"
        status, headers, _ = await replica.ask(
            "/v1/steer", method="OPTIONS", Origin="http://page.example",
            Access_Control_Request_Method="GET", Access_Control_Request_Headers="cmcd-request",
        )  # fmt: skip
        assert status == 204 and headers["Access-Control-Allow-Headers"] == "*"


async def test_a_web_page_may_not_use_an_operators_browser(tmp_path: Path) -> None:
    """Any page may send a plain POST or GET to 127.0.0.1; it must not drain or read the fleet."""
    async with running(tmp_path) as replica:
        page = {"Origin": "http://page.example"}
        for path, method in (("/v1/drain/a1", "POST"), ("/v1/fleet", "GET")):
            status, headers, _ = await replica.ask(path, method=method, admin=True, **page)
            assert status == 403
        status, headers, _ = await replica.ask("/v1/fleet", admin=True)
        assert status == 200 and "Access-Control-Allow-Origin" not in headers
        assert (await replica.fleet())["a1"]["state"] != "drained"


async def test_admin_may_ask_for_any_client_and_metrics_count(tmp_path: Path) -> None:
    """`client=` works there; decisions, reasons and reports are on /metrics."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        _, answer = await replica.get(f"/v1/steer?asset=2&client={IN_B}", admin=True)
        assert answer["home"] == "isp-b"
        _, text = await replica.get("/metrics", admin=True)
        assert 'steering_decisions_total{surface="steer"} 1.0' in text
        assert 'steering_reports_total{kind="heartbeat",result="200"} 5.0' in text
        assert 'steering_boxes{state="in_service"} 5.0' in text
        assert (await replica.get("/v1/explain?client=1.1.1.1&asset=1"))[0] == 404


async def test_each_decision_leaves_one_record_without_the_address(tmp_path: Path) -> None:
    """The client's /24, ranks, reasons and who was chosen; no address, no token."""
    async with running(tmp_path) as replica:
        await replica.report("x1")
        await replica.report("a1", assets=[])
        await replica.get("/v1/steer?asset=2")
        file = tmp_path / "state" / "decisions.jsonl"
        await replica.until(
            "/healthz", lambda *_: file.exists() and b"decision" in file.read_bytes()
        )
        text = file.read_text()
        (record,) = [json.loads(line) for line in text.splitlines() if '"decision"' in line]
        assert record["client"] == "127.16.5.0/24" and record["policy"] == "default"
        assert record["ranks"] == [["isp-a", 0], ["ix", 1]]
        assert ["a1", "C"] in record["passed"] and ["a2", "H"] in record["passed"]
        assert record["chosen"] == ["x1", "origin"] and record["home"] == "isp-a"
        for written in (text, (tmp_path / "log").read_text()):
            assert IN_A not in written and "URISigningPackage" not in written
            assert "eyJ" not in written
        _, text = await replica.get("/metrics", admin=True)
        assert 'steering_records_total{result="written"} 1.0' in text


async def test_one_signature_serves_all_sessions_of_a_title_and_home(tmp_path: Path) -> None:
    """Within a time bucket two clients of one ISP get the same token, another ISP another one."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)

        async def token(source: str) -> str:
            _, answer = await replica.get("/v1/steer?title=film", source=source)
            return str(answer["assets"][0]["urls"]["origin"])

        assert await token(IN_A) == await token("127.16.99.9") != await token(IN_B)


async def first(replica: Replica) -> str:
    """The best place for a client of ISP A now."""
    _, answer = await replica.get("/v1/steer?asset=2")
    return str(answer["places"][0]["pathway"])


async def command(*words: str) -> str:
    """What `steering …` prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "steering", *words, stdout=PIPE, stderr=STDOUT, cwd=ROOT
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()
