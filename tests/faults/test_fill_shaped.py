"""Two boxes and an origin in networks of their own: a thin link (tbf), and distance (a proxy)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from deploy.demo.processes import Crew
from oca.metrics import totals
from tests.e2e.lab import Box, Lab, Site, synthetic

MEGABYTE = 1_000_000
LINK_MBIT = 80
DELAY_S = 0.02
ADMIN = "127.0.0.1:9480"  # of each network
ORIGIN_SEEN, ORIGIN_REAL = "10.99.9.9", "10.99.9.10"
BOXES = {"b0": "10.99.1.1", "b1": "10.99.2.1"}


def sh(command: str) -> None:
    """Run; a failure is an error."""
    subprocess.run(command.split(), check=True, capture_output=True)


def why_not() -> str:
    """Why this cannot run here; "" when it can."""
    name = f"ocap{os.getpid()}"
    try:
        sh(f"ip netns add {name}")
        try:
            sh(f"ip -n {name} link add x type veth peer name y")
            shaped = "root tbf rate 1mbit burst 16kb latency 9ms"
            sh(f"ip netns exec {name} tc qdisc add dev x {shaped}")
        finally:
            sh(f"ip netns del {name}")
    except (OSError, subprocess.CalledProcessError) as exc:
        return f"no network namespaces with tbf: {exc}"
    return ""


@contextmanager
def networks() -> Iterator[dict[str, str]]:
    """A router with three machines around it, the origin's link shaped: name → namespace."""
    names = {name: f"oca{os.getpid()}{name}" for name in (*BOXES, "origin", "router")}
    try:
        for space in names.values():
            sh(f"ip netns add {space}")
            sh(f"ip -n {space} link set lo up")
        router = names["router"]
        sh(f"ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1")
        for name in (*BOXES, "origin"):
            space = names[name]
            own = (BOXES[name],) if name in BOXES else (ORIGIN_SEEN, ORIGIN_REAL)
            gateway = own[0].rpartition(".")[0] + ".254"
            sh(f"ip -n {router} link add {name} type veth peer name eth netns {space}")
            sh(f"ip -n {router} addr add {gateway}/24 dev {name}")
            sh(f"ip -n {router} link set {name} up")
            for address in own:
                sh(f"ip -n {space} addr add {address}/24 dev eth")
            sh(f"ip -n {space} link set eth up")
            sh(f"ip -n {space} route add default via {gateway}")
        sh(f"ip netns exec {names['origin']} tc qdisc add dev eth root "
           f"tbf rate {LINK_MBIT}mbit burst 64kb latency 50ms")  # fmt: skip
        yield names
    finally:
        for space in names.values():
            with suppress(subprocess.CalledProcessError):
                sh(f"ip netns del {space}")


class ShapedLab(Lab):
    """The lab, every process in its own network, the origin behind a proxy."""

    spaces: Mapping[str, str] = MappingProxyType({})

    def lay_out(self) -> None:
        """Addresses of the networks instead of loopback's."""
        self.fill = f"{ORIGIN_REAL}:18090"
        self.origin = Box("origin", "origin", ORIGIN_SEEN, 10**12)
        super().lay_out()

    def _oca(self, box: Box) -> dict[str, Any]:
        tree = super()._oca(box)
        tree["agent"]["steering"] = []
        tree["admin"] = ADMIN
        tree["fill"] |= {"stall_s": 1.0, "patience_s": 20.0}
        if box is self.origin:
            tree["listen"] = f"{ORIGIN_REAL}:{self.port}"
        return tree

    def _argv(self, service: str, verb: str, name: str) -> list[str]:
        space = self.spaces["origin" if name == "fill" else name]
        return ["ip", "netns", "exec", space, *super()._argv(service, verb, name)]

    def start(self) -> None:
        """Catalogue and plan first, then all at once."""
        self.command("fill", "catalogue", str(self.media))
        self.demand(("isp", a.id, 10**11 - n) for n, a in enumerate(self.catalogue().assets))
        self.plan("--force")
        self.crew.start("fill", self._argv("fill", "serve", "fill"))
        proxy = ["ip", "netns", "exec", self.spaces["origin"], sys.executable, "-m"]
        proxy += ["tests.faults.delay_proxy", f"{ORIGIN_SEEN}:{self.port}"]
        self.crew.start("proxy", [*proxy, f"{ORIGIN_REAL}:{self.port}", str(DELAY_S)])
        for box in self.everyone:
            self.store_of(box).mkdir(parents=True, exist_ok=True)
            self.crew.start(box.id, self._argv("oca", "serve", box.id))

    def full(self) -> bool:
        """Whether every box holds everything."""
        wanted = len(self.catalogue().assets)
        return all(len(self.held(box)) >= wanted for box in self.boxes)

    def status(self) -> str:
        """How each box says it fares, for failures."""
        command = [sys.executable, "-m", "oca", "fill-status", "--admin", ADMIN]
        said = [
            subprocess.run(
                ["ip", "netns", "exec", self.spaces[name], *command], capture_output=True, text=True
            )
            for name in BOXES
        ]
        return "\n".join(done.stdout + done.stderr for done in said)

    def sent_bytes(self) -> int:
        """What the origin sent to boxes."""
        run = self.folder / "origin" / "run"
        return totals(run).get("oca_fill_body_bytes_total", 0) if run.exists() else 0

    def check(self) -> None:
        """Every byte on every box is the catalogue's."""
        for box in self.boxes:
            for asset in self.catalogue().assets:
                for file in asset.files:
                    raw = (self.store_of(box) / "a" / str(asset.id) / file.name).read_bytes()
                    assert hashlib.sha256(raw).hexdigest() == file.sha256


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ShapedLab]:
    why = why_not()
    if why:
        pytest.skip(why)
    media = tmp_path / "media"
    synthetic(media, 6, [4 * MEGABYTE, 2 * MEGABYTE])
    boxes = [Box(name, "isp", host, 10**9) for name, host in BOXES.items()]
    with networks() as spaces, Crew(tmp_path / "run") as crew:
        made = ShapedLab(
            crew.folder, media, [Site("isp", "embedded", ["10.99.0.0/16"])], boxes, crew
        )
        made.spaces = spaces
        yield made


def wait(lab: ShapedLab, claim: Any, within_s: float) -> None:
    """Until it holds."""
    until_s = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < until_s, lab.status()
        time.sleep(0.05)


def test_two_boxes_share_a_thin_link(lab: ShapedLab) -> None:
    """Each byte crosses the thin link about once, the link is used well, all of it is right."""
    lab.start()
    wait(lab, lab.sent_bytes, 20)
    begin_s = time.monotonic()
    wait(lab, lab.full, 60)
    took_s = time.monotonic() - begin_s
    unique = sum(asset.bytes for asset in lab.catalogue().assets)
    time.sleep(1.2)  # the origin's counters
    lab.check()
    assert lab.sent_bytes() <= 1.05 * unique
    ideal_s = unique * 8 / (LINK_MBIT * 1e6)
    assert 0.8 * ideal_s < took_s < 2.5 * ideal_s


@pytest.mark.soak
def test_a_link_that_breaks_costs_what_was_under_way_and_no_more(lab: ShapedLab) -> None:
    """The origin's link is pulled in the middle: the rest is asked for by range when it is back."""
    lab.start()
    unique = sum(asset.bytes for asset in lab.catalogue().assets)
    wait(lab, lambda: lab.sent_bytes() > unique // 3, 30)
    space = lab.spaces["origin"]
    sh(f"ip -n {space} link set eth down")
    time.sleep(3.0)
    assert not lab.full()
    sh(f"ip -n {space} link set eth up")
    sh(f"ip -n {space} route add default via {ORIGIN_SEEN.rpartition('.')[0]}.254")
    wait(lab, lab.full, 60)
    time.sleep(1.2)
    lab.check()
    # What the sender's and the proxy's buffers held at the cut was sent in vain, for each stream.
    assert lab.sent_bytes() <= 1.5 * unique
    assert any('"fault": "stalled"' in lab.crew.processes[b].log.read_text() for b in BOXES)
