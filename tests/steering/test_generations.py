"""Configuration changes while a real replica runs: checked, told, taken up, gone back from."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from steering.change import change, check_loss
from steering.generations import KEPT, Generations
from steering.locate import RouteTable
from steering.policy import DEFAULT, Policy
from steering.view import Silence, View
from tests.steering.replica import ROOT, Replica, running
from tests.steering.test_surfaces import first, full_fleet
from tests.steering.test_view import NAMES, beat, fleet, inventory, routes
from wire.errors import ConflictError, NotFoundError
from wire.generations import Generation


async def steering(*words: str) -> tuple[int | None, str]:
    """Exit code and what `steering …` prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "steering", *words, stdout=PIPE, stderr=STDOUT, cwd=ROOT
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


async def generation(replica: Replica) -> int:
    """The one that runs, by /v1/fleet."""
    _, state = await replica.get("/v1/fleet", admin=True)
    return int(state["generation"])


async def test_a_fleet_file_is_tried_published_and_rolled_back_without_a_restart(
    tmp_path: Path,
) -> None:
    """The dry run says boxes, sites and capacity, and changes nothing; a drained box gets no more
    clients; a box that is gone may not report; one command brings both back."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        assert await generation(replica) == 1
        replica.drained.add("a1")
        replica.without.add("x2")
        replica.write()
        file = str(replica.config)
        code, told = await steering("config", "publish", file, "--dry-run")
        assert code == 0, told
        assert "x2" in told and "removed" in told and "in_service → drained" in told
        assert "2 → 1" in told and "Nothing was changed: generation 1 runs on" in told
        assert (await replica.fleet())["a1"]["state"] == "in_service"
        code, told = await steering("config", "publish", file)
        assert code == 0 and "Generation 2 runs." in told, told
        boxes = await replica.fleet()
        assert boxes["a1"]["state"] == "drained" and "x2" not in boxes
        assert await first(replica) == "a2"
        assert (await replica.beat("x2"))[0] == 401
        _, text = await replica.get("/metrics", admin=True)
        assert "steering_config_generation 2.0" in text
        code, told = await steering("config", "rollback", "--admin", replica.admin)
        assert code == 0 and "Generation 3 runs." in told, told
        assert set(await replica.fleet()) >= {"a1", "x2"}
        assert (await replica.beat("x2"))[0] == 200
        _, state = await replica.get("/v1/config", admin=True)
        assert [one["by"] for one in state["generations"]] == [
            "start", "publish", "admin: rollback to 1"
        ]  # fmt: skip
        await replica.kill(signal.SIGTERM)
        replica.write()
        await replica.start()
        assert await generation(replica) == 3, "files that did not change must not undo a rollback"


async def test_sighup_takes_up_a_good_file_and_refuses_a_bad_one(tmp_path: Path) -> None:
    """What the boxes reported stays; of a bad file the log says which file, field and why."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        before = replica.config.read_text()
        replica.config.write_text(before.replace("ttl_s = 7", "ttl_s = 11"))
        await hang_up(replica)
        await replica.until("/v1/config", lambda _, state: state["running"] == 2)
        _, answer = await replica.get("/v1/steer?asset=2")
        assert answer["ttl_s"] in (10, 11) and answer["places"][0]["site"] == "isp-a"
        for text, says in [
            (before.replace("ttl_s = 7", "ttl_s = 0"), "policy.ttl_s: 0 is not between"),
            (before.replace("[policy]", "[policy]\nkinds = []"), "policy.kinds"),
            (before.replace("[policy]", "[policie]"), "policie"),
        ]:
            replica.config.write_text(text)
            await hang_up(replica)
            await replica.until("/healthz", lambda *_, says=says: says in log(replica))
            status, problem = await post(replica.admin, "/v1/config/reload", b"")
            assert status == 400 and problem["field"] == says.partition(":")[0]
            assert "steering.toml" in problem["detail"]
        fleet_file = tmp_path / "fleet.toml"
        good = fleet_file.read_text()
        replica.config.write_text(before)
        fleet_file.write_text(good.replace('site = "isp-b"', 'site = "isp-c"'))
        code, told = await steering("config", "reload", "--admin", replica.admin)
        assert code == 1 and "appliance[2].site" in told and "there is no site isp-c" in told
        assert await generation(replica) == 2
        _, answer = await replica.get("/v1/steer?asset=2")
        assert answer["ttl_s"] in (10, 11)


async def hang_up(replica: Replica) -> None:
    """SIGHUP to the process."""
    assert replica.process is not None
    replica.process.send_signal(signal.SIGHUP)


def log(replica: Replica) -> str:
    """What it logged so far."""
    return (replica.folder / "log").read_text()


async def test_a_fleet_file_cut_in_half_needs_force(tmp_path: Path) -> None:
    """Most boxes gone at once is a mistake until somebody says that it is not."""
    async with running(tmp_path) as replica:
        replica.without |= {"a2", "b1", "x1", "x2"}
        replica.write()
        file = str(replica.config)
        code, told = await steering("config", "publish", file)
        assert code == 1 and "4 of 5 boxes" in told and "--force" in told
        assert await generation(replica) == 1
        status, _ = await post(replica.admin, "/v1/config/reload?force=1", b"")
        assert status == 200 and await generation(replica) == 2


async def test_drafts_that_are_none_are_refused_by_field(tmp_path: Path) -> None:
    """Over the admin listener only."""
    async with running(tmp_path) as replica:
        for draft, field in [
            (b'{"policy":{"ttl_s":0}}', "ttl_s"),
            (b'{"policy":{"load":1}}', "$.load"),
            (b'{"fleet":"="}', ""),
            (b'{"fleet":3}', "$.fleet"),
            (b"{", "$"),
        ]:
            status, problem = await post(replica.admin, "/v1/config", draft)
            assert (status, problem.get("field", "")) == (400, field), problem
        status, problem = await post(replica.admin, "/v1/config?dry_run=yes", b"{}")
        assert (status, problem["field"]) == (400, "dry_run")
        status, _ = await post(replica.admin, "/v1/config/rollback", b"")
        assert status == 404
        assert (await post(replica.url, "/v1/config", b"{}"))[0] == 404


async def post(base: str, path: str, body: bytes) -> tuple[int, Any]:
    """Status and JSON of a POST."""
    async with aiohttp.ClientSession() as session, session.post(base + path, data=body) as answer:
        return answer.status, await answer.json(content_type=None)


def made(number: int) -> Generation:
    """One with nothing in it."""
    return Generation(number=number, at_s=0.0, by="test", fleet="", policy={})


def test_numbers_only_grow_and_the_oldest_go(tmp_path: Path) -> None:
    """A crash between two writes leaves the old one current; a damaged file is no generation."""
    store = Generations(tmp_path / "g")
    assert store.current() is None and store.next_number() == 1
    for number in range(1, KEPT + 3):
        store.add(made(number))
    assert store.numbers()[0] == 3 and store.next_number() == KEPT + 3
    (tmp_path / "g" / f"{KEPT + 3:08d}.json").write_bytes(b"{")
    current = store.current()
    assert current is not None and current.number == KEPT + 2
    assert store.next_number() == KEPT + 4
    (tmp_path / "g" / "current").write_text("nonsense")
    assert Generations(tmp_path / "g").current() is None
    with pytest.raises(NotFoundError):
        store.read(1)


def test_a_change_says_what_becomes_of_each_site() -> None:
    """Weights count as capacity: 0 is out of service."""
    before, after = (fleet(), DEFAULT), (fleet(drained="b"), Policy(weights={"a": 0, "c": 0.5}))
    found = change(before, after)
    (site,) = found.capacity
    assert (site.site, site.boxes_before, site.boxes_after) == ("isp", 5, 3)
    assert (site.before_bps, site.after_bps) == (5_000_000, 2_500_000)
    assert [box.id for box in found.boxes] == ["b"] and found.policy[0].name == "weights"
    check_loss(before, after)
    with pytest.raises(ConflictError, match="3 of 5"):
        check_loss(before, (fleet(), Policy(weights=dict.fromkeys(NAMES[:3], 0.0))))
    assert change(before, before).is_empty


def test_what_boxes_reported_outlives_another_fleet_file() -> None:
    """Heartbeat, inventory and routes are kept; drained and weighted as the new files say."""
    seen = View(fleet(), Silence(10.0, 3))
    seen.heartbeat(beat("a", 1), 0.0)
    seen.inventory(inventory(1, [1, 2]))
    seen.routes(routes(1, "10.0.0.0/8"))
    seen.set_table(RouteTable.build(seen.sources(0.0)))
    assert not seen.reconfigure(fleet(), Policy(weights={"a": 2.0}))
    (box,) = [box for box in seen.snapshot(1.0).boxes["isp"] if box.id == "a"]
    assert box.weight == 2_000_000 and box.passed is None and 2 in box.holds
    assert seen.prefixes == 1 and seen.snapshot(1.0).policy.weights == {"a": 2.0}
    seen.reconfigure(fleet(drained="a"), DEFAULT)
    assert seen.state(1.0).boxes[0].state == "drained"
