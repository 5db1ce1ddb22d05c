"""The throughput that players are told is that of their path: bytes ÷ time busy, no bursts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oca.throughput import ANSWERS_MAX, Meter, Reading

TOOLS = ("unshare", "ip", "tc")


def shape(tmp_path: Path, *args: int) -> list[str]:
    """What a player was told over a shaped path, answer by answer."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() or missing:
        pytest.skip(f"shaping a path needs root and {', '.join(TOOLS)}")
    command = ["unshare", "--net", sys.executable, "-m", "tests.oca.shaped", str(tmp_path)]
    done = subprocess.run(
        [*command, *map(str, args)], capture_output=True, timeout=120, check=False
    )
    if b"Operation not permitted" in done.stderr:
        pytest.skip("no right to make a network namespace or shape it")
    assert done.returncode == 0, done.stderr.decode()
    told: list[str] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(("kbit", "size"), [(8_000, 1_000_000), (40_000, 3_000_000)])
def test_over_a_shaped_path_the_estimate_is_its_rate(tmp_path: Path, kbit: int, size: int) -> None:
    """After the first segment within 25 % of the shaped rate, and never far above it."""
    told = shape(tmp_path, kbit, size, 6)
    assert "etp" not in told[0]
    etps = [int(re.findall(r";etp=(\d+)", text)[0]) for text in told[1:]]
    assert all(0.75 * kbit < etp < 1.25 * kbit for etp in etps), etps
    assert all(re.search(r";rtt=[1-9]\d*$", text) for text in told), told


def reading(
    acked: int, busy_ms: int, *, held_ms: int = 0, rate_bps: int = 0, limited: bool = False
) -> Reading:
    """A connection's counters so far."""
    return Reading(
        acked_bytes=acked,
        busy_us=1000 * busy_ms,
        held_us=1000 * held_ms,
        rtt_us=20_000,
        rate_bps=rate_bps,
        app_limited=limited,
    )


def test_nothing_is_said_before_something_was_measured() -> None:
    """A new connection, and one that carried less than TCP's first window."""
    meter = Meter()
    meter.learn(reading(1, 0))
    assert meter.kbps() is None
    meter.learn(reading(10_000, 30))
    assert meter.kbps() is None
    assert meter.rtt_us == 20_000


def test_the_estimate_follows_the_path_within_a_few_answers() -> None:
    """1 MB a second, then a fifth: after ANSWERS_MAX slow ones the fast ones are forgotten."""
    meter, acked, busy_ms = Meter(), 0, 0
    for _ in range(ANSWERS_MAX):
        acked, busy_ms = acked + 1_000_000, busy_ms + 1000
        meter.learn(reading(acked, busy_ms))
    assert meter.kbps() == 8000
    for _ in range(ANSWERS_MAX):
        acked, busy_ms = acked + 200_000, busy_ms + 1000
        meter.learn(reading(acked, busy_ms))
    assert meter.kbps() == 1600


def test_what_was_held_back_does_not_lower_the_estimate() -> None:
    """Our pacing, a player that reads slowly, and answers too small to fill the path: lower bounds,
    which count only while nothing better is known."""
    for bound in ({"held_ms": 900}, {"limited": True}, {}):
        meter = Meter()
        meter.learn(reading(1_000_000, 1000))
        meter.learn(reading(1_100_000, 2000, **bound), 0 if bound else 800_000)
        assert meter.kbps() == 8000, bound
        alone = Meter()
        alone.learn(reading(100_000, 1000, **bound), 0 if bound else 800_000)
        assert alone.kbps() == 800, bound


def test_a_pace_above_the_path_holds_nothing_back() -> None:
    """Asked for 100 Mbit/s over a path of 8: the answer was as fast as the path."""
    meter = Meter()
    meter.learn(reading(1_000_000, 1000))
    meter.learn(reading(1_500_000, 2000), 100_000_000)
    assert meter.kbps() == 6000


def test_times_too_short_to_measure_leave_it_to_the_kernel() -> None:
    """A megabyte within a tick of the clock: the kernel's own rate is all there is."""
    meter = Meter()
    meter.learn(reading(1_000_000, 4, rate_bps=900_000_000))
    assert meter.kbps() == 900_000
