"""How soon a replica that was started again answers: the real command, from a full snapshot."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from benchmarks.measure import free_port
from benchmarks.steering_rig import make_replica, pems
from benchmarks.steering_world import FULL, box_keys, fleet, fleet_text, titles
from steering.fleetcache import keep
from wire.codec import encode
from wire.keys import new_private_pem

FIRST_S_MAX = 120.0


def prepare(folder: Path) -> None:
    """Configuration, catalogue and snapshot of a full world."""
    made = fleet(FULL, box_keys(pems()))
    text = fleet_text(made)
    (folder / "fleet.toml").write_text(text)
    (folder / "token.pem").write_bytes(new_private_pem())
    state = folder / "state"
    state.mkdir()
    (state / "titles.json").write_bytes(encode(titles(FULL)))
    keep(text.encode(), made, state)
    uvloop.run(_snapshot(folder))


async def _snapshot(folder: Path) -> None:
    async with aiohttp.ClientSession() as session:
        replica = await make_replica(folder, session, FULL, "independent", fresh=False)
        replica.view.fresh_inventories = set(replica.view.records)
        replica.view.fresh_routes = {
            name for name, record in replica.view.records.items() if len(record.routes)
        }
        await replica.store.save()
        await replica.tables.rebuild(time.monotonic())


def restarts(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds from the command to its first answer, and how long until everything is in memory."""
    world = folder / "world"
    world.mkdir()
    prepare(world)
    first_s = []
    for number in range(rounds + 1):
        with _running(world) as (process, port):
            begun_s = time.perf_counter()
            _first_answer(process, port, FIRST_S_MAX)
            if number:  # the first start writes a generation of the configuration
                first_s.append(time.perf_counter() - begun_s)
    return {"first_answer_s": first_s}


@contextmanager
def _running(world: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    (world / "steering.toml").write_text(
        f'fleet = "fleet.toml"\nstate = "state"\nlisten = "127.0.0.1:{port}"\n'
        f'admin = "127.0.0.1:{free_port()}"\n[catalogue]\nurl = "http://127.0.0.1:9"\n'
        '[tokens]\nkey_file = "token.pem"\nkid = "k1"\n'
    )
    command = [sys.executable, "-m", "steering", "serve", "--config", str(world / "steering.toml")]
    with (world / "log").open("ab") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield process, port
        finally:
            process.kill()


def _first_answer(process: subprocess.Popen[bytes], port: int, limit_s: float) -> None:
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/steer?asset=1", timeout=5).read()
            return
        time.sleep(0.01)
    raise RuntimeError("the replica does not answer")


def main() -> None:
    """The command: restarts alone."""
    with tempfile.TemporaryDirectory() as folder:
        print(restarts(Path(folder), 3))


if __name__ == "__main__":
    main()
