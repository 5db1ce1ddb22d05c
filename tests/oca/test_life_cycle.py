"""Start, reload, drain, stop: what clients, systemd and the operator notice of it."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oca.config import Limits
from oca.metrics import totals
from oca.reasons import CONNECTIONS_OPEN
from tests.oca.running import Oca, children_of, read_answer, serving, stop_group, wait_until
from tests.oca.test_appliance import INSIDE, Box, signed
from wire.keys import new_private_pem, parse_private_key, public_text

CONTENT = os.urandom(100_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "www"
    root.mkdir()
    (root / "x").write_bytes(CONTENT)
    (root / "big").write_bytes(b"b" * 8_000_000)
    return root


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def fetch(url: str) -> tuple[int, str]:
    """Status and text; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()
    except OSError as exc:
        return 0, str(exc)


def reload(oca: Oca) -> set[int]:
    """SIGHUP; the workers of before, once none of them is left."""
    before = set(children_of(oca.pid))
    os.kill(oca.pid, signal.SIGHUP)
    wait_until(lambda: before.isdisjoint(children_of(oca.pid)), "the old workers to go")
    return before


class Audience:
    """Clients that ask without pause, on kept connections and new ones; `faults` is the claim."""

    def __init__(self, oca: Oca, clients: int) -> None:
        self._oca, self._stop = oca, threading.Event()
        self.faults: list[str] = []
        self.answers = 0
        self._threads = [
            threading.Thread(target=self._watch, args=(i % 2 == 0,)) for i in range(clients)
        ]

    def __enter__(self) -> Audience:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, keep: bool) -> None:
        while not self._stop.is_set():
            try:
                self._visit(keep)
            except (OSError, EOFError, AssertionError) as exc:
                self.faults.append(repr(exc))

    def _visit(self, keep: bool) -> None:
        """One connection, until it is told to close (as any HTTP client obeys)."""
        with self._oca.connect() as sock, sock.makefile("rb") as stream:
            while not self._stop.is_set():
                sock.sendall(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
                answer = read_answer(stream)
                assert (answer.status, answer.body) == (200, CONTENT)
                self.answers += 1
                if not keep or answer.fields.get("connection") == "close":
                    return


def test_a_rolling_restart_loses_no_request(folder: Path, tmp_path: Path) -> None:
    """SIGHUP, again and again, under load: every request is answered whole, by new processes."""
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "2")
    with serving(tmp_path, *args) as oca, Audience(oca, 8) as audience:
        for _ in range(3):
            already = audience.answers
            wait_until(lambda n=already: audience.answers > n + 50, "load")  # type: ignore[misc]
            reload(oca)
        assert len(children_of(oca.pid)) == 2
    assert audience.answers > 150
    assert not audience.faults


def test_a_rolling_restart_under_wrk_shows_no_errors(folder: Path, tmp_path: Path) -> None:
    """The same with wrk: no socket error, no answer but 2xx."""
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed (apt-get install wrk)")
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "2")
    with serving(tmp_path, *args) as oca:
        command = ["wrk", "-t1", "-c64", "-d6s", f"http://127.0.0.1:{oca.port}/x"]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(2):
            time.sleep(1)
            reload(oca)
        said, _ = load.communicate(timeout=30)
    assert "Socket errors" not in said and "Non-2xx" not in said, said
    assert int(re.search(r"(\d+) requests in", said)[1]) > 1000, said  # type: ignore[index]


def test_a_download_outlives_the_worker_that_began_it(folder: Path, tmp_path: Path) -> None:
    """A slow reader is served to the end by the old worker while the new one serves others."""
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(tmp_path, *args) as oca, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.settimeout(10)
        sock.connect((oca.host, oca.port))
        sock.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        stream = sock.makefile("rb")
        stream.read(1000)
        (old,) = children_of(oca.pid)
        os.kill(oca.pid, signal.SIGHUP)
        wait_until(lambda: len(children_of(oca.pid)) == 2, "a successor beside the old one")
        assert oca.get("/x").status == 200
        assert len(stream.read()) > 7_990_000
        wait_until(lambda: old not in children_of(oca.pid), "the old one to go")
        assert len(children_of(oca.pid)) == 1


def write_config(top: Path, store: Path, **settings: str) -> Path:
    """A stand-alone box that serves anybody with a token; `settings` are TOML texts."""
    (store / "a").mkdir(parents=True, exist_ok=True)
    lines = {
        "id": '"a1"',
        "store": f'"{store}"',
        "run": '"run"',
        "listen": '"127.0.0.1:0"',
        "workers": "2",
        "clients": '"any"',
        **settings,
    }
    path = top / "box.toml"
    path.write_text("\n".join(f"{name} = {value}" for name, value in lines.items()) + "\n")
    return path


BROKEN: list[tuple[dict[str, str], str]] = [
    ({"workers": "many"}, "not TOML"),
    ({"clients": '"some"'}, "clients"),
    ({"listen": '"127.0.0.1:1"'}, "needs a restart"),
    ({"token_keys": '{ k = "ed25519:AAAA" }'}, "token_keys.k"),
]


def test_a_bad_configuration_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    """The log says what is wrong; nobody is restarted; a worker that dies comes back as it was."""
    path = write_config(tmp_path, tmp_path / "store")
    with serving(tmp_path, "--config", str(path)) as oca:
        workers = children_of(oca.pid)
        for count, (broken, blame) in enumerate(BROKEN, 1):
            write_config(tmp_path, tmp_path / "store", **broken)
            os.kill(oca.pid, signal.SIGHUP)
            wait_until(
                lambda n=count: oca.log.read_text().count("reload refused") == n,  # type: ignore[misc]
                f"the refusal of {broken}",
            )
            assert blame in oca.log.read_text().splitlines()[-1]
        assert children_of(oca.pid) == workers
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: len(set(children_of(oca.pid)) - set(workers)) == 1, "another worker")
        assert oca.get("/a/7/x").status == 403


def test_a_good_configuration_is_taken_up(tmp_path: Path) -> None:
    """A limit changed in the file holds after SIGHUP, without a restart of the service."""
    path = write_config(tmp_path, tmp_path / "store")
    with serving(tmp_path, "--config", str(path)) as oca:
        path.write_text(path.read_text() + "[limits]\nrequests_per_connection = 1\n")
        assert "connection" not in asks_once(oca)
        reload(oca)
        assert asks_once(oca)["connection"] == "close"


def test_token_keys_rotate_without_a_moment_of_refusals(tmp_path: Path) -> None:
    """Both keys, then the new one alone, each by SIGHUP; the agent is there all the time after."""
    box = Box(tmp_path)
    new = parse_private_key(new_private_pem(), "k2", "new key")
    old_key, new_key = public_text(box.signer), public_text(new)
    by_old = signed(7, box.token(7))
    box.signer, old = new, box.signer
    by_new = signed(7, box.token(7))
    box.signer = old
    with serving(tmp_path, "--config", str(box.config())) as oca:
        asked = [oca.get(path, source=INSIDE).status for path in (by_old, by_new)]
        assert asked == [200, 403]
        box.config(token_keys=f'{{ k1 = "{old_key}", k2 = "{new_key}" }}')
        reload(oca)
        assert [oca.get(path, source=INSIDE).status for path in (by_old, by_new)] == [200, 200]
        box.config(token_keys=f'{{ k2 = "{new_key}" }}')
        reload(oca)
        assert [oca.get(path, source=INSIDE).status for path in (by_old, by_new)] == [403, 200]
        wait_until(lambda: len(children_of(oca.pid)) == 2, "worker and agent")


def asks_once(oca: Oca) -> dict[str, str]:
    with oca.connect() as sock:
        sock.sendall(b"GET /a/7/x HTTP/1.1\r\nHost: h\r\n\r\n")
        return read_answer(sock.makefile("rb")).fields


def test_a_worker_has_room_for_its_descriptors_from_the_start(folder: Path, tmp_path: Path) -> None:
    """The kernel's table does not grow under load: that stops a worker for 20 ms each time."""
    with serving(
        tmp_path, "--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1"
    ) as oca:
        (worker,) = children_of(oca.pid)
        status = Path(f"/proc/{worker}/status").read_text()
        slots = int(status.partition("FDSize:")[2].split()[0])
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert slots >= min(hard, Limits().connections + Limits().open_files)


def test_a_worker_that_hangs_is_replaced(folder: Path, tmp_path: Path) -> None:
    """SIGSTOP of the only worker: it is killed for its silence, and another serves; its open
    connections are not counted for ever."""
    admin = free_address()
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1", "--admin", admin)
    with serving(tmp_path, *args) as oca, oca.connect() as held:
        held.sendall(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_answer(held.makefile("rb")).status == 200
        (worker,) = children_of(oca.pid)
        os.kill(worker, signal.SIGSTOP)
        wait_until(lambda: worker not in children_of(oca.pid), "its end", 40)
        wait_until(lambda: oca.get("/x").status == 200, "another")
        assert "hangs" in oca.log.read_text()
        metrics = f"http://{admin}/metrics"
        wait_until(lambda: "oca_connections_open 0.0" in fetch(metrics)[1], "all are counted off")


def test_health_and_readiness_are_on_the_admin_address_only(folder: Path, tmp_path: Path) -> None:
    """200 and ok while all workers answer; the public address knows none of these paths."""
    admin = free_address()
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "2", "--admin", admin)
    with serving(tmp_path, *args) as oca:
        wait_until(lambda: fetch(f"http://{admin}/readyz")[0] == 200, "all workers")
        assert fetch(f"http://{admin}/healthz") == (200, "ok\n")
        assert 'oca_responses_total{class="2xx"}' in fetch(f"http://{admin}/metrics")[1]
        for path in ("/metrics", "/healthz", "/readyz"):
            assert oca.get(path).status == 404
        with oca.connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            sock.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
            sock.recv(10)
            oca.process.terminate()
            wait_until(lambda: fetch(f"http://{admin}/readyz")[0] == 503, "no more readiness")
            assert "draining" in fetch(f"http://{admin}/readyz")[1]
    assert fetch(f"http://{admin}/healthz")[0] == 0


def test_a_configured_box_without_an_agent_has_them_too(tmp_path: Path) -> None:
    """`admin` in the file, no key_file: /metrics, /healthz and /readyz answer."""
    admin = free_address()
    path = write_config(tmp_path, tmp_path / "store", admin=f'"{admin}"')
    with serving(tmp_path, "--config", str(path)):
        for name in ("metrics", "healthz", "readyz"):
            wait_until(lambda n=name: fetch(f"http://{admin}/{n}")[0] == 200, name)  # type: ignore[misc]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """systemd's end of the notification socket; the function gives the next message."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        yield lambda: sock.recv(4096).decode()


def test_systemd_is_told_and_the_watchdog_is_fed(
    folder: Path, tmp_path: Path, manager: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY when all serve, WATCHDOG only while workers answer, RELOADING, STOPPING."""

    def until(name: str) -> str:
        while not (told := manager()).startswith(name):
            assert told.startswith("WATCHDOG"), told
        return told

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "2")
    with serving(tmp_path, *args) as oca:
        assert until("READY=1\n")
        assert until("WATCHDOG=1")
        os.kill(oca.pid, signal.SIGHUP)
        assert re.search(r"^MONOTONIC_USEC=\d+$", until("RELOADING=1\n"), re.M)
        assert "reloaded" in until("READY=1\n")
        oca.process.terminate()
        assert int(until("STOPPING=1\n").rpartition("EXTEND_TIMEOUT_USEC=")[2]) >= 30_000_000


def test_every_socket_of_systemd_has_a_worker(folder: Path) -> None:
    """Two sockets and one worker asked for: both are served, whichever came first."""
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("systemd-socket-activate is not installed (apt-get install systemd)")
    first, second = free_address(), free_address()
    oca = [sys.executable, "-m", "oca", "serve", "--root", str(folder), "--workers", "1"]
    process = subprocess.Popen(
        ["systemd-socket-activate", "-l", first, "-l", second, *oca],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for address in (first, second, first, second):
            wait_until(lambda a=address: fetch(f"http://{a}/x")[0] == 200, address)  # type: ignore[misc]
    finally:
        stop_group(process)


def test_counters_go_on_over_restarts_of_workers(folder: Path, tmp_path: Path) -> None:
    """Requests of before and after a rolling restart add up; books are used again."""
    admin = free_address()
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1", "--admin", admin)
    with serving(tmp_path, *args) as oca:
        wait_until(
            lambda: "\noca_requests_total " in fetch(f"http://{admin}/metrics")[1], "a worker"
        )
        before = requests_seen(admin)
        for _ in range(4):
            assert oca.get("/x").status == 200
            reload(oca)
        wait_until(lambda: requests_seen(admin) - before == 4, "the sum")


def requests_seen(admin: str) -> int:
    found = re.search(r"^oca_requests_total (\S+)$", fetch(f"http://{admin}/metrics")[1], re.M)
    assert found is not None
    return int(float(found[1]))


def test_an_idle_box_has_no_open_connections_in_its_books(tmp_path: Path) -> None:
    """kill -9 of a worker with connections: the gauge falls to what is open."""
    path = write_config(tmp_path, tmp_path / "store", workers="1")
    with serving(tmp_path, "--config", str(path)) as oca, oca.connect() as sock:
        sock.sendall(b"GET /a/7/x HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_answer(sock.makefile("rb")).status == 403
        run_dir = tmp_path / "run"
        assert totals(run_dir)[CONNECTIONS_OPEN] == 1
        os.kill(children_of(oca.pid)[0], signal.SIGKILL)
        wait_until(lambda: totals(run_dir)[CONNECTIONS_OPEN] == 0, "the gauge")


def test_a_client_that_resets_after_its_fin_is_forgotten_at_once(tmp_path: Path) -> None:
    """FIN, then RST while the kernel holds what it did not read (what wrk does at its end): the
    connection is over, and does not hold up a drain."""
    root = tmp_path / "www"
    root.mkdir()
    (root / "x").write_bytes(os.urandom(60_000))
    admin = free_address()
    args = ("--root", str(root), "--listen", "127.0.0.1:0", "--workers", "1", "--admin", admin)
    with serving(tmp_path, *args) as oca, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((oca.host, oca.port))
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        assert "oca_connections_open 1.0" in fetch(f"http://{admin}/metrics")[1]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        wait_until(
            lambda: "oca_connections_open 0.0" in fetch(f"http://{admin}/metrics")[1], "its end", 5
        )


def test_log_lines_of_a_reload_are_json(folder: Path, tmp_path: Path) -> None:
    """Whoever reads the journal can search it."""
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(tmp_path, *args) as oca:
        reload(oca)
        wait_until(lambda: "reloaded" in oca.log.read_text(), "the line")
        lines = [json.loads(line) for line in oca.log.read_text().splitlines()]
        assert {"event": "reloaded", "workers": 1}.items() <= lines[-1].items()
