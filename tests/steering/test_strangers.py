"""What strangers send that no player sends: refused in the same words as everything else, with
nothing of it believed, and little of it in the log."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.steering.replica import IN_A, IN_B, Replica, running
from tests.steering.test_surfaces import full_fleet

Answer = tuple[int, dict[str, str], bytes]
NO_HTTP = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 99 + b"\r\n\r\n",
    "a version that is none": b"GET /v1/steer?asset=1 HTTP/3.0\r\nHost: s\r\n\r\n",
    "lines without CR": b"GET /v1/steer?asset=1 HTTP/1.1\nHost: s\n\n",
    "no Host": b"GET /v1/steer?asset=1 HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /v1/steer?asset=1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two lengths": b"POST /v1/steer HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "a giant line": b"GET /v1/steer?asset=1&x=" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: s\r\n\r\n",
    "a giant field": b"GET / HTTP/1.1\r\nHost: s\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many fields": b"GET / HTTP/1.1\r\nHost: s\r\n" + b"X: a\r\n" * 9_000 + b"\r\n",
}
NO_HOSTS = (
    "a b",
    'x"y',
    "a/b",
    "u@b",
    "[::1",
    "h:99999",
    "..",
    "-",
    "a..b",
    "é",
    "h:80:80",
    "x" * 300,
)


async def raw(replica: Replica, data: bytes, *, admin: bool = False) -> Answer:
    """Status, fields and body of one answer to these bytes."""
    port = replica.admin_port if admin else replica.public_port
    local = "127.0.0.1" if admin else IN_A
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(local, 0))
    try:
        async with asyncio.timeout(20):
            writer.write(data)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(fields["Content-Length"]))
    finally:
        writer.close()
    return int(head.split()[1]), fields, body


async def test_what_is_no_http_is_a_problem_too_and_costs_a_line(tmp_path: Path) -> None:
    """A document like any other, on both listeners; the log has the network, no address, no more
    of what was sent than a few words, and no trace of our stack."""
    async with running(tmp_path) as replica:
        for name, data in NO_HTTP.items():
            for admin in (False, True):
                status, fields, body = await raw(replica, data, admin=admin)
                assert status == 400, name
                assert fields["Content-Type"] == "application/problem+json", name
                problem = json.loads(body)
                assert problem["field"] == "head" and problem["detail"], name
                assert len(body) < 300 and "aaaa" not in problem["detail"], name
        expects = b"GET /v1/fleet HTTP/1.1\r\nHost: s\r\nExpect: wonders\r\n\r\n"
        status, fields, _ = await raw(replica, expects, admin=True)
        assert (status, fields["Content-Type"]) == (417, "application/problem+json")
        log = (tmp_path / "log").read_text()
        assert "127.16.5.0" in log and IN_A not in log
        assert "Traceback" not in log and "aaaa" not in log


async def test_a_host_that_is_none_never_gets_into_a_manifest(tmp_path: Path) -> None:
    """The name under which steering is asked is in what it answers, unless `public_url` says
    another."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        for path in ("/v1/play/film.m3u8", "/v1/steering/dash?title=film&pathways=a1,origin"):
            for host in NO_HOSTS:
                data = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
                status, _, body = await raw(replica, data)
                assert (status, json.loads(body)["field"]) == (400, "Host"), host
            for host in ("s", "a-b.example.:80", "[::1]:65535"):
                data = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
                status, _, body = await raw(replica, data)
                assert status == 200 and f"http://{host}/v1/steering/".encode() in body


async def test_nobody_says_whom_he_is_but_his_socket(tmp_path: Path) -> None:
    """X-Forwarded-For and its relatives are nothing to us, from a listed proxy either."""
    forged = "".join(
        f"{name}: {IN_B}\r\n"
        for name in ("X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP")
    )
    async with running(tmp_path, proxies=[IN_A]) as replica:
        await full_fleet(replica)
        for more in ("", "X-Odd: 1\r\n"):
            data = f"GET /v1/steer?asset=1 HTTP/1.1\r\nHost: s\r\n{forged}{more}\r\n".encode()
            _, _, body = await raw(replica, data)
            assert json.loads(body)["home"] == "isp-a"
