"""`oca routes` as a process: bursts become one file, bad lines are skipped, its end is survived."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oca.agent.routes import RoutesFile
from oca.bgp.feed import BURST_S, QUIET_S, Schedule
from tests.oca.bgp.lines import announce, end, opened, state, withdraw

ONE, TWO = "198.51.100.0/24", "203.0.113.0/24"


class Feeder:
    """A running `oca routes`; we are its exabgp."""

    def __init__(self, file: Path, *options: str) -> None:
        self.file = file
        self.process = subprocess.Popen(
            [sys.executable, "-m", "oca", "routes", "--file", str(file), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def say(self, *lines: bytes) -> None:
        """exabgp writes these lines."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def told(self) -> dict[str, Any]:
        """The file now."""
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads(self.file.read_bytes()))
        return {"routes": []}

    @property
    def prefixes(self) -> list[str]:
        return sorted(route["prefix"] for route in self.told()["routes"])

    def end(self) -> None:
        """exabgp closes our stdin."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0

    def kill(self) -> None:
        """No chance to say anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def eventually(claim: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait until the claim holds."""
    end_s = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.01)


@pytest.fixture
def feeder(tmp_path: Path) -> Iterator[Feeder]:
    made = Feeder(tmp_path / "routes.json", "--prefixes-max", "2000")
    yield made
    made.kill()


def test_bursts_become_one_file_and_nonsense_is_skipped(feeder: Feeder) -> None:
    """A thousand lines, some of them no lines at all, and then the file says what they say."""
    feeder.say(opened(60), state("up"))
    for number in range(1000):
        feeder.say(announce(f"10.{number // 250}.{number % 250}.0/24"))
        if number % 100 == 0:
            feeder.say(b"what?\n", b"\xff\x00\n", announce("10.0.0.1/24"))
    feeder.say(end(), b"x" * 5_000_000 + b"\n", withdraw("10.0.0.0/24"))
    eventually(lambda: len(feeder.prefixes) == 999)
    told = feeder.told()
    assert told["malformed"] == 31
    assert told["neighbors"]["192.0.2.1"] == {"up": True, "paths": 999}
    assert told["routes"][0].keys() >= {"prefix", "as_path", "neighbor"}


def test_a_full_table_is_refused_and_the_agent_says_so(feeder: Feeder) -> None:
    """The reason is in the file, and from there in the box's heartbeat."""
    feeder.say(opened(60), state("up"), announce(ONE))
    eventually(lambda: feeder.prefixes == [ONE])
    for high in range(9):
        feeder.say(announce(*(f"10.{high}.{low}.0/24" for low in range(250))))
    eventually(lambda: feeder.prefixes == [])
    file = RoutesFile(feeder.file)
    file.refresh()
    assert "192.0.2.1: more than 2,000 prefixes" in file.fault


def test_a_new_life_goes_on_and_asks_for_everything_again(feeder: Feeder, tmp_path: Path) -> None:
    """Killed and started again (as exabgp does), the table stands; what it was never told again
    goes when the hold is over."""
    feeder.say(opened(60), state("up"), announce(ONE, TWO), end())
    eventually(lambda: feeder.prefixes == [ONE, TWO])
    feeder.kill()
    again = Feeder(feeder.file, "--hold-s", "3")
    try:
        assert again.process.stdout is not None
        assert again.process.stdout.readline() == b"announce route-refresh ipv4 unicast\n"
        again.say(b"done\n", announce(TWO))
        eventually(lambda: again.told().get("hold_s") == 3 and again.prefixes == [ONE, TWO])
        eventually(lambda: again.prefixes == [TWO])
        again.end()
        assert again.prefixes == [TWO]
    finally:
        again.kill()


def test_the_agent_believes_a_file_that_nobody_keeps_for_a_while_only(feeder: Feeder) -> None:
    """While the keeper lives its routes hold for ever; when it is dead, for its hold; and at once
    again when a new one begins."""
    feeder.say(opened(60), state("up"), announce(ONE), end())
    eventually(lambda: feeder.prefixes == [ONE])
    now = [1000.0]
    file = RoutesFile(feeder.file, lambda: now[0])
    assert file.refresh() and file.seq == 1
    now[0] += 10_000
    assert not file.refresh() and len(file.routes) == 1
    feeder.end()
    now[0] += 119
    assert not file.refresh() and not file.fault
    now[0] += 2
    assert file.refresh() and file.routes == () and file.seq == 2
    assert "is exabgp running?" in file.fault
    again = Feeder(feeder.file)
    try:
        eventually(file.refresh)
        assert [route.prefix for route in file.routes] == [ONE] and not file.fault
    finally:
        again.kill()


def test_a_file_is_written_after_quiet_and_at_the_latest_after_a_second() -> None:
    """Changes that never pause are written all the same; large files leave time between."""
    plan = Schedule()
    plan.changed(10.0)
    assert plan.due_s == 10.0 + QUIET_S
    for step in range(1, 40):
        plan.changed(10.0 + step * 0.05)
    assert plan.due_s == 10.0 + BURST_S
    plan.wrote(11.0, 13.0)
    plan.changed(13.1)
    assert plan.due_s == 17.0
