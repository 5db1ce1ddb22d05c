"""TLS at its edges: half-closed peers, 100-continue, old versions, plain HTTP, bad certificates."""

from __future__ import annotations

import datetime
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from oca.files import Entry
from oca.http.respond import Plan, facts_of
from oca.outflow import Sent
from oca.reasons import SLOT, SLOT_NAMES
from oca.service import Reply
from oca.tls import why_no_ktls
from oca.tlsflow import KernelOutflow
from tests.oca.running import Oca, read_answer, serving, wait_until
from tests.oca.test_cold import metric
from tests.oca.test_tls import client, get, make_certificate
from tests.typed import Done, typed

SIZE = 3_000_017
CONTENT = random.Random(3).randbytes(SIZE)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("tls")
    (top / "root").mkdir()
    (top / "root" / "big.mp4").write_bytes(CONTENT)
    (top / "root" / "small.m4s").write_bytes(b"s" * 5000)
    make_certificate("a.example", top / "cert.pem", top / "key.pem")
    return top


@pytest.fixture(scope="module")
def admin() -> int:
    return free_port()


@pytest.fixture(scope="module")
def oca(top: Path, admin: int) -> Iterator[Oca]:
    args = ("--root", str(top / "root"), "--listen", "127.0.0.1:0", "--workers", "1")
    tls = ("--tls-cert", str(top / "cert.pem"), "--tls-key", str(top / "key.pem"))
    with serving(top, *args, *tls, "--admin", f"127.0.0.1:{admin}") as running:
        yield running


def closes(admin: int, reason: str) -> int:
    return metric(admin, f'oca_closes_total{{reason="{reason}"}}')


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ["close_notify", "fin"])
def test_who_says_it_is_done_still_gets_the_whole_answer(
    oca: Oca, version: ssl.TLSVersion, end: str
) -> None:
    """close_notify, or a bare FIN, right behind the request: every byte comes, then the end."""
    raw = socket.create_connection((oca.host, oca.port), timeout=8)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(into, out, server_hostname="a.example")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            raw.sendall(out.read())
            into.write(raw.recv(65_536))
    tls.write(b"GET /big.mp4 HTTP/1.1\r\nHost: h\r\n\r\n")
    raw.sendall(out.read())
    if end == "close_notify":
        with suppress(ssl.SSLError):  # the other side's is yet to come
            tls.unwrap()
        raw.sendall(out.read())
    raw.shutdown(socket.SHUT_WR)
    time.sleep(0.2)
    got = 0
    while data := raw.recv(65_536):
        got += len(data)
    raw.close()
    assert got > SIZE, "cut off"


@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_as_a_player_gets_it_whole(oca: Oca, version: ssl.TLSVersion) -> None:
    """`openssl s_client` ends its side with its input; every byte of the answer is right."""
    flag = "-tls1_2" if version is ssl.TLSVersion.TLSv1_2 else "-tls1_3"
    command = [
        "openssl",
        "s_client",
        "-quiet",
        "-ign_eof",
        flag,
        "-connect",
        f"127.0.0.1:{oca.port}",
    ]
    request = b"GET /big.mp4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    done = subprocess.run(command, input=request, capture_output=True, timeout=20, check=False)
    assert done.stdout.endswith(CONTENT)


def test_expect_is_answered_by_100_before_the_body(oca: Oca) -> None:
    """A request with a body and `Expect: 100-continue` gets the interim answer, then the final."""
    with client(oca) as sock:
        head = b"GET /small.m4s HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
        sock.sendall(head + b"Expect: 100-continue\r\n\r\n")
        stream = sock.makefile("rb")
        assert read_answer(stream, "HEAD").status == 100
        sock.sendall(b"hello")
        answer = read_answer(stream)
        assert (answer.status, answer.body) == (200, b"s" * 5000)
        assert get(sock, "/small.m4s").status == 200


def test_plain_http_is_told_so_and_counted(oca: Oca, admin: int) -> None:
    """http:// to the https port: a 400 in plain HTTP, and a close reason of its own."""
    before = closes(admin, "tls_plain_http")
    with oca.connect() as sock:
        sock.sendall(b"GET /small.m4s HTTP/1.1\r\nHost: h\r\n\r\n")
        stream = sock.makefile("rb")
        assert read_answer(stream).status == 400
        assert stream.read() == b""
    wait_until(lambda: closes(admin, "tls_plain_http") == before + 1, "it to be counted")


@pytest.mark.parametrize("minor", [1, 2])
def test_old_versions_get_an_alert_and_are_counted(oca: Oca, admin: int, minor: int) -> None:
    """TLS 1.0 and 1.1 (RFC 8996): protocol_version, and a close reason of its own."""
    before = closes(admin, "tls_old_version")
    # a ClientHello by hand, for this OpenSSL will not make one
    body = bytes([3, minor]) + os.urandom(32) + b"\x00" + b"\x00\x02\xc0\x13" + b"\x01\x00"
    hello = b"\x01" + struct.pack(">I", len(body))[1:] + body
    with oca.connect() as sock:
        sock.sendall(b"\x16\x03\x01" + struct.pack(">H", len(hello)) + hello)
        alert = sock.makefile("rb").read()
    assert alert[:1] == b"\x15" and alert[5:7] == b"\x02\x46"  # fatal, 70
    wait_until(lambda: closes(admin, "tls_old_version") == before + 1, "it to be counted")


def config(folder: Path, tls: str, more: str = "") -> Path:
    path = folder / "oca.toml"
    path.write_text(
        f'id = "x"\nstore = "store"\nrun = "run"\nlisten = "127.0.0.1:0"\nscheme = "https"\n'
        f'workers = 1\nclients = "any"\n{more}[tls]\n{tls}'
    )
    return path


def check(path: Path, *args: str) -> Done:
    return typed("oca", "check-config", *args, path)


def test_check_config_reads_certificates(tmp_path: Path) -> None:
    """A key of another certificate, a missing file, no key at all: named, exit 1."""
    make_certificate("a.example", tmp_path / "c.pem", tmp_path / "k.pem")
    make_certificate("b.example", tmp_path / "d.pem", tmp_path / "l.pem")
    good = check(config(tmp_path, 'cert = "c.pem"\nkey = "k.pem"\n'), "--config")
    assert good.returncode == 0, good.stderr
    assert good.stderr == ""
    for tls, named in (
        ('cert = "c.pem"\nkey = "l.pem"\n', "l.pem"),
        ('cert = "c.pem"\nkey = "gone.pem"\n', "gone.pem"),
        ('cert = "c.pem"\nkey = "k.pem"\nnames = { "b.example" = "d.pem" }\n', "d.pem"),
    ):
        bad = check(config(tmp_path, tls))
        assert bad.returncode == 1
        assert named in bad.stderr and "Traceback" not in bad.stderr
    bad = check(config(tmp_path, 'cert = "c.pem"\n'))
    assert bad.returncode == 1 and "key" in bad.stderr


def test_an_encrypted_key_asks_nobody_for_its_password(tmp_path: Path) -> None:
    """It is refused at once, whether there is a terminal or not."""
    make_certificate("a.example", tmp_path / "c.pem", tmp_path / "k.pem")
    command = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", str(tmp_path / "k.pem")]
    sealed = subprocess.run(command, capture_output=True, check=True).stdout
    (tmp_path / "k.pem").write_bytes(sealed)
    bad = check(config(tmp_path, 'cert = "c.pem"\nkey = "k.pem"\n'))
    assert bad.returncode == 1 and "encrypted" in bad.stderr


def test_an_expired_certificate_is_a_warning(tmp_path: Path) -> None:
    """It can be used, and somebody hears of it."""
    now = datetime.datetime.now(datetime.UTC)
    make_certificate(
        "a.example", tmp_path / "c.pem", tmp_path / "k.pem", now - datetime.timedelta(30)
    )
    done = check(config(tmp_path, 'cert = "c.pem"\nkey = "k.pem"\n'), "-q")
    assert done.returncode == 0
    assert "warning" in done.stderr and "c.pem" in done.stderr and "over since" in done.stderr


def test_a_reload_with_a_key_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    """SIGHUP: the old certificate stays, and one line of the log says why."""
    first = make_certificate("a.example", tmp_path / "c.pem", tmp_path / "k.pem")
    make_certificate("b.example", tmp_path / "d.pem", tmp_path / "l.pem")
    path = config(tmp_path, 'cert = "c.pem"\nkey = "k.pem"\n')
    with serving(tmp_path, "--config", str(path)) as oca:
        config(tmp_path, 'cert = "d.pem"\nkey = "k.pem"\n')
        os.kill(oca.pid, signal.SIGHUP)

        def refusals() -> list[str]:
            return [line for line in oca.log.read_text().splitlines() if "reload refused" in line]

        wait_until(lambda: len(refusals()) == 1, "the refusal", 10)
        assert "d.pem" in refusals()[0]
        with client(oca) as sock:
            assert sock.getpeercert(binary_form=True) == first


def test_a_star_stands_for_one_label(tmp_path: Path) -> None:
    """`*.b.example` is for x.b.example, not for b.example nor x.y.b.example."""
    first = make_certificate("a.example", tmp_path / "c.pem", tmp_path / "k.pem")
    both = tmp_path / "b.pem"
    other = make_certificate("*.b.example", both, both)
    names = 'cert = "c.pem"\nkey = "k.pem"\nnames = { "*.b.example" = "b.pem" }\n'
    with serving(tmp_path, "--config", str(config(tmp_path, names))) as oca:
        for name, shown in (("X.b.example", other), ("b.example", first), ("x.y.b.example", first)):
            with client(oca, name) as sock:
                assert sock.getpeercert(binary_form=True) == shown, name


def test_the_kernel_encrypts_where_it_can(oca: Oca, admin: int) -> None:
    """kTLS: sendfile and all; the same bytes, and the metric says that it was the kernel."""
    why = why_no_ktls()
    if why is not None:
        pytest.skip(why)
    before = metric(admin, "oca_ktls_connections_total")
    with client(oca) as sock:
        for _ in range(3):
            assert get(sock, "/big.mp4").body == CONTENT
            assert get(sock, "/small.m4s").body == b"s" * 5000
    assert metric(admin, "oca_ktls_connections_total") == before + 1


def test_what_the_kernel_encrypts_is_sent_as_on_a_plain_connection(tmp_path: Path) -> None:
    """The path of kTLS over a socket without it: head and file reach the peer, and are counted.

    It stands in for the test above where the kernel has no module; encryption is not shown.
    """
    path = tmp_path / "f"
    path.write_bytes(CONTENT)
    entry = Entry(
        facts_of(SIZE, b'"x"', 0, b"video/mp4", b"", "oca"),
        os.open(path, os.O_RDONLY),
        None,
        (0,) * 5,
    )
    metrics = memoryview(bytearray(8 * len(SLOT_NAMES))).cast("q")
    server = SimpleNamespace(
        metrics=metrics, demand=None, access=None, poller=SimpleNamespace(now_s=1.0)
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        got = bytearray()
        reader = threading.Thread(target=lambda: got.extend(theirs.makefile("rb").read()))
        reader.start()
        out = KernelOutflow(server, ours)
        out.begin(Reply(Plan(200, b"head", ((0, SIZE),), SIZE, False), entry))
        while out.transmit() is not Sent.ALL:
            pass
        out.finish()
        reader.join()
    assert bytes(got) == b"head" + CONTENT
    assert metrics[SLOT["oca_body_bytes_total"]] == SIZE
