"""A small fleet of real processes for tests: origin, fill, steering and boxes on loopback.

Ports are free ones, so that a demo may run beside. Layout and timers are the test's own; programs,
configurations and messages are the real ones.
"""

from __future__ import annotations

import csv
import http.client
import json
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.demo.layout import toml
from deploy.demo.processes import Crew
from wire.catalogue import Catalogue
from wire.codec import decode
from wire.keys import new_private_pem, parse_private_key, parse_verify_key, public_text
from wire.plan import open_plan
from wire.steer import FleetState

ORIGIN = "origin"
ORIGIN_HOST = "127.10.1.9"
HEARTBEAT_S = 1.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Box:
    """One appliance of the lab."""

    id: str
    site: str
    host: str
    disk_bytes: int


@dataclass(frozen=True)
class Site:
    """One site of the lab and the prefixes announced to its boxes."""

    id: str
    kind: str
    prefixes: Sequence[str] = ()


_given: set[int] = set()


def free_port(host: str) -> int:
    """A port that nobody on this machine listens on (asked on 0.0.0.0, so on every address); never
    the same twice."""
    while True:
        with socket.socket() as probe:
            probe.bind(("0.0.0.0", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


@dataclass
class Lab:
    """Sites and boxes over a media folder, in a work folder; `crew` runs the processes."""

    folder: Path
    media: Path
    sites: Sequence[Site]
    boxes: Sequence[Box]
    crew: Crew
    fill_settings: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    missed_max: int = 3

    def __post_init__(self) -> None:
        self.port = free_port("0.0.0.0")
        self.fill = f"127.10.1.2:{free_port('0.0.0.0')}"
        self.fill_admin = f"127.10.1.2:{free_port('0.0.0.0')}"
        self.steering = f"127.10.1.3:{free_port('0.0.0.0')}"
        self.admin = f"127.10.1.3:{free_port('0.0.0.0')}"
        self.origin = Box(ORIGIN, ORIGIN, ORIGIN_HOST, 10**12)
        self.public: dict[str, str] = {}
        self.lay_out()

    # --- files --------------------------------------------------------------------------------

    def lay_out(self) -> None:
        """Keys, the fleet file, and a configuration for every process."""
        (self.folder / "keys").mkdir(parents=True, exist_ok=True)
        for name in [box.id for box in self.everyone] + ["fill", "steering"]:
            self._make_key(name, "es256" if name == "steering" else "ed25519")
        self._write("fleet.toml", toml(self._fleet()))
        self._write("fill.toml", toml(self._fill()))
        self._write("steering.toml", toml(self._steering()))
        for box in self.everyone:
            self._write(f"{box.id}.toml", toml(self._oca(box)))
            self._write(f"{box.id}-routes.json", json.dumps(self._routes(box)))

    @property
    def everyone(self) -> list[Box]:
        """The boxes and the origin's server."""
        return [*self.boxes, self.origin]

    def _make_key(self, name: str, alg: str) -> None:
        pem = new_private_pem(alg)
        path = self.folder / "keys" / f"{name}.pem"
        path.write_bytes(pem)
        path.chmod(0o600)
        self.public[name] = public_text(parse_private_key(pem, name, name))

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def _fleet(self) -> dict[str, Any]:
        sites = [{"id": site.id, "kind": site.kind} for site in self.sites]
        return {
            "scheme": "http",
            "port": self.port,
            "site": [*sites, {"id": ORIGIN, "kind": "origin"}],
            "appliance": [
                {
                    "id": box.id,
                    "site": box.site,
                    "public_key": self.public[box.id],
                    "hosts": [box.host],
                    "disks_bytes": [box.disk_bytes],
                    "link_bps": 10**9,
                }
                for box in self.everyone
            ],
        }

    def _fill(self) -> dict[str, Any]:
        plan = {"reserve_share": 0.05, "out_of_window": True}
        return {
            "catalogue": str(self.media / "catalogue.json"),
            "fleet": "fleet.toml",
            "state": "fill",
            "signing_key": "keys/fill.pem",
            "kid": "fill",
            "listen": self.fill,
            "admin_listen": self.fill_admin,
            "steering_keys": {"steering": self.public["steering"]},
            "demand": {"use": "files", "files": ["demand.csv"], "days": 7},
            "plan": {**plan, **self.fill_settings},
        }

    def _steering(self) -> dict[str, Any]:
        return {
            "fleet": "fleet.toml",
            "state": "steering",
            "listen": self.steering,
            "admin": self.admin,
            "catalogue": {"url": f"http://{self.fill}", "poll_s": 0.5},
            "tokens": {"key_file": "keys/steering.pem", "kid": "steering"},
            "policy": {"ttl_s": 3, **self.policy},
            "reports": {"heartbeat_s": HEARTBEAT_S, "missed_max": self.missed_max},
            "snapshot_s": 0.5,
        }

    def _oca(self, box: Box) -> dict[str, Any]:
        agent: dict[str, Any] = {
            "site": box.site,
            "fill": f"http://{self.fill}",
            "steering": [f"http://{self.steering}"],
            "key_file": f"keys/{box.id}.pem",
            "plan_keys": {"fill": self.public["fill"]},
            "heartbeat_s": HEARTBEAT_S,
            "report_pause_s": 0.1,
            "plan_poll_s": 0.2,
            "purge_poll_s": 1.0,
            "events_s": 0.5,
            "timeout_s": 3.0,
            "drop_ttl_s": 3.0,
            "drop_idle_s": 0.5,
            "drop_bound_s": 2.0,
        }
        if box is not self.origin:
            agent["routes_file"] = f"{box.id}-routes.json"
        return {
            "id": box.id,
            "role": "origin" if box is self.origin else "appliance",
            "store": str(self.store_of(box)),
            "run": f"{box.id}/run",
            "listen": f"{box.host}:{self.port}",
            "workers": 1,
            "token_keys": {"steering": self.public["steering"]},
            "access_log": {"file": f"{box.id}/access.log"},
            "agent": agent,
            "fill": {
                "capacity_bytes": box.disk_bytes if box is not self.origin else 0,
                "reserve_bytes": 0,
                "stall_s": 2.0,
                "patience_s": 1.0,
            },
        }

    def _routes(self, box: Box) -> list[dict[str, Any]]:
        found = [site for site in self.sites if site.id == box.site]
        return [{"prefix": p, "as_path": [64500]} for site in found for p in site.prefixes]

    def store_of(self, box: Box) -> Path:
        """Where a box keeps its assets; the origin's store is the media folder itself."""
        return self.media if box is self.origin else self.folder / box.id / "store"

    def demand(self, rows: Iterable[tuple[str, int, int]]) -> None:
        """Write yesterday's demand: (home site, asset, bytes)."""
        with (self.folder / "demand.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["day", "home", "asset", "bytes"])
            day = time.strftime("%Y-%m-%d", time.gmtime())
            writer.writerows((day, home, asset, count) for home, asset, count in rows)

    def catalogue(self) -> Catalogue:
        """What `fill catalogue` wrote."""
        return decode(Catalogue, (self.media / "catalogue.json").read_bytes(), "catalogue")

    # --- processes ----------------------------------------------------------------------------

    def command(self, *args: str) -> str:
        """Run one of our commands to its end; its output. Fails the test when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", *args],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(args)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Catalogue, origin, fill, steering, boxes: all up. A box speaks after its first plan."""
        self.command("fill", "catalogue", str(self.media))
        self.crew.start("fill", self._argv("fill", "serve", "fill"))
        self.crew.start("steering", self._argv("steering", "serve", "steering"))
        for box in self.everyone:
            (self.store_of(box)).mkdir(parents=True, exist_ok=True)
            (self.folder / box.id / "run").mkdir(parents=True, exist_ok=True)
            self.crew.start(box.id, self._argv("oca", "serve", box.id))
        self.wait(self.view, 60, "steering answers")

    def _argv(self, service: str, verb: str, name: str) -> list[str]:
        config = self.folder / f"{name}.toml"
        return [sys.executable, "-m", service, verb, "--config", str(config)]

    def plan(self, *options: str) -> str:
        """One night's planning."""
        return self.command("fill", "plan", "--config", str(self.folder / "fill.toml"), *options)

    # --- looking ------------------------------------------------------------------------------

    def wait(self, what: Any, within_s: float, words: str) -> None:
        """Wait until `what()` holds, at most `within_s`; the failure says `words` and the view."""
        deadline = time.monotonic() + within_s
        while not what():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within_s} s: {words}\n{self.view_text()}")
            time.sleep(0.05)

    def view(self) -> FleetState | None:
        """Steering's view of the fleet; None while it does not answer."""
        try:
            status, body = get(f"http://{self.admin}/v1/fleet")
        except OSError:
            return None
        return decode(FleetState, body, "fleet") if status == 200 else None

    def view_text(self) -> str:
        """The view as text, for failures."""
        view = self.view()
        return "steering is silent" if view is None else "\n".join(map(str, view.boxes))

    def lives(self, name: str) -> int:
        """How often the agent of a box has begun to run."""
        return self.crew.processes[name].log.read_text().count('"agent runs"')

    def answers(self, address: str) -> bool:
        """Whether somebody accepts connections at `HOST:PORT`."""
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return True
        except OSError:
            return False

    def all_fresh(self) -> bool:
        """Whether steering has heard every box within three heartbeats, and knows its routes."""
        view = self.view()
        if view is None or len(view.boxes) != len(self.everyone):
            return False
        return all(
            box.silent_s is not None
            and box.silent_s < 3 * HEARTBEAT_S
            and (box.routes > 0 or box.appliance == ORIGIN)
            for box in view.boxes
        )

    def held(self, box: Box) -> set[int]:
        """The assets visible on a box's disk."""
        folder = self.store_of(box) / "a"
        return (
            {int(p.name) for p in folder.iterdir() if p.name.isdigit()}
            if folder.exists()
            else set()
        )

    def offered(self, box: Box) -> set[int]:
        """The assets that a box offers: visible, and not on their way out of its plan."""
        raw = (self.folder / box.id / "run" / "plan.jws").read_bytes()
        plan = open_plan(raw, {"fill": parse_verify_key(self.public["fill"], "fill")})
        return self.held(box) & {wanted.asset for wanted in plan.desired}

    def known_held(self) -> bool:
        """Whether steering knows as many assets of every box as the box offers."""
        view = self.view()
        counts = {box.appliance: box.assets for box in view.boxes} if view else {}
        return all(counts.get(box.id) == len(self.offered(box)) for box in self.boxes)


def get(
    url: str, source: str = "", headers: Mapping[str, str] = {}, timeout_s: float = 3.0
) -> tuple[int, bytes]:
    """One GET from the source address given: status and whole body; OSError when it is cut."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=timeout_s,
        source_address=(source, 0) if source else None,
    )  # fmt: skip
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as exc:
        raise OSError(f"{url}: {exc!r}") from exc
    finally:
        connection.close()


def synthetic(media: Path, titles: int, file_bytes: Sequence[int]) -> None:
    """Titles of one data asset each, with seeded bytes: `media/t-007/data/part-0.bin` …"""
    shutil.rmtree(media, ignore_errors=True)
    for number in range(titles):
        folder = media / f"t-{number:03}" / "data"
        folder.mkdir(parents=True)
        for part, size in enumerate(file_bytes):
            (folder / f"part-{part}.bin").write_bytes(
                random.Random(number * 100 + part).randbytes(size)
            )
