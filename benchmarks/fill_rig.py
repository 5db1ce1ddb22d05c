"""An origin, `fill serve` and boxes of one site as real processes, for measuring fills."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import free_port, tree_of
from deploy.demo.layout import toml
from deploy.demo.processes import Crew
from oca.metrics import totals
from wire.auth import bearer
from wire.catalogue import Asset, Catalogue
from wire.codec import decode
from wire.keys import SigningKey, new_private_pem, parse_private_key, public_text
from wire.token import Token, mint, scope_of, signed_folder

REPO = Path(__file__).resolve().parents[1]
ORIGIN, SITE = "origin", "isp"
ORIGIN_HOST, FILL_HOST = "127.13.0.9", "127.13.0.2"
LINK_BPS = 10**10
FLEET_LINK_BPS, DEMAND_BYTES = 10**13, 10**14
"""A day's demand of every asset, and links that could carry all of it: each box gets each asset."""
TOKEN_LIFE_S = 6 * 3600.0


def make_titles(media: Path, titles: Sequence[Sequence[int]], *, alike: bool = False) -> None:
    """Titles of one rendition each, files of these sizes; kept when they are there already.

    `alike`: all files of one size are the same one, which is made, read and kept in memory once.
    """
    shape = json.dumps([list(sizes) for sizes in titles])
    mark = media / ".shape"
    if mark.exists() and mark.read_text() == shape:
        return
    shutil.rmtree(media, ignore_errors=True)
    made: dict[int, Path] = {}
    for number, sizes in enumerate(titles):
        folder = media / f"t-{number:03}" / "data"
        folder.mkdir(parents=True)
        rng = random.Random(number)
        for part, size in enumerate(sizes):
            path = folder / f"part-{part}.bin"
            if alike and made.setdefault(size, path) != path:
                path.hardlink_to(made[size])
                continue
            with path.open("wb") as file:
                for at in range(0, size, 1 << 20):
                    file.write(rng.randbytes(min(1 << 20, size - at)))
    mark.write_text(shape)


@dataclass
class Rig:
    """Boxes `b0` … of one site; `settings` are knobs of every box's [fill], `cores` of workers."""

    folder: Path
    media: Path
    crew: Crew
    boxes: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    worker_cores: str = ""

    def __post_init__(self) -> None:
        """Lay out keys and configurations; nothing runs yet."""
        self.port, self.fill = free_port(), f"{FILL_HOST}:{free_port()}"
        self.admins = {name: f"127.0.0.1:{free_port()}" for name in (*self.names, ORIGIN)}
        (self.folder / "keys").mkdir(parents=True, exist_ok=True)
        self.keys = {name: self._key(name) for name in (*self.names, ORIGIN, "fill")}
        self.tokens = self._key("tokens", "es256")
        self._write("fleet.toml", self._fleet())
        self._write("fill.toml", self._fill())
        for name in (*self.names, ORIGIN):
            self._write(f"{name}.toml", self._oca(name))

    @property
    def names(self) -> list[str]:
        """The boxes."""
        return [f"b{number}" for number in range(self.boxes)]

    def host(self, name: str) -> str:
        """A box's address."""
        return ORIGIN_HOST if name == ORIGIN else f"127.13.1.{int(name[1:]) + 1}"

    def _key(self, name: str, alg: str = "ed25519") -> SigningKey:
        pem = new_private_pem(alg)
        (self.folder / "keys" / f"{name}.pem").write_bytes(pem)
        return parse_private_key(pem, name, name)

    def _write(self, name: str, tree: Mapping[str, Any]) -> None:
        (self.folder / name).write_text(toml(tree))

    def _fleet(self) -> dict[str, Any]:
        def box(name: str) -> dict[str, Any]:
            return {
                "id": name,
                "site": ORIGIN if name == ORIGIN else SITE,
                "public_key": public_text(self.keys[name]),
                "hosts": [self.host(name)],
                "disks_bytes": [10**11],
                "link_bps": FLEET_LINK_BPS,
            }

        return {
            "scheme": "http",
            "port": self.port,
            "site": [{"id": SITE, "kind": "embedded"}, {"id": ORIGIN, "kind": "origin"}],
            "appliance": [box(name) for name in (*self.names, ORIGIN)],
        }

    def _fill(self) -> dict[str, Any]:
        return {
            "catalogue": str(self.media / "catalogue.json"),
            "fleet": "fleet.toml",
            "state": "fill",
            "signing_key": "keys/fill.pem",
            "kid": "fill",
            "listen": self.fill,
            "admin_listen": f"{FILL_HOST}:{free_port()}",
            "demand": {"use": "files", "files": ["demand.csv"], "days": 7},
            "plan": {"reserve_share": 0.0, "out_of_window": True, "fill_bps": 10**12},
        }

    def _oca(self, name: str) -> dict[str, Any]:
        agent = {
            "site": SITE,
            "fill": f"http://{self.fill}",
            "key_file": f"keys/{name}.pem",
            "plan_keys": {"fill": public_text(self.keys["fill"])},
            "link_bps": LINK_BPS,
            "plan_poll_s": 0.2,
            "events_s": 5.0,
        }
        return {
            "id": name,
            "role": "origin" if name == ORIGIN else "appliance",
            "clients": "any",
            "store": str(self.media if name == ORIGIN else self.store(name)),
            "run": f"{name}/run",
            "listen": f"{self.host(name)}:{self.port}",
            "admin": self.admins[name],
            "workers": 1,
            "token_keys": {"tokens": public_text(self.tokens)},
            "agent": agent,
            "fill": {"reserve_bytes": 0, **self.settings},
        }

    def store(self, name: str) -> Path:
        """Where a box keeps its assets."""
        return self.folder / name / "store"

    # --- running ------------------------------------------------------------------------------

    def start(self) -> None:
        """Catalogue, plan, `fill serve` and origin; the boxes wait for `begin`."""
        self._run("fill", "catalogue", str(self.media))
        raw = (self.media / "catalogue.json").read_bytes()
        self.assets = [a for a in decode(Catalogue, raw, "catalogue").assets if a.bytes]
        with (self.folder / "demand.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["day", "home", "asset", "bytes"])
            day = time.strftime("%Y-%m-%d", time.gmtime())
            writer.writerows((day, SITE, a.id, DEMAND_BYTES - n) for n, a in enumerate(self.assets))
        self._run("fill", "plan", "--config", str(self.folder / "fill.toml"))
        for name, service in ((ORIGIN, "oca"), ("fill", "fill")):
            self._begin(name, service, [])
        self._wait(lambda: self._plan_of(ORIGIN), 30)

    def begin(self, names: Sequence[str]) -> None:
        """Start boxes, empty, all at once."""
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            self.store(name).mkdir(parents=True)
        for name in names:
            pinned = ["taskset", "-c", self.worker_cores] if self.worker_cores else []
            self._begin(name, "oca", pinned)

    def end(self, name: str) -> None:
        """End a box."""
        self.crew.processes[name].kill()

    def _begin(self, name: str, service: str, before: list[str]) -> None:
        config = self.folder / f"{name}.toml"
        argv = [*before, sys.executable, "-m", service, "serve", "--config", str(config)]
        if name in self.crew.processes:
            self.crew.processes[name].log.unlink(missing_ok=True)
            self.crew.restart(name)
        else:
            self.crew.start(name, argv)

    def _run(self, *args: str) -> None:
        """One of our commands to its end; raises RuntimeError with its last words."""
        done = subprocess.run(
            [sys.executable, "-m", *args], cwd=REPO, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(args)}: {(done.stderr or done.stdout)[-500:]}")

    def agent_of(self, name: str) -> int:
        """The process id of a box's agent; raises LookupError."""
        for pid in tree_of(self.crew.processes[name].pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"agent" in words:
                return pid
        raise LookupError(f"{name} has no agent")

    def await_full(self, names: Sequence[str], patience_s: float) -> None:
        """Wait until boxes hold everything; raises TimeoutError."""
        wanted = len(self.assets)
        self._wait(lambda: all(self._held(name) >= wanted for name in names), patience_s)

    def _held(self, name: str) -> int:
        shelf = self.store(name) / "a"
        return sum(path.name.isdigit() for path in shelf.iterdir()) if shelf.exists() else 0

    def _plan_of(self, name: str) -> bool:
        return (self.folder / name / "run" / "plan.jws").exists()

    def _wait(self, claim: Any, patience_s: float) -> None:
        until_s = time.monotonic() + patience_s
        while not claim():
            if time.monotonic() > until_s:
                raise TimeoutError(f"not within {patience_s} s, see {self.folder}")
            time.sleep(0.05)

    # --- looking ------------------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        """Unique bytes of all assets."""
        return sum(asset.bytes for asset in self.assets)

    def outside_bytes(self) -> int:
        """What the origin sent to boxes so far."""
        return totals(self.folder / ORIGIN / "run").get("oca_fill_body_bytes_total", 0)

    def fill_seconds(self, name: str) -> float:
        """From the plan's acceptance to the last asset's appearance, by the agent's log."""
        at: dict[str, float] = {}
        for line in self.crew.processes[name].log.read_text().splitlines():
            if line.startswith("{"):
                entry = json.loads(line)
                at[entry["event"]] = dt.datetime.fromisoformat(entry["at"]).timestamp()
        return at["asset stored"] - at["plan accepted"]

    def status(self, name: str) -> dict[str, Any]:
        """A box's /v1/status."""
        with urllib.request.urlopen(f"http://{self.admins[name]}/v1/status", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def proof(self, name: str) -> str:
        """An Authorization header for the origin, valid for a minute."""
        return bearer(self.keys[name], ORIGIN, time.time())

    def urls(self) -> list[tuple[str, str]]:
        """(URL at the origin, SHA-256) of every file."""
        base = f"http://{ORIGIN_HOST}:{self.port}"
        return [
            (f"{base}/a/{asset.id}/{file.name}", file.sha256)
            for asset in self.assets
            for file in asset.files
        ]

    def player_paths(self, assets: Sequence[Asset]) -> list[str]:
        """What a player asks a box for, with a token."""
        scope = scope_of([asset.id for asset in assets])
        now_s = int(time.time())
        token = Token(exp=now_s + TOKEN_LIFE_S, cdniuc=scope, iss="bench", home=SITE)
        text = mint(token, self.tokens)
        return [
            signed_folder("", asset.id, text) + file.name
            for asset in assets
            for file in asset.files
        ]


def cores() -> tuple[int, int]:
    """A core for the workers, and one for all else; raises SystemExit on a machine with one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("two cores are needed")
    return usable[0], usable[1]
