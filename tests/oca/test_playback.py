"""What players say (CMCD) is noted where they may play, survives, is bounded, names nobody."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oca.http.cmcd import Cmcd
from oca.metrics import metrics_text, totals
from oca.playback import Playback, Ring, read_rings
from oca.playrow import Row
from oca.reasons import SLOT_NAMES
from tests.oca.running import Answer, Oca, read_answer, serving, wait_until
from tests.oca.test_appliance import Box, signed

INSIDE, OUTSIDE = "127.16.5.5", "127.17.5.5"
SAID = (
    'CMCD-Session: sid="viewer-4711",cid="film"',
    "CMCD-Status: bs",
    "CMCD-Object: br=3200,tb=6000",
)
FOREVER = 2**40


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return Box(tmp_path_factory.mktemp("box"))


@pytest.fixture(scope="module")
def oca(box: Box) -> Iterator[Oca]:
    with serving(box.top, "--config", str(box.config())) as running:
        yield running


def counted(box: Box, name: str) -> int:
    return totals(box.run)[name]


def rows(run: Path) -> list[Row]:
    return [row for news in read_rings(run, {}, FOREVER) for row in news.rows]


def ask(sock: socket.socket, target: str, *lines: str, method: str = "GET") -> Answer:
    head = [f"{method} {target} HTTP/1.1", "Host: h", *lines]
    sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
    return read_answer(sock.makefile("rb"), method)


def test_a_player_that_speaks_is_noted_and_answered(box: Box, oca: Oca) -> None:
    """By headers and by query: the same object, counted in the metrics, one row for the session."""
    target = signed(7, box.token(7), "seg-1.m4s")
    before = counted(box, "oca_cmcd_requests_total"), counted(box, "oca_cmcd_starved_total")
    with oca.connect(INSIDE) as sock:
        plain = ask(sock, target)
        spoken = ask(sock, target, *SAID, "CMCD-Request: mtp=25400,bl=21300")
        queried = ask(sock, f"{target}?CMCD=bl%3D900%2Csid%3D%22viewer-4711%22%2Csu")
        again = ask(sock, target)
    assert "cmsd-dynamic" not in plain.fields and "cmsd-dynamic" not in again.fields
    assert spoken.fields["cmsd-dynamic"].startswith('"a1"')
    assert queried.fields["cmsd-dynamic"].startswith('"a1"')
    assert "CMSD-Dynamic" in spoken.fields["access-control-expose-headers"]
    assert plain.body == spoken.body == queried.body
    assert plain.fields["etag"] == spoken.fields["etag"] == queried.fields["etag"]
    assert counted(box, "oca_cmcd_requests_total") - before[0] == 2
    assert counted(box, "oca_cmcd_starved_total") - before[1] == 1
    said = [row.said for row in rows(box.run) if (row.asset, row.home) == (7, "isp-a")]
    sums = {name: sum(one[name] for one in said) for name in said[0]}
    assert (sums["requests"], sums["starved"], sums["startups"]) == (2, 1, 1)
    assert (sums["br_sum"], sums["tb_sum"], sums["mtp_sum"]) == (3200, 6000, 25400)
    assert (sums["bl_sum"], sums["bl_count"]) == (22200, 2)


def test_whoever_may_not_play_is_not_noted(box: Box, oca: Oca) -> None:
    """No token, a client from elsewhere, no such file: answered as ever, and nothing is written."""
    target = signed(8, box.token(8), "seg-1.m4s")
    before = counted(box, "oca_cmcd_requests_total")
    assert oca.get("/a/8/seg-1.m4s", *SAID, source=INSIDE).status == 403
    assert oca.get(target, *SAID, source=OUTSIDE).status == 403
    assert oca.get(signed(8, box.token(8), "none.m4s"), *SAID, source=INSIDE).status == 404
    assert counted(box, "oca_cmcd_requests_total") == before
    assert not [row for row in rows(box.run) if row.asset == 8]


def test_an_answer_after_the_deadline_is_late(box: Box, oca: Oca) -> None:
    """30 MB through a client that reads slowly, needed within 50 ms: late; a small one is not."""
    before = counted(box, "oca_cmcd_late_total")
    with oca.connect(INSIDE) as sock:
        assert ask(sock, signed(7, box.token(7), "seg-1.m4s"), "CMCD-Request: dl=8000").body
        assert counted(box, "oca_cmcd_late_total") == before
        target = signed(7, box.token(7), "all.mp4")
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\nCMCD-Request: dl=50\r\n\r\n".encode())
        time.sleep(0.3)
        assert read_answer(sock.makefile("rb")).status == 200
    wait_until(lambda: counted(box, "oca_cmcd_late_total") == before + 1, "the late one")


def test_a_session_is_nowhere_in_plain_words(box: Box, oca: Oca) -> None:
    """Neither its id nor the content's is in any file of the run folder, nor in the log."""
    with oca.connect(INSIDE) as sock:
        ask(sock, signed(7, box.token(7), "seg-1.m4s"), *SAID)
    for path in (*(p for p in box.run.iterdir() if p.is_file()), oca.log):
        assert b"viewer-4711" not in path.read_bytes(), path


def test_histograms_are_as_prometheus_wants_them(box: Box, oca: Oca) -> None:
    """Each bucket holds all below it; the count is the last one's; absurd numbers are in it."""
    with oca.connect(INSIDE) as sock:
        for mtp in (400, 3_000, 3_000, 999_999_999):
            ask(sock, signed(7, box.token(7), "seg-1.m4s"), f"CMCD-Request: mtp={mtp}")
    text = metrics_text(box.run).decode()
    values = {
        line.split(" ")[0]: float(line.split(" ")[1])
        for line in text.splitlines()
        if line.startswith("oca_cmcd_throughput_kbps")
    }
    buckets = [v for k, v in values.items() if "_bucket" in k]
    assert buckets == sorted(buckets) and len(buckets) == 10
    assert values["oca_cmcd_throughput_kbps_count"] == buckets[-1] >= 4
    assert buckets[-1] - buckets[-2] >= 1
    assert "\noca_cmcd_requests_total " in text


def test_rows_outlive_their_writer_and_are_read_once(tmp_path: Path) -> None:
    """A second life goes on in the same ring; what was read is not read again; now waits."""
    ring = Ring(tmp_path, 0, rows=8)
    ring.add(ring.place((7, "isp-a"), "s", 100), 4)
    ring.add(ring.place((7, "isp-a"), "s", 100), 4)
    again = Ring(tmp_path, 0, rows=8)
    again.add(again.place((7, "isp-a"), "s", 101), 4)
    (news,) = read_rings(tmp_path, {}, 101)
    assert [(row.minute, row.said["requests"]) for row in news.rows] == [(100, 2)]
    assert not read_rings(tmp_path, {news.ring: news.newest}, 101)
    (later,) = read_rings(tmp_path, {news.ring: news.newest}, 102)
    assert [row.minute for row in later.rows] == [101]
    assert later.ring == news.ring and later.lost == 0


def test_a_ring_is_bounded_and_says_what_it_lost(tmp_path: Path) -> None:
    """Ten times as many sessions as rows: the newest are there, the others are counted."""
    ring = Ring(tmp_path, 0, rows=8)
    size = (tmp_path / "played-0.map").stat().st_size
    for number in range(80):
        ring.add(ring.place((number, "isp-a"), str(number), 100), 4)
    (news,) = read_rings(tmp_path, {}, 101)
    assert [row.asset for row in news.rows] == list(range(72, 80))
    assert news.lost == 72
    assert (tmp_path / "played-0.map").stat().st_size == size


def test_a_clock_that_was_ahead_does_not_hold_the_rest_up(tmp_path: Path) -> None:
    """Rows of a future minute, from before the clock was put back, are taken as they are."""
    ring = Ring(tmp_path, 0, rows=8)
    ring.place((1, ""), None, 5_000)
    ring.place((2, ""), None, 100)
    (news,) = read_rings(tmp_path, {}, 101)
    assert [row.asset for row in news.rows] == [1, 2]


def test_absurd_numbers_spoil_no_sum(tmp_path: Path) -> None:
    """Sixteen digits are legal CMCD and nonsense."""
    slots = memoryview(bytearray(8 * len(SLOT_NAMES))).cast("q")
    playback = Playback(slots, Ring(tmp_path, 0, rows=8))
    huge = 10**15
    for _ in range(1000):
        said = Cmcd(br=huge, tb=huge, mtp=huge, bl=huge)
        playback.note(said, (7, "isp-a"), 100)
    ((row,),) = (news.rows for news in read_rings(tmp_path, {}, 101))
    assert row.said["mtp_sum"] == 1000 * 10_000_000
    assert row.said["bl_sum"] == 1000 * 3_600_000
