"""A fill installation on the disk for tests: a tree of encodes, keys, fleet file, configuration."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from fill.catalogue import Snapshot
from fill.files import Files, read_files
from fill.ingest import make_catalogue
from fill.ledger import Ledger
from tests.typed import Done, typed
from wire.auth import bearer
from wire.keys import SigningKey, new_private_pem, parse_private_key, public_text
from wire.plan import Plan, open_plan

ROOT = Path(__file__).resolve().parents[2]
FILM_MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="s",NAME="English",LANGUAGE="en",URI="sound/media.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS="avc1.64001f,mp4a.40.2",AUDIO="s"
v240/media.m3u8
"""
MEDIA = """#EXTM3U
#EXT-X-TARGETDURATION:4
#EXT-X-MAP:URI="init.mp4"
#EXTINF:4.0,
seg-1.m4s
#EXTINF:4.0,
seg-2.m4s
#EXT-X-ENDLIST
"""


@dataclass(frozen=True)
class Box:
    """One appliance: id, site, disk in bytes."""

    id: str
    site: str
    disk_bytes: int


SITES = {
    "isp-a": "embedded",
    "isp-b": "embedded",
    "exchange": "ix",
    "far": "transit",
    "origin": "origin",
}
BOXES = (
    Box("a1", "isp-a", 60_000),
    Box("a2", "isp-a", 40_000),
    Box("b1", "isp-b", 50_000),
    Box("x1", "exchange", 60_000),
    Box("origin", "origin", 10**9),
)


@dataclass
class Ground:
    """The installation; `config` is extra TOML put at the end of the configuration."""

    folder: Path
    boxes: Sequence[Box] = BOXES
    sections: Mapping[str, str] = field(default_factory=dict)
    keys: dict[str, SigningKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.media.mkdir()
        (self.folder / "keys").mkdir()
        for name in ["fill", "steering", "t1", *(box.id for box in self.boxes)]:
            pem = new_private_pem("es256" if name == "steering" else "ed25519")
            (self.folder / "keys" / f"{name}.pem").write_bytes(pem)
            self.keys[name] = parse_private_key(pem, name, name)
        self.listen, self.admin = (f"127.10.7.2:{port}" for port in free_ports(2))
        self.write_fleet(self.boxes)
        self.write_config()

    @property
    def media(self) -> Path:
        return self.folder / "media"

    @property
    def config(self) -> Path:
        return self.folder / "fill.toml"

    @property
    def files(self) -> Files:
        return read_files(self.config)

    def write_fleet(self, boxes: Sequence[Box], **states: str) -> None:
        """Write the fleet file; `states` by appliance id (in_service unless said)."""
        text = 'scheme = "http"\nport = 18080\n'
        for site, kind in SITES.items():
            text += f'[[site]]\nid = "{site}"\nkind = "{kind}"\n'
        for number, box in enumerate(boxes):
            text += (
                f'[[appliance]]\nid = "{box.id}"\nsite = "{box.site}"\n'
                f'public_key = "{public_text(self.keys[box.id])}"\n'
                f'hosts = ["127.10.8.{number + 1}"]\ndisks_bytes = [{box.disk_bytes}]\n'
                f'link_bps = 1000000000\nstate = "{states.get(box.id, "in_service")}"\n'
            )
        (self.folder / "fleet.toml").write_text(text)

    def write_config(self, **sections: str) -> None:
        """Write the configuration; sections replace the defaults, as `demand='use = "files"'`."""
        merged = {
            "demand": 'use = "files"\nfiles = ["demand.csv"]',
            "plan": "reserve_share = 0.0",
            **self.sections,
            **sections,
        }
        text = (
            'catalogue = "media/catalogue.json"\nfleet = "fleet.toml"\nstate = "state"\n'
            f'signing_key = "keys/fill.pem"\nlisten = "{self.listen}"\n'
            f'admin_listen = "{self.admin}"\n'
            f'[steering_keys]\nsteering = "{public_text(self.keys["steering"])}"\n'
        )
        for name, body in merged.items():
            text += f"[{name}]\n{body}\n"
        self.config.write_text(text)

    def add(self, title: str, rendition: str = "data", **sizes: int) -> None:
        """Put one synthetic rendition into the tree: `part_0=1000` is `part_0.bin` of 1000 B."""
        folder = self.media / title / rendition
        folder.mkdir(parents=True, exist_ok=True)
        for name, size in sizes.items():
            seed = f"{title}/{rendition}/{name}".encode()
            (folder / f"{name}.bin").write_bytes((seed * (size // len(seed) + 1))[:size])

    def add_film(self, title: str) -> Path:
        """Put a title with HLS, video and sound into the tree; returns its folder."""
        folder = self.media / title
        for rendition in ("v240", "sound"):
            (folder / rendition).mkdir(parents=True)
            for name in ("init.mp4", "seg-1.m4s", "seg-2.m4s"):
                (folder / rendition / name).write_bytes(f"{title} {rendition} {name}".encode() * 9)
            (folder / rendition / "media.m3u8").write_text(MEDIA)
        (folder / "master.m3u8").write_text(FILM_MASTER)
        return folder

    def synthetic(self, count: int, size: int = 5_000) -> Snapshot:
        """`count` titles of `size` bytes each, catalogued."""
        for number in range(count):
            self.add(f"t{number:03d}", part_0=size)
        return self.catalogue()

    def catalogue(self, *, prune: bool = False) -> Snapshot:
        """Run the ingest."""
        nothing = lambda _count: None  # noqa: E731  # progress of no interest
        return make_catalogue(self.media, total=nothing, done=nothing, prune=prune).snapshot

    def demand(self, *rows: tuple[str, str, int, int]) -> None:
        """Write the demand file."""
        lines = ["day,home,asset,bytes", *(",".join(map(str, row)) for row in rows)]
        (self.folder / "demand.csv").write_text("\n".join(lines) + "\n")

    def falling_demand(self, snapshot: Snapshot, day: str = "2026-11-22") -> None:
        """Each asset is asked for less than the one before, in both ISPs."""
        self.demand(
            *(
                (day, home, asset, 1_000_000 // (rank + 1))
                for home in ("isp-a", "isp-b")
                for rank, asset in enumerate(snapshot.entries)
            )
        )

    def slice(self, box: str, generation: int = 1) -> bytes:
        """The signed plan of a box as it stands in the ledger."""
        folder = self.folder / "state" / "generations" / str(generation)
        return (folder / "slices" / f"{box}.jws").read_bytes()

    def fill(self, *args: str, check: bool = True) -> Done:
        """Run a `fill` command with this configuration."""
        done = typed("fill", *args, "--config", self.config)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def serve(self) -> subprocess.Popen[bytes]:
        """Start `fill serve` and wait until it listens."""
        log = (self.folder / "serve.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "fill", "serve", "--config", str(self.config)],
            cwd=ROOT,
            stderr=log,
            stdout=log,
        )
        deadline_s = time.monotonic() + 20
        while not (listens(self.listen) and listens(self.admin)):
            assert process.poll() is None, (self.folder / "serve.log").read_text()
            assert time.monotonic() < deadline_s, "fill serve does not listen"
            time.sleep(0.03)
        return process

    def plans(self, generation: int = 0) -> dict[str, Plan]:
        """The plans of a generation (else of the one in force), by appliance."""
        ledger, keys = Ledger(self.folder / "state"), self.files.own_keys()
        raw = ledger.plans(generation or ledger.current())
        return {name: open_plan(text, keys) for name, text in raw.items()}

    def signed(self, who: str, body: bytes = b"", *, audience: str = "fill") -> dict[str, str]:
        """The headers of a request signed by `who`."""
        return {"Authorization": bearer(self.keys[who], audience, time.time(), body)}

    async def call(
        self, method: str, path: str, who: str, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """One signed request to the public listener: status, body, headers."""
        url = f"http://{self.listen}{path}"
        sent = {**self.signed(who, body), **headers}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=body, headers=sent) as reply,
        ):
            return reply.status, await reply.read(), reply.headers


def free_ports(count: int) -> list[int]:
    """Different ports that nobody on this machine listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("0.0.0.0", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def listens(place: str) -> bool:
    """Whether something accepts connections at HOST:PORT."""
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9, and wait for the end."""
    process.kill()
    process.wait()


def touch_later(path: Path) -> None:
    """Give a file another time of change, as an encoder that writes it again does."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
