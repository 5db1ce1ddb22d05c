"""Answers leave no faster than the policy or the player says, each at its own rate."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from oca.config import Pacing
from oca.http.head import read_fields, read_line
from oca.pacing import pace_bps
from tests.oca.running import read_answer, serving
from tests.oca.test_appliance import Box, signed

BYTES = 4_000_000
ASKED_KBPS = 16_000


def seconds(sock: socket.socket, target: str, *lines: str) -> float:
    """How long one range of BYTES takes."""
    head = [f"GET {target} HTTP/1.1", "Host: h", f"Range: bytes=0-{BYTES - 1}", *lines]
    start = time.monotonic()
    sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
    assert len(read_answer(sock.makefile("rb")).body) == BYTES
    return time.monotonic() - start


def test_a_player_gets_the_rate_it_asks_for_and_the_next_answer_its_own(tmp_path: Path) -> None:
    """32 Mbit at 16 Mbit/s take two seconds, give or take; unpaced ones before and after do not."""
    box = Box(tmp_path)
    path = box.config()
    path.write_text(path.read_text() + "\n[pacing]\nby_player = true\n")
    with serving(tmp_path, "--config", str(path)) as oca, oca.connect("127.16.0.9") as sock:
        target = signed(7, box.token(7), "all.mp4")
        before = seconds(sock, target)
        paced = seconds(sock, target, f"CMCD-Request: rtp={ASKED_KBPS}")
        after = seconds(sock, target)
        queried = seconds(sock, f"{target}?CMCD=rtp%3D{ASKED_KBPS}")
    assert before < 1.0
    assert 1.2 < paced < 4.0
    assert after < 1.0
    assert 1.2 < queried < 4.0


def test_what_a_player_asks_is_held_within_the_operators_bounds() -> None:
    """Nobody can starve itself by a mistake of units; without the knob nobody is heard."""
    line = read_line(b"GET / HTTP/1.1")
    fields = read_fields(b"Host: h\r\nCMCD-Request: rtp=1\r\n")
    heard = Pacing(by_player=True, lowest_bps=2_000_000, rate_bps=9_000_000)
    assert pace_bps(heard, line, fields) == 2_000_000
    assert pace_bps(Pacing(rate_bps=9_000_000), line, fields) == 9_000_000
    assert pace_bps(Pacing(), line, fields) == 0
    assert pace_bps(heard, line, read_fields(b"Host: h\r\n")) == 9_000_000
