"""The access log: off unless asked for, JSON lines, no secrets, and nobody waits for it."""

from __future__ import annotations

import json
import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from oca.accesslog import ENTRIES_MAX, AccessLog, line_of
from tests.oca.running import children_of, read_answer, serving, wait_until
from tests.oca.test_life_cycle import fetch, free_address

SIZE = 5_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "www"
    root.mkdir()
    (root / "x").write_bytes(b"x" * 1000)
    (root / "big").write_bytes(b"b" * SIZE)
    return root


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_answer_is_one_json_line(folder: Path, tmp_path: Path) -> None:
    """Who, what, status, bytes; first answers, remembered ones, refusals, and broken requests."""
    log = tmp_path / "access.jsonl"
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--access-log", str(log))
    with serving(tmp_path, *args, "--workers", "2") as oca:
        wait_until(lambda: lines(log), "the first line")  # `serving` asked for /-
        start = len(lines(log))
        with oca.connect() as sock:
            stream = sock.makefile("rb")
            for _ in range(3):
                sock.sendall(b"GET /x?secret=1 HTTP/1.1\r\nHost: h\r\n\r\n")
                assert read_answer(stream).status == 200
        assert oca.get("/big", "Range: bytes=0-9").status == 206
        assert oca.get("/none").status == 404
        assert oca.get("/x", method="HEAD").status == 200
        with oca.connect() as sock:
            sock.sendall(b"rubbish\r\n\r\n")
            assert read_answer(sock.makefile("rb")).status == 400
        wait_until(lambda: len(lines(log)) >= start + 7, "seven lines")
        got = lines(log)[start:]
    asked = sorted((line["request"], line["status"], line["bytes"]) for line in got)
    hot = ("GET /x", 200, 1000)
    rest = [("GET /big", 206, 10), ("HEAD /x", 200, 0)]
    assert [a for a in asked if a[1] < 300] == sorted([hot, hot, hot, *rest])
    assert {("", 400), ("GET /none", 404)} <= {a[:2] for a in asked}
    assert all(line["client"] == "127.0.0.1" and line["whole"] for line in got)
    assert all(line["ms"] >= 0 and line["at"].endswith("+00:00") for line in got)


def test_a_broken_download_is_logged_with_what_was_sent(folder: Path, tmp_path: Path) -> None:
    """A client that resets in the middle: fewer bytes, and not whole."""
    log = tmp_path / "access.jsonl"
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--access-log", str(log))
    with serving(tmp_path, *args, "--workers", "1") as oca, oca.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        sock.recv(1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        wait_until(lambda: any(x["request"] == "GET /big" for x in lines(log)), "the line")
        (line,) = [x for x in lines(log) if x["request"] == "GET /big"]
    assert 0 < line["bytes"] < SIZE and not line["whole"]


def test_one_in_ten_is_one_in_ten(folder: Path, tmp_path: Path) -> None:
    """A sample is a tenth of the answers, exactly per worker."""
    log = tmp_path / "access.jsonl"
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--access-log", str(log))
    with serving(tmp_path, *args, "--one-in", "10", "--workers", "1") as oca, oca.connect() as sock:
        stream = sock.makefile("rb")
        for _ in range(100):
            sock.sendall(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
            read_answer(stream)
        wait_until(lambda: len(lines(log)) == 10, "ten lines")


def test_a_rotated_file_is_left_alone(folder: Path, tmp_path: Path) -> None:
    """After a rename lines go to a new file, and nobody has to be told."""
    log = tmp_path / "access.jsonl"
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--access-log", str(log))
    with serving(tmp_path, *args, "--workers", "1") as oca:
        wait_until(lambda: lines(log), "a line")
        log.rename(tmp_path / "access.1")
        assert oca.get("/x").status == 200
        wait_until(lambda: lines(log), "a line in the new file")


def test_a_log_that_cannot_be_written_stops_nobody(folder: Path, tmp_path: Path) -> None:
    """A full disk: answers go on, what is lost is counted, and the reason said once."""
    admin = free_address()
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--access-log", "/dev/full")
    with serving(tmp_path, *args, "--workers", "1", "--admin", admin) as oca:
        for _ in range(20):
            assert oca.get("/x").status == 200

        def dropped() -> float:
            text = fetch(f"http://{admin}/metrics")[1]
            return float(text.partition("\noca_access_log_dropped_total ")[2].partition("\n")[0])

        wait_until(lambda: dropped() >= 20, "the count")
        assert oca.log.read_text().count("access log cannot be written") == 1


def test_without_being_asked_for_there_is_none(folder: Path, tmp_path: Path) -> None:
    """Off by default: no thread, no file."""
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(tmp_path, *args) as oca:
        (worker,) = children_of(oca.pid)
        assert "access log" not in {
            Path(f"/proc/{worker}/task/{task}/comm").read_text().strip()
            for task in os.listdir(f"/proc/{worker}/task")  # noqa: PTH208 - names only
        }


def test_what_the_queue_cannot_hold_is_dropped_and_counted(tmp_path: Path) -> None:
    """Nobody writes: memory stays bounded; later the loss is told."""
    told: list[int] = []
    log = AccessLog(str(tmp_path / "log"), 1, told.append)
    for _ in range(ENTRIES_MAX + 7):
        log.add((0.0, "127.0.0.1", b"GET /x HTTP/1.1", 200), 1, True)
    log.start()
    log.stop()
    assert told == [7]
    assert len(lines(tmp_path / "log")) == ENTRIES_MAX


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"GET /a/7;URISigningPackage=abc.def.ghi/s.m4s HTTP/1.1", "GET /a/7/s.m4s"),
        (b"GET /a/7/s.m4s?URISigningPackage=abc.def.ghi HTTP/1.1", "GET /a/7/s.m4s"),
        (b"GET /a/7;URISigningPackage=abc.def.ghi/s.m4s", ""),
        (b"GET /\xff\x01 HTTP/1.1", "GET /\xff\x01"),
        (b"", ""),
    ],
)
def test_a_token_is_never_in_a_line(raw: bytes, shown: str) -> None:
    """Path or query: it opens films, so it is a secret."""
    line = line_of((1.0, "c", raw, 200), 5, True, 1.5, 1000.0)
    assert line.request == shown
    assert (line.at, line.ms) == ("1970-01-01T00:16:41.000+00:00", 500.0)
