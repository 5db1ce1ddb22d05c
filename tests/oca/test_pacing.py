"""Answers leave no faster than the policy or the player says, each at its own rate.

Measured over real connections: within 15 % of the rate. TCP does not pace the first ten segments of
a connection (655 kB over loopback), so each connection gets one answer before the measured ones.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from oca.config import Pacing
from oca.http.cmcd import Cmcd
from oca.http.head import read_fields
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


def near(taken_s: float, rate_bps: int) -> bool:
    """Whether BYTES came at this rate, give or take 15 %."""
    return 0.85 < 8 * BYTES / taken_s / rate_bps < 1.15


def test_a_player_gets_the_rate_it_asks_for_and_the_next_answer_its_own(tmp_path: Path) -> None:
    """By CMCD in a header or the query, or by Pace-Bps; unpaced ones before and after are fast."""
    box = Box(tmp_path)
    path = box.config()
    path.write_text(path.read_text() + "\n[pacing]\nby_player = true\n")
    with serving(tmp_path, "--config", str(path)) as oca, oca.connect("127.16.0.9") as sock:
        target = signed(7, box.token(7), "all.mp4")
        before = seconds(sock, target)
        paced = seconds(sock, target, f"CMCD-Request: rtp={ASKED_KBPS}")
        after = seconds(sock, target)
        queried = seconds(sock, f"{target}?CMCD=rtp%3D{ASKED_KBPS}")
        plain = seconds(sock, target, f"Pace-Bps: {2000 * ASKED_KBPS}")
    assert before < 1.0
    assert near(paced, 1000 * ASKED_KBPS), paced
    assert after < 1.0
    assert near(queried, 1000 * ASKED_KBPS), queried
    assert near(plain, 2000 * ASKED_KBPS), plain


def test_a_plain_folder_is_paced_by_policy_and_by_player(tmp_path: Path) -> None:
    """`oca serve --root` with --pace-bps and --pace-by-player; hot files are no exception."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "x").write_bytes(bytes(BYTES))
    args = ("--root", str(tmp_path / "www"), "--listen", "127.0.0.1:0", "--workers", "1")
    paced = ("--pace-bps", "20000000", "--pace-by-player")
    with serving(tmp_path, *args, *paced) as oca, oca.connect() as sock:
        seconds(sock, "/x")
        policy = seconds(sock, "/x")
        player = seconds(sock, "/x", "Pace-Bps: 40000000")
    assert near(policy, 20_000_000), policy
    assert near(player, 40_000_000), player


def test_nobody_is_heard_who_must_not_be(tmp_path: Path) -> None:
    """Without --pace-by-player a player's wish changes nothing."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "x").write_bytes(bytes(BYTES))
    args = ("--root", str(tmp_path / "www"), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(tmp_path, *args) as oca, oca.connect() as sock:
        seconds(sock, "/x")
        assert seconds(sock, "/x", "Pace-Bps: 2000000", "CMCD-Request: rtp=2000") < 1.0


def test_what_a_player_asks_is_held_within_the_operators_bounds() -> None:
    """Nobody can starve itself by a mistake of units; without the knob nobody is heard."""
    plain, asking = read_fields(b"Host: h\r\n"), read_fields(b"Host: h\r\nPace-Bps: 4000000\r\n")
    low = Cmcd(rtp=1)
    heard = Pacing(by_player=True, lowest_bps=2_000_000, rate_bps=9_000_000)
    assert pace_bps(heard, low, plain) == 2_000_000
    assert pace_bps(heard, low, asking) == 4_000_000
    assert pace_bps(heard, Cmcd(bl=1), plain) == 9_000_000
    assert pace_bps(heard, None, plain) == 9_000_000
    assert pace_bps(Pacing(rate_bps=9_000_000), low, asking) == 9_000_000
    assert pace_bps(Pacing(), low, asking) == 0


@pytest.mark.parametrize("raw", ["", "fast", "-5", "1e6", "1, 2", "9" * 13, "0"])
def test_what_is_no_rate_is_not_heard(raw: str) -> None:
    """A header that is not one number is as if it were not there."""
    fields = read_fields(f"Host: h\r\nPace-Bps: {raw}\r\n".encode())
    assert pace_bps(Pacing(by_player=True, rate_bps=9_000_000), None, fields) == 9_000_000
