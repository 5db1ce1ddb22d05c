"""TLS as players and attackers meet it: versions, names, renewal, slow and broken handshakes."""

from __future__ import annotations

import datetime
import os
import random
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.oca.running import Oca, children_of, read_answer, serving, wait_until

SIZE = 5_000_123


def make_certificate(
    name: str, cert: Path, key: Path, now: datetime.datetime | None = None
) -> bytes:
    """A self-signed certificate, good for some days around `now`; its DER bytes."""
    private = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = now or datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for path, content in ((key, pem), (cert, made.public_bytes(serialization.Encoding.PEM))):
        fresh = path.with_suffix(".new")
        if path.exists() and cert == key:
            content = path.read_bytes() + content
        fresh.write_bytes(content)
        fresh.replace(path)
    return made.public_bytes(serialization.Encoding.DER)


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("tls")
    (top / "root").mkdir()
    (top / "root" / "big.mp4").write_bytes(random.Random(1).randbytes(SIZE))
    (top / "root" / "small.m4s").write_bytes(b"s" * 5000)
    make_certificate("a.example", top / "cert.pem", top / "key.pem")
    return top


@pytest.fixture(scope="module")
def oca(top: Path) -> Iterator[Oca]:
    tls = ("--tls-cert", str(top / "cert.pem"), "--tls-key", str(top / "key.pem"))
    with served(top, *tls) as running:
        yield running


def served(top: Path, *args: str):  # type: ignore[no-untyped-def]
    return serving(
        top, "--root", str(top / "root"), "--listen", "127.0.0.1:0", "--workers", "1", *args
    )


def client(oca: Oca, name: str = "a.example", **limits: ssl.TLSVersion) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for what, version in limits.items():
        setattr(context, what, version)
    sock = socket.create_connection((oca.host, oca.port), timeout=8)
    return context.wrap_socket(sock, server_hostname=name)


def get(sock: ssl.SSLSocket, path: str, *lines: str):  # type: ignore[no-untyped-def]
    head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *lines])
    sock.sendall(f"{head}\r\n\r\n".encode())
    return read_answer(sock.makefile("rb"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_files_and_ranges_come_whole(oca: Oca, top: Path, version: ssl.TLSVersion) -> None:
    """Both versions, several requests on one connection, hot and not, bytes exact."""
    content = (top / "root" / "big.mp4").read_bytes()
    with client(oca, minimum_version=version, maximum_version=version) as sock:
        for _ in range(3):
            assert get(sock, "/big.mp4").body == content
            assert get(sock, "/small.m4s").body == b"s" * 5000
            part = get(sock, "/big.mp4", "Range: bytes=1000000-3500000")
            assert part.status == 206
            assert part.body == content[1_000_000:3_500_001]
        assert get(sock, "/nowhere").status == 404


def test_curl_is_content(oca: Oca, top: Path) -> None:
    """curl, by https, with a Range."""
    url = f"https://127.0.0.1:{oca.port}/big.mp4"
    done = subprocess.run(
        ["curl", "-sk", "--http1.1", "-r", "5-104", url], capture_output=True, check=True
    )
    assert done.stdout == (top / "root" / "big.mp4").read_bytes()[5:105]


def test_a_slow_reader_gets_every_byte(oca: Oca, top: Path) -> None:
    """Nothing read for a while: writes that OpenSSL could not finish are repeated rightly."""
    content = (top / "root" / "big.mp4").read_bytes()
    with client(oca) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        sock.sendall(b"GET /big.mp4 HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
        time.sleep(0.5)
        stream = sock.makefile("rb")
        assert read_answer(stream).body == content
        assert read_answer(stream).body == content


def test_tls_1_1_is_refused(oca: Oca) -> None:
    """An old version gets an alert and no answer (RFC 8996)."""
    # a ClientHello of TLS 1.1 by hand, for this OpenSSL will not make one
    body = b"\x03\x02" + os.urandom(32) + b"\x00" + b"\x00\x02\xc0\x13" + b"\x01\x00"
    hello = b"\x01" + struct.pack(">I", len(body))[1:] + body
    with oca.connect() as sock:
        sock.sendall(b"\x16\x03\x01" + struct.pack(">H", len(hello)) + hello)
        assert sock.recv(100)[:1] in (b"\x15", b"")


def test_garbage_and_silence_end_in_time(oca: Oca) -> None:
    """Plain HTTP on a TLS port, noise, and a peer that says nothing: closed within 5 s."""
    start = time.monotonic()
    for noise in (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", os.urandom(300), b"\x16\x03\x01", b""):
        with oca.connect() as sock:
            sock.sendall(noise)
            try:
                while sock.recv(1000):
                    pass
            except ConnectionResetError:
                pass
    assert time.monotonic() - start < 30
    with client(oca) as sock:
        assert get(sock, "/small.m4s").status == 200


def test_a_request_to_close_ends_with_close_notify(oca: Oca) -> None:
    """The stream's end is told inside TLS, so that a truncation would be seen."""
    with client(oca) as sock:
        sock.suppress_ragged_eofs = False
        assert get(sock, "/small.m4s", "Connection: close").status == 200
        assert sock.recv(1) == b""


def test_names_choose_certificates_and_renewal_needs_no_restart(tmp_path: Path) -> None:
    """SNI picks the file; a replaced one is taken up by the running worker, a broken one is not."""
    (tmp_path / "store" / "a").mkdir(parents=True)
    first = make_certificate("a.example", tmp_path / "c.pem", tmp_path / "k.pem")
    both = tmp_path / "b.pem"
    other = make_certificate("b.example", both, both)
    (tmp_path / "oca.toml").write_text(
        'id = "x"\nstore = "store"\nrun = "run"\nlisten = "127.0.0.1:0"\nscheme = "https"\n'
        'workers = 1\nclients = "any"\n'
        '[tls]\ncert = "c.pem"\nkey = "k.pem"\nnames = { "b.example" = "b.pem" }\n'
    )

    def shown(oca: Oca, name: str) -> bytes | None:
        with client(oca, name) as sock:
            return sock.getpeercert(binary_form=True)

    with serving(tmp_path, "--config", str(tmp_path / "oca.toml")) as oca:
        workers = children_of(oca.pid)
        assert shown(oca, "a.example") == first
        assert shown(oca, "B.example") == other
        assert shown(oca, "unknown.example") == first
        (tmp_path / "c.pem").write_text("broken")
        time.sleep(3)
        assert shown(oca, "a.example") == first
        renewed = make_certificate("a.example", tmp_path / "c.pem", tmp_path / "k.pem")
        wait_until(lambda: shown(oca, "a.example") == renewed, "the new certificate", 15)
        assert children_of(oca.pid) == workers
