"""What an operator sees of a fill under way, and what peers are told of it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from click.testing import CliRunner, Result

from oca.cli import cli
from oca.coming import HOLDS_S, Coming, say_coming
from tests.oca.agent.test_filling import lie
from tests.oca.agent.world import SourceServer, World, eventually, served
from wire.plan import SourceKind


async def run(*args: str) -> Result:
    """A command of `oca`, while the loop goes on."""
    return await asyncio.to_thread(CliRunner(env={"COLUMNS": "140"}).invoke, cli, args)


async def test_fill_status_shows_what_runs_waits_and_was_struck_off(
    tmp_path: Path, unused_port: int
) -> None:
    """Bars, rate, window, budget, the waiting list, and the liar by name."""
    world = World(tmp_path)
    world.library.add(1, 12_000_000)  # 24 s: still under way when a busy machine asks
    world.library.add(2, 50_000)
    world.library.add(3, 1_000_000)
    world.settings["admin"] = f"127.0.0.1:{unused_port}"
    world.settings["fill"] = {
        "rate_bps": 4_000_000,
        "assets_parallel": 2,
        "timezone": "Europe/Paris",
        "budget_bytes": 50_000_000,
    }
    good, bad = SourceServer(world.library), SourceServer(world.library, fault=lie, lacks={1, 3})
    async with served(good.app()) as good_url, served(bad.app()) as bad_url:
        world.source("bad", bad_url, SourceKind.SITE)
        world.source("origin", good_url)
        world.fill.publish(world.wanting(7, 1, 2, 3, fill_bytes=40_000_000))
        async with world.filled():
            await eventually(lambda: world.shelf() == {2})
            await asyncio.sleep(1.0)
            shown = await run("fill-status", "--admin", world.settings["admin"])
            told = await run("fill-status", "--json", "--admin", world.settings["admin"])
    assert shown.exit_code == 0, shown.output
    for words in (
        "generation 7", "1 assets, 50.0 kB; 2 to come", "of 4.0 Mb/s", "always (Europe/Paris)",
        "of 40.0 MB (plan)", "of 50.0 MB (night of", "12.0 MB", "STRUCK OFF", "wrong_bytes",
        "origin", "━",
    ):  # fmt: skip
        assert words in shown.output, (words, shown.output)
    status = json.loads(told.output)
    running = {item["asset"]: item for item in status["progress"]}
    assert 0 < running[1]["have_bytes"] < 12_000_000 and running[1]["eta_s"] > 0
    assert status["sources"]["bad"]["struck_off"] and status["sources"]["origin"]["bytes"] > 50_000
    assert status["budget"]["plan_spent_bytes"] > 50_000


async def test_a_pause_says_why_and_when_it_ends(tmp_path: Path, unused_port: int) -> None:
    """A closed window is named with its zone and the time until it opens."""
    world = World(tmp_path)
    world.library.add(1, 1000)
    hour = time.gmtime().tm_hour
    window = f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00"
    world.settings["admin"] = f"127.0.0.1:{unused_port}"
    world.settings["fill"] = {"window": window, "timezone": "UTC"}
    origin = SourceServer(world.library)
    async with served(origin.app()) as url:
        world.source("origin", url)
        world.fill.publish(world.wanting(1, 1))
        async with world.filled():
            await eventually(lambda: (tmp_path / "run" / "plan.jws").exists())
            await asyncio.sleep(0.5)
            shown = await run("fill-status", "--admin", world.settings["admin"])
    assert f"paused: the fill window is {window} (UTC)" in shown.output
    assert "opens in 1:" in shown.output or "opens in 2:00" in shown.output


async def test_a_box_that_does_not_answer_is_one_line(unused_port: int) -> None:
    """Not a traceback."""
    shown = await run("fill-status", "--admin", f"127.0.0.1:{unused_port}")
    assert shown.exit_code == 1
    assert "does not answer" in str(shown.exception)


def test_what_is_coming_is_believed_for_a_while_only(tmp_path: Path) -> None:
    """A box that died half-way is not waited for; another word replaces the last."""
    worker = Coming(tmp_path)
    assert not worker.has(7, 100)
    say_coming(tmp_path, [7, 9], 100)
    assert worker.has(7, 101) and worker.has(9, 100 + HOLDS_S - 1) and not worker.has(8, 101)
    assert not worker.has(7, 100 + HOLDS_S)
    say_coming(tmp_path, [8], 110)
    assert worker.has(8, 111) and not worker.has(7, 111)
    (tmp_path / "coming.map").write_bytes(b"torn")
    assert not worker.has(8, 111)
