"""`oca serve --root`: what a person with a folder of segments and curl would notice."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.oca.running import (
    START_S,
    Oca,
    children_of,
    read_answer,
    serving,
    stop_group,
    wait_until,
)
from tests.typed import typed

BIG = 3_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of HLS with traps in it."""
    top = tmp_path_factory.mktemp("root")
    root = top / "video"
    (root / "film").mkdir(parents=True)
    (root / "film" / "seg-1.m4s").write_bytes(os.urandom(5000))
    (root / "film" / "big.mp4").write_bytes(os.urandom(BIG))
    (root / "film" / "index.m3u8").write_text("#EXTM3U\n")
    (root / "film" / "with space+.vtt").write_text("WEBVTT\n")
    (root / "film" / ".hidden").write_text("secret")
    (root / ".well").mkdir()
    (root / ".well" / "x").write_text("secret")
    (top / "secret").write_text("secret")
    (root / "out").symlink_to(top / "secret")
    (root / "outdir").symlink_to(top)
    (root / "dots").symlink_to(root / ".well")
    (root / "in").symlink_to(root / "film" / "seg-1.m4s")
    os.mkfifo(root / "pipe")
    (root / "empty").write_bytes(b"")
    old_s = time.time() - 3600
    os.utime(root / "film" / "seg-1.m4s", (old_s, old_s))
    return root


@pytest.fixture(scope="module")
def oca(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oca]:
    """One server for the tests that leave it as it was."""
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(tmp_path_factory.mktemp("log"), *args) as running:
        yield running


def test_a_range_is_exactly_those_bytes_with_an_etag(oca: Oca, folder: Path) -> None:
    """`curl -r 100-199`: 206, 100 bytes, a strong ETag; If-Range with it works."""
    content = (folder / "film" / "seg-1.m4s").read_bytes()
    got = oca.get("/film/seg-1.m4s", "Range: bytes=100-199")
    assert (got.status, got.body) == (206, content[100:200])
    assert got.fields["content-range"] == "bytes 100-199/5000"
    etag = got.fields["etag"]
    assert etag.startswith('"')
    again = oca.get("/film/seg-1.m4s", "Range: bytes=0-1", f"If-Range: {etag}")
    assert (again.status, again.body) == (206, content[:2])
    assert oca.get("/film/seg-1.m4s", f"If-None-Match: {etag}").status == 304
    assert oca.get("/film/seg-1.m4s/range/10-19").body == content[10:20]


def test_players_of_other_origins_can_read(oca: Oca) -> None:
    """CORS: readable, the needed headers exposed, and preflight allows Range and CMCD."""
    got = oca.get("/film/index.m3u8", "Origin: https://player.example")
    assert got.fields["access-control-allow-origin"] == "*"
    assert "Content-Range" in got.fields["access-control-expose-headers"]
    assert got.fields["content-type"] == "application/vnd.apple.mpegurl"
    assert got.fields["cache-control"] == "no-cache"
    assert got.fields["cache-status"].startswith("oca; hit")
    asked = (
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: range,cmcd-request",
    )
    pre = oca.get("/film/seg-1.m4s", "Origin: https://p", *asked, method="OPTIONS")
    assert pre.status == 204
    assert "GET" in pre.fields["access-control-allow-methods"]
    assert "cmcd-request" in pre.fields["access-control-allow-headers"]
    assert oca.get("/missing").fields["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "path",
    [
        "/out", "/outdir/secret", "/dots/x", "/pipe", "/film", "/film/", "/", "/film/.hidden",
        "/.well/x", "//film/seg-1.m4s", "/film//seg-1.m4s", "/../secret", "/film/../../secret",
        "/%2e%2e/secret", "/film/..%2f..%2fsecret", "/film/%2e%2e%2f%2e%2e%2fsecret",
        "/..%5csecret", "/..%c0%afsecret", "/%252e%252e/secret", "/film/seg-1.m4s%00.html",
        "/%2fetc/passwd", "/film/seg-1.m4s/x", "/film/" + "a" * 300, "/film/.%2e/.%2e/secret",
    ],
)  # fmt: skip
def test_nothing_but_the_files_of_the_folder_is_served(oca: Oca, path: str) -> None:
    """Traversal in every encoding, links out, dot files, folders, devices: 400 or 404."""
    got = oca.get(path)
    assert got.status in (400, 404)
    assert b"secret" not in got.body and b"root:" not in got.body


def test_links_within_the_folder_and_odd_names_are_served(oca: Oca, folder: Path) -> None:
    """A symlink to a sibling is a file; escapes are decoded once."""
    assert oca.get("/in").body == (folder / "film" / "seg-1.m4s").read_bytes()
    assert oca.get("/film/with%20space+.vtt").fields["content-type"] == "text/vtt"
    assert oca.get("/empty").status == 200


def test_other_methods_are_told_what_is_allowed(oca: Oca) -> None:
    """405 with Allow for methods that exist, 501 for those that do not."""
    got = oca.get("/film/seg-1.m4s", "Content-Length: 0", method="PUT")
    assert (got.status, got.fields["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert oca.get("/film/seg-1.m4s", method="BREW").status == 501
    head = oca.get("/film/big.mp4", method="HEAD")
    assert (head.status, head.fields["content-length"], head.body) == (200, str(BIG), b"")


def test_a_replaced_file_is_noticed_within_two_seconds(oca: Oca, folder: Path) -> None:
    """New bytes and a new ETag; never the old length with the new bytes."""
    path = folder / "film" / "live.m3u8"
    path.write_text("one")
    first = oca.get("/film/live.m3u8")
    temp = folder / "film" / "live.new"
    temp.write_text("twotwo")
    temp.replace(path)
    wait_until(lambda: oca.get("/film/live.m3u8").body == b"twotwo", "the new playlist", 2.5)
    assert oca.get("/film/live.m3u8").fields["etag"] != first.fields["etag"]
    path.unlink()
    wait_until(lambda: oca.get("/film/live.m3u8").status == 404, "the removal", 2.5)


def test_no_file_was_changed_after_its_answer(oca: Oca, folder: Path) -> None:
    """A clock that was wrong: Last-Modified is not later than Date, and the file is served."""
    path = folder / "film" / "future.mp4"
    path.write_bytes(b"x")
    far_s = time.time() + 1e9
    os.utime(path, (far_s, far_s))
    fields = oca.get("/film/future.mp4").fields
    changed, now = (parsedate_to_datetime(fields[name]) for name in ("last-modified", "date"))
    assert changed <= now


def test_a_file_cut_while_it_is_sent_ends_the_connection_short(oca: Oca, folder: Path) -> None:
    """The client sees fewer bytes than promised and a close, never padding or another answer."""
    path = folder / "cut.mp4"
    path.write_bytes(b"x" * 20_000_000)
    with oca.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(b"GET /cut.mp4 HTTP/1.1\r\nHost: h\r\n\r\n")
        sock.recv(1000)
        os.truncate(path, 1_000_000)
        total = 0
        with contextlib.suppress(ConnectionResetError):  # what could not be sent is given up
            while data := sock.recv(1 << 20):
                assert b"HTTP/1.1" not in data
                total += len(data)
    assert total < 20_000_000


def test_pipelined_requests_are_answered_in_turn(oca: Oca, folder: Path) -> None:
    """Small and large files mixed, sent at once, answered in order and in step."""
    seg = (folder / "film" / "seg-1.m4s").read_bytes()
    big = (folder / "film" / "big.mp4").read_bytes()
    with oca.connect() as sock:
        paths = ["/film/seg-1.m4s", "/film/big.mp4", "/missing", "/film/seg-1.m4s"] * 20
        request = "".join(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n" for path in paths)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(sock.sendall, request.encode())
            stream = sock.makefile("rb")
            for path in paths:
                got = read_answer(stream)
                expected = {"/film/seg-1.m4s": seg, "/film/big.mp4": big}.get(path)
                assert got.status == (404 if expected is None else 200)
                assert expected is None or got.body == expected


def test_a_half_closed_client_gets_all_it_asked_for(oca: Oca, folder: Path) -> None:
    """Requests, then FIN: the answers come whole, then the end."""
    with oca.connect() as sock:
        sock.sendall(b"GET /film/big.mp4 HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
        sock.shutdown(socket.SHUT_WR)
        stream = sock.makefile("rb")
        for _ in range(2):
            assert read_answer(stream).body == (folder / "film" / "big.mp4").read_bytes()
        assert stream.read() == b""


def test_a_refused_client_reads_the_answer_and_not_a_reset(oca: Oca) -> None:
    """4 MB of rubbish that we refuse to read: 4xx, then an orderly end."""
    with oca.connect() as sock:
        try:
            sock.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n")
            sock.sendall(b"x" * 4_000_000)
        except ConnectionError:
            pytest.fail("reset while the body was being sent")
        stream = sock.makefile("rb")
        assert read_answer(stream).status == 413
        assert stream.read() == b""


def test_silence_in_the_middle_is_answered_within_five_seconds(oca: Oca) -> None:
    """A head or body that stops coming gets 408 and a close."""
    halves = [
        b"GET /film/seg-1.m4s HTTP/1.1\r\nHost: h\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ]
    socks = [oca.connect() for _ in halves]
    start_s = time.monotonic()
    for sock, half in zip(socks, halves, strict=True):
        sock.sendall(half)
    for sock in socks:
        with sock:
            assert read_answer(sock.makefile("rb")).status == 408
            assert sock.recv(1) == b""
    assert time.monotonic() - start_s < 20


def test_a_killed_worker_is_replaced_and_its_queue_answered(folder: Path, tmp_path: Path) -> None:
    """kill -9 of the only worker: whoever connects meanwhile waits, and is answered."""
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(tmp_path, *args) as oca:
        (worker,) = children_of(oca.pid)
        os.kill(worker, signal.SIGKILL)
        assert oca.get("/film/seg-1.m4s").status == 200
        wait_until(lambda: children_of(oca.pid) not in ([], [worker]), "a new worker")


def test_sigterm_finishes_what_is_being_sent(folder: Path, tmp_path: Path) -> None:
    """A slow download in progress ends whole; an idle connection is closed; exit status 0."""
    (folder / "slow.mp4").write_bytes(b"y" * 8_000_000)
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "2")
    with serving(tmp_path, *args) as oca, oca.connect() as sock, oca.connect() as idle:
        idle.sendall(b"GET /film/seg-1.m4s HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_answer(idle.makefile("rb")).status == 200
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(b"GET /slow.mp4 HTTP/1.1\r\nHost: h\r\n\r\n")
        stream = sock.makefile("rb")
        stream.read(1000)
        oca.process.terminate()
        time.sleep(0.3)
        rest = stream.read()
        assert len(rest) > 7_990_000
        assert idle.recv(1) == b""
        assert oca.process.wait(10) == 0


def test_workers_do_not_outlive_a_killed_supervisor(folder: Path, tmp_path: Path) -> None:
    """kill -9 of the supervisor alone: its workers notice and go."""
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "2")
    with serving(tmp_path, *args) as oca:
        workers = children_of(oca.pid)
        assert len(workers) == 2
        os.kill(oca.pid, signal.SIGKILL)
        oca.process.wait(5)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "their end")


def test_metrics_add_up_over_workers(folder: Path, tmp_path: Path) -> None:
    """/metrics on the admin address: requests, bytes and reasons, workers merged."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        admin = f"127.0.0.1:{free.getsockname()[1]}"
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "2", "--admin", admin)

    def samples() -> dict[str, float]:
        with urllib.request.urlopen(f"http://{admin}/metrics", timeout=START_S) as answer:
            lines = answer.read().decode().splitlines()
        return {k: float(v) for k, v in (x.rsplit(" ", 1) for x in lines if not x.startswith("#"))}

    with serving(tmp_path, *args) as oca:
        before = samples()
        for _ in range(10):
            assert oca.get("/film/seg-1.m4s").status == 200
        wait_until(
            lambda: samples()["oca_body_bytes_total"] - before["oca_body_bytes_total"] >= 50_000,
            "the counters",
        )
        after = samples()
        name = 'oca_responses_total{class="2xx"}'
        assert after[name] - before[name] == 10
        assert after['oca_closes_total{reason="connection_close"}'] >= 10
        with urllib.request.urlopen(f"http://{admin}/healthz", timeout=START_S) as answer:
            assert answer.status == 200


def test_a_taken_address_is_one_clear_line(oca: Oca, folder: Path, tmp_path: Path) -> None:
    """Two servers on one port is an error that says so, not a silent rival."""
    with (
        pytest.raises(AssertionError, match="cannot listen"),
        serving(tmp_path, "--root", str(folder), "--listen", f"127.0.0.1:{oca.port}"),
    ):
        pass


@pytest.mark.parametrize("fields", ["", "Host: h\r\nBad Header: x\r\n", "Host: h\r\nA: b\0\r\n"])
def test_a_broken_head_request_gets_no_body(oca: Oca, fields: str) -> None:
    """RFC 9110 §9.3.2: whatever the status, a HEAD is answered without content."""
    with oca.connect() as sock:
        sock.sendall(f"HEAD /film/seg-1.m4s HTTP/1.1\r\n{fields}\r\n".encode())
        stream = sock.makefile("rb")
        assert read_answer(stream, "HEAD").status == 400
        assert stream.read() == b""


def test_a_slow_reader_gets_all_of_its_last_answer(oca: Oca, folder: Path) -> None:
    """Connection: close, and what the kernel holds takes far longer than our linger: no reset."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(8)
        sock.connect((oca.host, oca.port))
        sock.sendall(b"GET /film/big.mp4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        raw = b""
        while len(raw) < BIG - 140_000:
            raw += sock.recv(65536)
        end_s = time.monotonic() + 5
        while data := sock.recv(8192 if time.monotonic() < end_s else 1 << 20):
            raw += data
            time.sleep(0.25 if time.monotonic() < end_s else 0)
    assert raw.endswith((folder / "film" / "big.mp4").read_bytes())


def test_a_socket_passed_by_systemd_is_served(folder: Path) -> None:
    """LISTEN_FDS: no address is bound, the socket that is there is used."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        script = (
            f"exec 3<&{listener.fileno()}; "
            f'LISTEN_FDS=1 LISTEN_PID=$$ exec {sys.executable} -m oca serve --root "$0" --workers 2'
        )
        process = subprocess.Popen(
            ["bash", "-c", script, str(folder)],
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            running = Oca(process, "127.0.0.1", listener.getsockname()[1], folder)
            for _ in range(5):
                assert running.get("/film/seg-1.m4s").status == 200
        finally:
            stop_group(process)


def test_check_config_names_the_file_and_the_setting_that_is_wrong(tmp_path: Path) -> None:
    """Good: every knob with its reason. Bad: one line, exit 1."""
    path = tmp_path / "box.toml"
    path.write_text('id = "a"\nstore = "s"\nrun = "r"\n')
    good = typed("oca", "check-config", path)
    assert good.returncode == 0
    assert "timeouts.head_s = 4.0" in good.stdout
    path.write_text('id = "a"\nstore = "s"\nrun = "r"\n[timeouts]\nhead_s = 1000\n')
    bad = typed("oca", "check-config", path)
    assert bad.returncode == 1
    assert "box.toml" in bad.stderr and "timeouts.head_s" in bad.stderr
    assert "Traceback" not in bad.stderr
