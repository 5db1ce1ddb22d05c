"""A disk that is slow, hangs or fails, under FUSE: only those wait who asked for what is on it."""

from __future__ import annotations

import random
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.fuse_fs import Mounted, mounted, why_not
from tests.oca.running import Oca, children_of, read_answer, serving, wait_until
from tests.oca.test_cold import metric

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
SLOW_S = 2.0
HOT_MS_MAX = 100.0
BIG = 3_000_001


def slow(part: str, *ops: str) -> dict[str, object]:
    return {"ops": list(ops), "path": part, "delay_s": SLOW_S}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mounted]:
    with mounted(tmp_path) as found:
        (found.backing / "hot").mkdir()
        (found.backing / "cold").mkdir()
        for name, size in (("hot/small.m4s", 5_000), ("hot/big.mp4", BIG)):
            (found.backing / name).write_bytes(random.Random(size).randbytes(size))
        for i in range(20):
            (found.backing / "cold" / f"{i}.m4s").write_bytes(b"%d." % i * 1000)
        (found.backing / "cold" / "big.mp4").write_bytes(random.Random(7).randbytes(BIG))
        yield found


@contextmanager
def served(tmp: Path, disk: Mounted, *more: str) -> Iterator[Oca]:
    """One worker over the disk."""
    args = ("--root", str(disk.path), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(tmp, *args, *more) as oca:
        yield oca


def ask(sock: socket.socket, *names: str) -> None:
    sock.sendall(b"".join(b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % n.encode() for n in names))


def hot_ms(oca: Oca, until: threading.Event) -> list[float]:
    """Times of hot requests, one after another, until told to stop."""
    found = []
    with oca.connect() as sock:
        stream = sock.makefile("rb")
        while not until.is_set():
            for name, size in (("hot/small.m4s", 5_000), ("hot/big.mp4", BIG)):
                start = time.monotonic()
                ask(sock, name)
                assert len(read_answer(stream).body) == size
                found.append((time.monotonic() - start) * 1e3)
            time.sleep(0.002)
    return found


@pytest.mark.parametrize("ops", [("lookup",), ("open",), ("read",)], ids="-".join)
def test_cold_opens_and_reads_do_not_delay_hot_requests(
    tmp_path: Path, disk: Mounted, ops: tuple[str, ...]
) -> None:
    """Eight clients wait 2 s for a name, an open or a read; hot ones are answered meanwhile."""
    with served(tmp_path, disk) as oca:
        for name in ("hot/small.m4s", "hot/big.mp4"):
            assert oca.get(f"/{name}").status == 200
        disk.fail(slow("cold/", *ops))
        socks = [oca.connect() for _ in range(8)]
        for i, sock in enumerate(socks):
            ask(sock, f"cold/{i}.m4s")
        done, times = threading.Event(), list[float]()
        hot = threading.Thread(target=lambda: times.extend(hot_ms(oca, done)))
        hot.start()
        for i, sock in enumerate(socks):
            assert read_answer(sock.makefile("rb")).body == b"%d." % i * 1000
            sock.close()
        done.set()
        hot.join()
        assert len(times) > 50
        assert statistics.quantiles(times, n=100)[98] < HOT_MS_MAX, max(times)


def test_answers_keep_their_order_around_a_wait(tmp_path: Path, disk: Mounted) -> None:
    """Pipelined: hot, cold, not there, a part named by the path, hot; in this order, all right."""
    with served(tmp_path, disk) as oca, oca.connect() as sock:
        disk.fail({"ops": ["lookup"], "path": "cold", "delay_s": 0.3})
        names = ("hot/small.m4s", "cold/3.m4s", "cold/none", "cold/4.m4s/range/2-9", "cold/big.mp4")
        ask(sock, *names, "hot/small.m4s")
        stream = sock.makefile("rb")
        answers = [read_answer(stream) for _ in range(6)]
        assert [answer.status for answer in answers] == [200, 200, 404, 200, 200, 200]
        assert answers[1].body == b"3." * 1000
        assert answers[3].body == (b"4." * 1000)[2:10]
        assert answers[4].body == random.Random(7).randbytes(BIG)
        assert answers[5].body == answers[0].body


def test_one_that_says_it_is_done_still_gets_its_answer(tmp_path: Path, disk: Mounted) -> None:
    """Half-closed while a thread opens: the answer comes, then the end."""
    with served(tmp_path, disk) as oca, oca.connect() as sock:
        disk.fail({"ops": ["open"], "path": "cold", "delay_s": 0.5})
        ask(sock, "cold/5.m4s")
        sock.shutdown(socket.SHUT_WR)
        stream = sock.makefile("rb")
        assert read_answer(stream).body == b"5." * 1000
        assert stream.read() == b""


def descriptors(oca: Oca) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in children_of(oca.pid))


def test_those_who_left_leave_nothing_behind(tmp_path: Path, disk: Mounted) -> None:
    """Reset while a thread opens: no descriptor, no connection stays, and the file is served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        admin = free.getsockname()[1]
    with served(tmp_path, disk, "--admin", f"127.0.0.1:{admin}") as oca:
        assert oca.get("/hot/small.m4s").status == 200
        wait_until(lambda: metric(admin, "oca_connections_open") == 0, "the first to end")
        before = descriptors(oca)
        disk.fail({"ops": ["open"], "path": "cold", "hang": True})
        for i in range(8):
            sock = oca.connect()
            ask(sock, f"cold/{i}.m4s")
            time.sleep(0.05)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        wait_until(lambda: metric(admin, "oca_connections_open") == 0, "all to be forgotten")
        disk.heal()
        wait_until(lambda: descriptors(oca) <= before, "descriptors to be closed")
        assert oca.get("/cold/1.m4s").body == b"1." * 1000


def test_a_disk_that_hangs_is_a_503_in_time_and_a_failing_one_at_once(
    tmp_path: Path, disk: Mounted
) -> None:
    """After `disk_s` the player is sent away; an I/O error is not waited for."""
    with served(tmp_path, disk) as oca:
        disk.fail({"ops": ["open"], "path": "cold", "errno": 5})
        start = time.monotonic()
        answer = oca.get("/cold/1.m4s")
        assert answer.status == 503
        disk.fail({"ops": ["open"], "path": "cold", "hang": True})
        with oca.connect() as sock:
            ask(sock, "cold/2.m4s")
            sock.settimeout(60)
            assert read_answer(sock.makefile("rb")).status == 503
        assert 9 < time.monotonic() - start < 60
        assert oca.get("/hot/small.m4s").status == 200
