"""The load: wrk for rates, h2load for latencies at a given rate, and background clients.

All of it runs on the cores given, never on the server's unless the scenario says so.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stats import percentile

LUA = Path(__file__).with_name("requests.lua")
READY_S_MAX = 120.0
SPREAD_MS = 1
"""h2load starts one client per period of this length: all at once, their timers would fire in step
for ever and the load would be bursts."""


class LoadError(Exception):
    """A load generator failed or said what we do not understand."""


@dataclass(frozen=True, slots=True)
class Closed:
    """What wrk saw in a closed loop (each connection asks again when it has its answer)."""

    requests: int
    bytes: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclass(frozen=True, slots=True)
class Open:
    """What h2load saw at a given rate; `errors` counts what failed and what was not 200."""

    requests: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    errors: int


def pinned(cores: set[int], command: Sequence[str]) -> list[str]:
    """The command, on these cores only."""
    return ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]


def parse_wrk(text: str) -> Closed:
    """The RESULT line that requests.lua prints; raises LoadError without one."""
    for line in text.splitlines():
        if line.startswith("RESULT "):
            raw = json.loads(line.removeprefix("RESULT "))
            return Closed(
                requests=raw["requests"],
                bytes=raw["bytes"],
                seconds=raw["duration_us"] / 1e6,
                p50_ms=raw["p50_us"] / 1e3,
                p99_ms=raw["p99_us"] / 1e3,
                errors=raw["errors"],
            )
    raise LoadError(f"wrk printed no result: {text[-300:]!r}")


def wrk(
    url: str,
    requests: Path,
    *,
    connections: int,
    seconds: float,
    cores: set[int],
    threads: int = 1,
) -> Closed:
    """Closed loop over the list of requests; raises LoadError."""
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command += ["--timeout", "10s", "--latency", "-s", str(LUA), url, "--", str(requests)]
    done = subprocess.run(pinned(cores, command), capture_output=True, text=True)
    if done.returncode:
        raise LoadError(f"wrk failed: {(done.stderr or done.stdout)[-300:]}")
    return parse_wrk(done.stdout)


def parse_h2load_log(text: str, expected: int) -> Open:
    """h2load's --log-file: start µs, status, duration µs per line. What is missing is an error;
    raises LoadError if nothing was answered."""
    times_ms, good = [], 0
    for line in text.splitlines():
        _, status, took_us = line.split("\t")[:3]
        if status == "200":
            good += 1
            times_ms.append(int(took_us) / 1e3)
    if not times_ms:
        raise LoadError("h2load got no answer at all")
    return Open(
        requests=good,
        p50_ms=percentile(times_ms, 0.50),
        p99_ms=percentile(times_ms, 0.99),
        worst_ms=max(times_ms),
        errors=expected - good,
    )


def at_once(command: Sequence[str]) -> list[str]:
    """The command, before everything else on its core (SCHED_FIFO) where one may: a load generator
    that shares a core with what it measures would else measure how long it waited for it."""
    if shutil.which("chrt") and os.geteuid() == 0:
        return ["chrt", "--fifo", "50", *command]
    return list(command)


def h2load(
    url: str,
    requests: Path,
    *,
    clients: int,
    rate_each: int,
    seconds: float,
    cores: set[int],
    first: bool = False,
) -> Open:
    """Open loop: every client asks `rate_each` times a second whatever happens, as far as one
    connection allows; `first`: before all else on its cores. Raises LoadError."""
    total = int(clients * rate_each * seconds)
    log = requests.parent / "h2load.log"
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", "-t1", f"-c{clients}", f"-n{total}", "-r1"]
    command += [f"--rate-period={SPREAD_MS}ms", f"--rps={rate_each}", "-N10", "-T10"]
    command += [f"--log-file={log}", "-i", str(requests), "-B", url]
    command = pinned(cores, at_once(command) if first else command)
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, timeout=seconds * 3 + 20)
    if not log.exists():
        raise LoadError("h2load wrote no log")
    return parse_h2load_log(log.read_text(), total)


@dataclass
class Background:
    """Clients that run beside a measurement; `result` is what they said when they ended."""

    process: subprocess.Popen[str]
    result: dict[str, float]


@contextmanager
def background(kind: str, cores: set[int], **options: object) -> Iterator[Background]:
    """`python -m benchmarks.clients KIND --name value…`, from when it says that it is ready until
    the block ends. Raises LoadError when it does not get there."""
    command = [sys.executable, "-m", "benchmarks.clients", kind]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    root = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        pinned(cores, command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    running = Background(process, {})
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            _, errors = process.communicate(timeout=READY_S_MAX)
            raise LoadError(f"the {kind} clients did not start: {errors[-300:]}")
        yield running
        output, _ = process.communicate(timeout=READY_S_MAX)  # closes stdin: that ends them
        running.result = json.loads(output)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
