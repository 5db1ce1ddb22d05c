"""The running system: starts the processes in order, asks how they are, runs nightly commands."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.demo import layout
from deploy.demo.fleet import Run
from deploy.demo.processes import Crew, Process
from deploy.demo.tally import Bytes
from wire.auth import bearer
from wire.codec import decode
from wire.errors import WireError
from wire.keys import parse_private_key, parse_verify_key
from wire.offload import OffloadReport
from wire.plan import Plan, open_plan
from wire.steer import BoxState, FleetState

BIN = Path(sys.executable).parent
ASK_S = 2.0
LOOK_AGAIN_S = 0.1
COMMAND_S = 60
IN_SERVICE = "in_service"


class StageError(Exception):
    """Something that the story needs did not happen; the text says what, and where to look."""


@dataclass(slots=True)
class Stage:
    """The processes of one run, and questions to them."""

    run: Run
    crew: Crew

    def start_all(self) -> None:
        """Start fill, steering, origin and the appliances, and wait until all of them listen.

        Raises StageError when an address is taken, ProcessError when one does not come up."""
        places = {"fill": layout.FILL, "steering": layout.STEERING}
        places |= {box.id: f"{box.host}:{layout.PORT}" for box in layout.SERVERS}
        taken = [place for place in places.values() if listens(place)]
        if taken:
            raise StageError(f"something listens at {taken[0]} already: is another demo running?")
        self._start("fill", "fill", "night-1")
        self._start("steering", "steering", "steering")
        for box in layout.SERVERS:
            self._start(box.id, "oca", box.id)
        for name, place in places.items():
            self.crew.processes[name].wait_ready(partial(listens, place))

    def _start(self, name: str, program: str, config: str) -> Process:
        argv = [str(BIN / program), "serve", "--config", self.run.config(config)]
        return self.crew.start(name, argv)

    def boxes(self) -> dict[str, BoxState]:
        """Steering's view of the fleet by appliance; empty while it does not answer.

        Raises StageError when the answer cannot be read."""
        raw = ask(f"http://{layout.STEERING_ADMIN}/v1/fleet")
        try:
            state = decode(FleetState, raw, "fleet state") if raw else None
        except WireError as exc:
            raise StageError(f"steering's view of the fleet cannot be read: {exc}") from exc
        return {box.appliance: box for box in state.boxes} if state else {}

    def plan_of(self, box: layout.Box) -> Plan:
        """The plan that fill hands this box now, fetched and verified as the box does.

        Raises StageError when there is none."""
        pem = (self.run.folder / "keys" / f"{box.id}.pem").read_bytes()
        key = parse_private_key(pem, box.id, "key")
        raw = ask(
            f"http://{layout.FILL}/v1/plan/{box.id}",
            {"Authorization": bearer(key, "fill", time.time())},
        )
        if not raw:
            raise StageError(f"fill has no plan for {box.id}; see {self.crew.folder}/fill.log")
        keys = {"fill": parse_verify_key(self.run.plan_key, "plan key")}
        return open_plan(raw, keys)

    def planned_offload(self) -> dict[str, float]:
        """What the generation in force promises each embedded site, by fill's own summary."""
        plans = self.run.folder / "fill" / "generations"
        current = (plans / "current").read_text().strip()
        summary = json.loads((plans / current / "manifest.json").read_bytes())
        sites = summary["sites"]
        return {
            isp.site: sites[isp.site]["served_bytes"] / sites[isp.site]["demand_bytes"]
            for isp in layout.ISPS
        }

    def event_totals(self) -> Bytes:
        """The bytes in fill's books by (home site, serving box), of viewers in the ISPs.

        Bytes without a home are steering's own: it fetches the manifests from the origin.
        Raises StageError when fill does not answer."""
        raw = ask(f"http://{layout.FILL_ADMIN}/v1/offload")
        try:
            report = decode(OffloadReport, raw, "offload report")
        except WireError as exc:
            raise StageError(f"fill's books cannot be read: {exc}") from exc
        return Counter(
            {
                (home, box): size
                for home, one in report.homes.items()
                for box, size in one.by_appliance.items()
                if home
            }
        )

    def all_hold(self, plans: Mapping[str, Plan]) -> bool:
        """Whether every box has taken its plan, holds all of it, and steering knows so."""
        seen = self.boxes()
        for box in layout.BOXES:
            wanted = {one.asset for one in plans[box.id].desired}
            state = seen.get(box.id)
            if state is None or state.generation != plans[box.id].generation:
                return False
            if not wanted <= self.stored(box) or state.assets < len(wanted):
                return False
        return True

    def offered(self, box: str) -> bool:
        """Whether steering would send a player to this box now."""
        seen = self.boxes().get(box)
        return seen is not None and seen.state == IN_SERVICE

    def all_in_service(self) -> bool:
        """Whether steering would offer every box."""
        seen = self.boxes()
        return all(
            box.id in seen
            and seen[box.id].state == IN_SERVICE
            and (seen[box.id].silent_s or 0.0) < layout.HEARTBEAT_S * 2
            for box in layout.BOXES
        )

    def stored(self, box: layout.Box) -> set[int]:
        """The assets that stand whole in a box's store."""
        folder = self.run.folder / box.id / "store" / "a"
        try:
            return {int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()}
        except FileNotFoundError:
            return set()


def command(program: str, *args: str) -> str:
    """Run one of the nightly commands; returns what it printed. Raises StageError when it fails."""
    done = subprocess.run(
        [str(BIN / program), *args],
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    if done.returncode != 0:
        raise StageError(f"`{program} {' '.join(args)}` failed:\n{done.stderr or done.stdout}")
    return done.stdout


def listens(place: str) -> bool:
    """Whether something accepts connections at HOST:PORT."""
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=ASK_S):
            return True
    except OSError:
        return False


def ask(url: str, headers: dict[str, str] | None = None) -> bytes:
    """The body of a 200 answer; empty when there is none."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=ASK_S) as reply:
            body: bytes = reply.read()
            return body
    except (urllib.error.URLError, OSError):
        return b""


async def until(happened: Callable[[], bool], patience_s: float) -> float | None:
    """Seconds until `happened()` (asked in a thread, so nothing else waits); None if it did not."""
    start_s = time.monotonic()
    while time.monotonic() - start_s < patience_s:
        if await asyncio.to_thread(happened):
            return time.monotonic() - start_s
        await asyncio.sleep(LOOK_AGAIN_S)
    return None
