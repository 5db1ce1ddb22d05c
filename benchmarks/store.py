"""Ten million stored files: how soon does a box serve after a start, and what does a worker weigh?

Makes the store once (var/store-bench.img, ext4 on a loop device, root): 10,000 assets of 1,000
small files. Then, with cold caches: from the start of `oca serve` until a worker answers, until the
agent offers everything (from the index), and the same without an index; and a store of 100 files
beside. Writes table and JSON to benchmarks/results/. Exits 1 if a claim fails.

    python -m benchmarks.store [--assets N] [--files N] [--make-s SECONDS]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from benchmarks.measure import hardware
from oca.disks import Cabinet
from oca.files import SHEETS_BYTES_MAX
from oca.held import Held
from oca.index import INDEX_FILE, Index
from oca.store import ENTRY, SHELF
from wire.catalogue import Asset, AssetKind, File
from wire.codec import encode
from wire.keys import new_private_pem, parse_private_key, public_text
from wire.token import Token, mint, scope_of

VAR = Path(__file__).parents[1] / "var"
BODY = b"ten million of these are one store\n"
ME = "bench"
WAIT_S = 1800.0
SERVING_S_MAX = 10.0
MEMORY_MB_MORE = SHEETS_BYTES_MAX / 1e6  # what is remembered of assets, at most; here of 200
RESULTS = Path(__file__).with_name("results")


def image(assets: int, files: int) -> Path:
    """The store's file system; small files are kept in their inodes."""
    path = VAR / "store-bench.img"
    if not path.exists():
        VAR.mkdir(exist_ok=True)
        inodes = assets * (files + 2) + 10_000
        with path.open("wb") as raw:
            raw.truncate(inodes * 1024 + 2 * 2**30)
        options = ["-q", "-O", "inline_data,^has_journal", "-I", "256", "-N", str(inodes)]
        subprocess.run(["mkfs.ext4", *options, str(path)], check=True)
    return path


@contextmanager
def mounted(path: Path) -> Iterator[Path]:
    """The store, mounted."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["mount", "-o", "loop,noatime", str(path), place], check=True)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def entry_of(asset: int, files: int) -> bytes:
    """The catalogue's entry of one asset."""
    sha, chunk = hashlib.sha256(BODY).hexdigest(), xxhash.xxh3_128(BODY).hexdigest()
    listed = tuple(
        File(name=name, bytes=len(BODY), sha256=sha, chunks=(chunk,), media_type="video/mp4")
        for name in names(files)
    )
    kind = AssetKind.VIDEO
    return encode(Asset(id=asset, title="t", name="v", kind=kind, modified_s=1, files=listed))


def names(files: int) -> list[str]:
    """An asset's files."""
    return [f"seg-{number:04}.m4s" for number in range(files)]


def fill(store: Path, assets: int, files: int, until_s: float) -> int:
    """Make what is missing, until the time is over; returns how many assets there are."""
    shelf = store / SHELF
    shelf.mkdir(exist_ok=True)
    done = sum(1 for _ in shelf.iterdir())
    for asset in range(done, assets):
        if time.monotonic() > until_s:
            return asset
        part = store / f"{asset}.part"
        part.mkdir(exist_ok=True)
        folder = os.open(part, os.O_DIRECTORY)
        for name in names(files):
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=folder)
            os.write(fd, BODY)
            os.close(fd)
        os.close(folder)
        (part / ENTRY).write_bytes(entry_of(asset, files))
        part.rename(shelf / str(asset))
    return assets


class Bench:
    """A box on that store, with a run folder of its own."""

    def __init__(self, store: Path, run: Path, assets: int, files: int) -> None:
        """`run` is empty."""
        self.store, self.run, self.assets, self.files = store, run, assets, files
        self.port, self.admin = _free_port(), _free_port()
        self.signer = parse_private_key(new_private_pem(), "k1", "token key")
        (run / "key.pem").write_bytes(new_private_pem())
        self.config = run / "box.toml"
        self.config.write_text(
            f'id = "{ME}"\nstore = "{store}"\nrun = "{run}"\nlisten = "127.0.0.1:{self.port}"\n'
            f'admin = "127.0.0.1:{self.admin}"\nclients = "any"\nworkers = 1\n'
            f'token_keys = {{ k1 = "{public_text(self.signer)}" }}\nlog_level = "error"\n'
            f'[agent]\nkey_file = "key.pem"\n[scrub]\nrate_bytes_s = 0\n'
        )

    def index(self) -> None:
        """The index as the fill would have made it."""
        disks = Cabinet([str(self.store)], self.run, ME, mounts=False).open()
        index, uuid = Index(self.run), disks.seats[0].uuid
        for first in range(0, self.assets, 1000):
            some = range(first, min(first + 1000, self.assets))
            index.put({a: self._held(a, uuid) for a in some}, time.time())
        index.complete(uuid)
        index.close()

    def _held(self, asset: int, uuid: str) -> Held:
        digest = hashlib.sha256(entry_of(asset, self.files)).hexdigest()
        return Held(len(BODY) * self.files, digest, uuid)

    def start(self, what: str, *, wait_known: bool = True) -> dict[str, Any]:
        """Start with cold caches; when what was ready, in seconds, and what a worker weighs."""
        subprocess.run(["sync"], check=True)
        Path("/proc/sys/vm/drop_caches").write_text("3")
        begun_s = time.monotonic()
        command = [sys.executable, "-m", "oca", "serve", "--config", str(self.config)]
        box = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            took: dict[str, Any] = {"start": what}
            took["worker_serves_s"] = _until(lambda: self._get(0), begun_s)
            took["agent_answers_s"] = _until(self._disks, begun_s)
            if wait_known:
                took["all_offered_s"] = _until(self._all_known, begun_s)
            for asset in range(0, self.assets, max(1, self.assets // 200)):
                assert self._get(asset)
            took["worker_private_mb"] = _private_mb(box.pid)
            return took
        finally:
            box.send_signal(signal.SIGTERM)
            box.wait(60)

    def _get(self, asset: int) -> bool:
        token = mint(Token(exp=time.time() + 600, cdniuc=scope_of([asset])), self.signer)
        path = f"/a/{asset};URISigningPackage={token}/seg-0000.m4s"
        found = _fetch(f"http://127.0.0.1:{self.port}{path}")
        return found == BODY

    def _disks(self) -> Any:
        raw = _fetch(f"http://127.0.0.1:{self.admin}/v1/disks")
        return json.loads(raw) if raw else None

    def _all_known(self) -> bool:
        found = self._disks()
        return bool(found["stock_known"]) and found["disks"][0]["assets"] == self.assets


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            raw: bytes = answer.read()
            return raw
    except OSError:
        return b""


def _until(what: Any, begun_s: float) -> float:
    while not what():
        if time.monotonic() - begun_s > WAIT_S:
            raise TimeoutError("it did not come")
        time.sleep(0.02)
    return round(time.monotonic() - begun_s, 2)


def _private_mb(supervisor: int) -> float:
    """Private memory of the worker, in MB."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for child in children:
        if "worker" in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
            rollup = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
            lines = [line.split() for line in rollup if line.startswith("Private_")]
            return round(sum(int(line[1]) for line in lines) / 1000, 1)
    return 0.0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def main() -> int:
    """Make the store if need be, measure, write, say; 0 when the claims hold, 2 when the time for
    making it was too short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument("--make-s", type=float, default=WAIT_S, help="Make for so long at most.")
    args = parser.parse_args()
    with mounted(image(args.assets, args.files)) as place, tempfile.TemporaryDirectory() as run:
        made = fill(place, args.assets, args.files, time.monotonic() + args.make_s)
        if made < args.assets:
            print(f"{made} of {args.assets} assets are made: start again, it goes on from there")
            return 2
        bench = Bench(place, Path(run), args.assets, args.files)
        bench.index()
        starts = [bench.start("with the index")]
        (Path(run) / INDEX_FILE).unlink()
        starts.append(bench.start("without an index", wait_known=False))
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as run:
        fill(Path(small), 10, 10, time.monotonic() + 60)
        starts.append(Bench(Path(small), Path(run), 10, 10).start("a store of 100 files"))
    return _report(args.assets * args.files, starts)


def _report(files: int, starts: list[dict[str, Any]]) -> int:
    """Write and print; 1 if a claim fails."""
    large, bare, small = starts
    claims = {
        f"everything is offered within {SERVING_S_MAX:.0f} s of a start with the index": (
            f"{large['all_offered_s']} s, the first answer after {large['worker_serves_s']} s",
            large["all_offered_s"] < SERVING_S_MAX,
        ),
        f"without an index the first answer comes within {SERVING_S_MAX:.0f} s": (
            f"{bare['worker_serves_s']} s",
            bare["worker_serves_s"] < SERVING_S_MAX,
        ),
        f"a worker's memory, 200 assets of 1,000 files known, is within {MEMORY_MB_MORE:.0f} MB "
        "(all that is ever remembered of assets) of that with 100 files": (
            f"{large['worker_private_mb']} MB, {small['worker_private_mb']} MB",
            large["worker_private_mb"] < small["worker_private_mb"] + MEMORY_MB_MORE,
        ),
    }
    machine = hardware()
    told = "{processor}, {cores} cores, {memory}, Linux {kernel}, Python {python}".format(**machine)
    lines = [f"# A box with {files:,} files", "", f"{told}. Cold caches; `make bench-store`.", ""]
    lines += ["| claim | seen | holds |", "| --- | --- | --- |"]
    lines += [f"| {c} | {seen} | {'yes' if ok else '**no**'} |" for c, (seen, ok) in claims.items()]
    RESULTS.mkdir(exist_ok=True)
    record = {"hardware": machine, "files": files, "starts": starts}
    (RESULTS / "store.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "store.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return int(not all(ok for _, ok in claims.values()))


if __name__ == "__main__":
    sys.exit(main())
